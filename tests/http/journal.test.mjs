// journal.test.mjs - no completed call is lost or counted twice: kill -9, a full disk, torn tails, two
// servers on one folder.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { bodyOf, call } from '../lib/call.mjs';
import { NO_BINARY, runCatalyst, startCatalyst, startGateway, temporaryFolder } from '../lib/catalyst.mjs';
import { defer } from '../lib/defer.mjs';
import { exchange, request } from '../lib/raw.mjs';
import { killAgainAndAgain } from '../lib/kills.mjs';
import { until } from '../lib/wait.mjs';

describe('the journal', { skip: NO_BINARY }, () => {
  const kills = Number(process.env.CATALYST_KILLS ?? 10);
  test(`kill -9 at random moments under load, ${kills} times`, { timeout: 180_000 + kills * 10_000 }, (t) =>
    killAgainAndAgain(t, { kills }),
  );
  test('kill -9 in strict mode', { timeout: 180_000 }, (t) =>
    killAgainAndAgain(t, { kills: 2, strict: true }),
  );

  test('calls of several starts stand in one list, each once', async (t) => {
    const first = await startGateway(t);
    const ids = new Set();
    let { catalyst } = first;
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 5; i++)
        ids.add((await call({ ...first, catalyst }, 'chat', bodyOf('chat', { stream: i % 2 === 0 }))).id);
      assert.equal((await catalyst.stop()).code, 0);
      assert.deepEqual(new Set((await catalyst.requests()).map((r) => r.request_id)), ids);
      catalyst = await startCatalyst(t, { config: first.config, dataDir: catalyst.dataDir });
    }
    assert.equal((await catalyst.requests('--limit', '4')).length, 4);
  });

  test('a torn tail is cut and reported, and what stands before it stays', async (t) => {
    // One loop: the records stand in one segment, in the order of the calls.
    const first = await startGateway(t, { config: ({ standard }) => ({ ...standard, loops: 1 }) });
    const ids = [];
    for (let i = 0; i < 6; i++) ids.push((await call(first, 'chat')).id);
    await first.catalyst.kill();
    const folder = path.join(first.catalyst.dataDir, 'journal');
    // The newest record's last bytes never reached the disk.
    const [file, bytes, end] = readdirSync(folder)
      .map((f) => path.join(folder, f))
      .map((f) => [f, readFileSync(f)])
      .map(([f, b]) => [f, b, b.length - [...b].reverse().findIndex((x) => x !== 0)])
      .sort((a, b) => b[2] - a[2])[0];
    bytes.fill(0, end - 7);
    writeFileSync(file, bytes);
    const again = await startCatalyst(t, { config: first.config, dataDir: first.catalyst.dataDir });
    const report = again.log.find((l) => l.level === 'warn' && /journal/.test(l.event));
    assert.ok(report, `no report in ${again.stderr}`);
    assert.deepEqual((await again.requests()).map((r) => r.request_id).sort(), ids.slice(0, -1).sort());
    const more = await call({ ...first, catalyst: again }, 'chat');
    assert.ok((await again.requests()).some((r) => r.request_id === more.id));
  });

  test('a second server on the same folder is refused, and the first stays', async (t) => {
    const scene = await startGateway(t);
    const second = await runCatalyst(['serve', '--data', scene.catalyst.dataDir, '--listen', '127.0.0.1:0'], {
      deadline_ms: 30_000,
    });
    assert.equal(second.code, 75, second.stderr);
    assert.match(second.stderr, /use|lock|another/i);
    assert.equal((await call(scene, 'chat')).status, 200);
  });

  test('a folder of a newer version is refused', async (t) => {
    const scene = await startGateway(t);
    await scene.catalyst.stop();
    const file = path.join(scene.catalyst.dataDir, 'VERSION');
    assert.ok(existsSync(file), 'a data folder has VERSION');
    writeFileSync(file, readFileSync(file, 'utf8').replace(/\d+/, '9999'));
    const result = await runCatalyst(['serve', '--data', scene.catalyst.dataDir, '--listen', '127.0.0.1:0'], {
      deadline_ms: 30_000,
    });
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, /version|newer/i);
  });

  test(
    'a full disk: 503 that says so, nothing lost, and back when there is room',
    { timeout: 120_000 },
    async (t) => {
      const folder = temporaryFolder(t);
      const disk = path.join(folder, 'disk');
      mkdirSync(disk);
      try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', disk], { stdio: 'pipe' });
      } catch (error) {
        return t.skip(`no small disk can be mounted: ${error.stderr?.toString().trim() ?? error.message}`);
      }
      defer(t, () => execFileSync('umount', ['-l', disk]));
      const data = path.join(disk, 'data');
      mkdirSync(data);
      const scene = await startGateway(t, {
        dataDir: data,
        config: ({ standard }) => ({ ...standard, journal: { segment_bytes: '64KiB' } }),
      });
      const done = new Set();
      done.add((await call(scene, 'chat')).id);
      const filler = path.join(disk, 'filler');
      try {
        writeFileSync(filler, Buffer.alloc(4 << 20));
      } catch (error) {
        assert.equal(error.code, 'ENOSPC');
      }
      // Each loop has a segment of its own, and each call may come to another loop: full is when all refuse
      // for a while.
      let refused = null;
      let inARow = 0;
      for (let i = 0; i < 5000 && inARow < 30; i++) {
        const answer = await call(scene, 'chat', bodyOf('chat', { stream: i % 2 === 0 }));
        if (answer.status === 200) {
          done.add(answer.id);
          inARow = 0;
        } else {
          refused = answer;
          inARow++;
        }
      }
      assert.equal(inARow, 30, 'the disk never filled');
      assert.equal(refused.status, 503, refused.text);
      assert.match(refused.json().error.message, /disk|space|journal/i);
      assert.ok(scene.catalyst.isRunning());
      assert.equal((await exchange(scene.catalyst.port, request('GET', '/healthz'))).status, 200);
      assert.ok(
        scene.catalyst.log.some((l) => l.level === 'error' || l.level === 'warn'),
        'the log says so',
      );
      const reached = scene.double.openai.exchanges.length;
      assert.equal((await call(scene, 'chat')).status, 503);
      assert.equal(
        scene.double.openai.exchanges.length,
        reached,
        'a refused call does not go to the provider',
      );
      rmSync(filler);
      const back = await until(
        'calls to be taken again',
        async () => {
          const answer = await call(scene, 'chat');
          return answer.status === 200 && answer;
        },
        { deadline_ms: 30_000, every_ms: 50 },
      );
      done.add(back.id);
      assert.equal((await exchange(scene.catalyst.port, request('GET', '/readyz'))).status, 200);
      const records = await scene.catalyst.requests();
      const ids = records.filter((r) => r.outcome === 'completed').map((r) => r.request_id);
      assert.equal(new Set(ids).size, ids.length);
      for (const id of done) assert.ok(ids.includes(id), `call ${id} was lost`);
    },
  );
});
