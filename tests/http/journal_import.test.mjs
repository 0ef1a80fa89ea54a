// journal_import.test.mjs - a node that does not come back: another machine takes over its calls and what it held, once, whatever happens meanwhile.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, cpSync, openSync, readFileSync, readdirSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { bodyOf, call } from '../lib/call.mjs';
import { BINARY, NO_BINARY, runCatalyst, temporaryFolder } from '../lib/catalyst.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { NO_POSTGRES } from '../lib/postgres.mjs';
import { until } from '../lib/wait.mjs';

const body = bodyOf('chat', { max_tokens: 500 });
const NODE = { heartbeat_ms: 100, away_ms: 1000 };
/* The journal of a node stays in its folder, as with one that dies at once. */
const KEEPS = { config: { usage: { drain_ms: 60_000 }, node: NODE, journal: { segment_bytes: '64KiB' } } };

const importing = (cluster, folder, ...more) =>
  runCatalyst(['journal', 'import', folder, '--json', '--data', cluster.nodes[0].dataDir, ...more]);

async function imported(cluster, folder, ...more) {
  const { code, stdout, stderr } = await importing(cluster, folder, ...more);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout);
}

/** One call, as soon as the node knows the key. */
const known = (cluster, scene) => until('the node to know the key', async () => (await call(scene, 'chat', body)).status === 200, { every_ms: 20 });

/** Two nodes; the second has answered n calls under a hard budget, has `open` under way, and dies. */
async function deadNode(t, { n = 120, open = 3 } = {}) {
  const cluster = await startCluster(t, { nodes: [{ config: { node: NODE } }, KEEPS] });
  const key = await cluster.newKey({ budget_usd: '1.00' });
  const scene = cluster.scene(1, key);
  await known(cluster, scene);
  let answered = 1;
  await Promise.all(
    Array.from({ length: 12 }, async () => {
      while (answered < n) {
        answered++;
        assert.equal((await call(scene, 'chat', body)).status, 200);
      }
    }),
  );
  const before = cluster.double.exchanges.length;
  cluster.double.next(...Array.from({ length: open }, () => ({ fault: 'stall-head' })));
  const waiting = Array.from({ length: open }, () => call(scene, 'chat', body).catch(() => null));
  await until('the calls to be under way', () => cluster.double.exchanges.length >= before + open);
  const refused = await importing(cluster, cluster.nodes[1].dataDir);
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /a server runs on .*node1: it drains its journal by itself/);
  await cluster.nodes[1].kill();
  await Promise.all(waiting);
  return { cluster, key, n: answered, open };
}

const sums = async (cluster) =>
  (
    await cluster.query(
      `SELECT COUNT(*) AS calls, COUNT(DISTINCT (node, boot, n)) AS numbers, COALESCE(SUM(charged_nanousd), 0)::bigint AS charged,
       COUNT(*) FILTER (WHERE error = 'crashed') AS crashed, (SELECT COALESCE(SUM(charged_nanousd), 0)::bigint FROM usage.spend_days WHERE scope = 3) AS spent,
       (SELECT COUNT(*) FROM usage.calls_open) AS open FROM usage.calls`,
    )
  )[0];

describe('a node that does not come back', { skip: NO_BINARY || NO_POSTGRES }, () => {
  test('its calls are imported once, and it may come back after all', { timeout: 120_000 }, async (t) => {
    const { cluster, n, open, key } = await deadNode(t);
    const folder = cluster.nodes[1].dataDir;
    const found = await imported(cluster, folder);
    assert.equal(found.calls, n);
    assert.equal(found.open_calls, open);
    assert.equal(found.charged_nanousd, cluster.meter.spent);
    assert.ok(found.open_nanousd > 0);
    assert.deepEqual(found.damaged, []);
    const charged = cluster.meter.spent + found.open_nanousd;
    const expected = { calls: n + open, numbers: n + open, charged, crashed: open, spent: charged, open: 0 };
    assert.deepEqual(await sums(cluster), expected);
    assert.deepEqual(await cluster.query('SELECT * FROM usage.budget_leases WHERE node = 2'), []);
    const again = await imported(cluster, folder);
    assert.deepEqual([again.calls, again.charged_nanousd, again.open_calls, again.given_back_nanousd], [0, 0, 0, 0]);
    await cluster.nodes[1].start().ready();
    assert.deepEqual(await sums(cluster), expected);
    assert.equal((await call(cluster.scene(1, key), 'chat', body)).status, 200);
    const alive = await importing(cluster, folder);
    assert.match(alive.stderr, /a server runs on/);
  });

  test('kill -9 of the import, at any time, and another one beside it', { timeout: 120_000 }, async (t) => {
    const { cluster, n, open } = await deadNode(t, { n: 400 });
    const folder = cluster.nodes[1].dataDir;
    const copy = path.join(temporaryFolder(t), 'copy');
    cpSync(folder, copy, { recursive: true });
    const args = ['journal', 'import', '--data', cluster.nodes[0].dataDir];
    for (const after_ms of [1050, 1120, 1200]) {
      const child = spawn(BINARY, [...args, folder], { stdio: 'ignore' });
      const timer = setTimeout(() => child.kill('SIGKILL'), after_ms);
      await new Promise((resolve) => child.on('close', resolve));
      clearTimeout(timer);
    }
    const both = await Promise.all([folder, copy].map((f) => imported(cluster, f)));
    assert.ok(both.every((b) => b.damaged.length === 0));
    const { calls, numbers, charged, spent, crashed, open: left } = await sums(cluster);
    assert.deepEqual([calls, numbers, crashed, left], [n + open, n + open, open, 0]);
    assert.equal(spent, charged);
    assert.ok(charged >= cluster.meter.spent);
  });

  test('a copy of a node that is alive gives only what has ended, and a damaged segment does not stop the rest', { timeout: 120_000 }, async (t) => {
    const cluster = await startCluster(t, { nodes: [{ config: { node: NODE } }, KEEPS] });
    const key = await cluster.newKey({ budget_usd: '1.00' });
    const scene = cluster.scene(1, key);
    await known(cluster, scene);
    for (let i = 0; i < 250; i += 25) await Promise.all(Array.from({ length: 25 }, () => call(scene, 'chat', body)));
    cluster.double.next({ fault: 'stall-head' });
    const before = cluster.double.exchanges.length;
    const waiting = call(scene, 'chat', body).catch(() => null);
    await until('the call to be under way', () => cluster.double.exchanges.length > before);
    const copy = path.join(temporaryFolder(t), 'copy');
    cpSync(cluster.nodes[1].dataDir, copy, { recursive: true, filter: (f) => !f.endsWith('.sock') });
    const refused = await importing(cluster, copy);
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /is alive: its heartbeat moves/);
    // One byte of the segment that holds most.
    const folder = path.join(copy, 'journal');
    const used = (name) => readFileSync(path.join(folder, name)).filter((byte) => byte !== 0).length;
    const [victim] = readdirSync(folder)
      .filter((name) => name.endsWith('.seg'))
      .sort((a, b) => used(b) - used(a));
    const file = openSync(path.join(folder, victim), 'r+');
    writeSync(file, Buffer.from([0xff]), 0, 1, 4000);
    closeSync(file);
    const found = await imported(cluster, copy, '--force');
    assert.equal(found.is_alive, true);
    assert.ok(found.open_calls >= 1); // whose ends stand behind the damage are open, too
    assert.equal(found.given_back_nanousd, 0);
    assert.deepEqual(found.damaged.map((d) => d.segment), [victim]);
    assert.ok(found.calls > 0 && found.calls < 251, `${found.calls}`);
    // The node itself has all of them, and counts none twice.
    await cluster.nodes[1].stop();
    await waiting;
    await cluster.nodes[1].start().ready();
    const { calls, numbers, charged, spent, open } = await sums(cluster);
    assert.deepEqual([calls, numbers, open], [252, 252, 0]);
    assert.equal(spent, charged);
    rmSync(copy, { recursive: true });
  });
});
