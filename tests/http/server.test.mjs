// server.test.mjs - the process itself: health, models, stopping, starting wrongly, and what it never writes
// down.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { DIALECTS, bodyOf, call, isAnthropic, startCall } from '../lib/call.mjs';
import {
  BINARY,
  Catalyst,
  NO_BINARY,
  runCatalyst,
  startCatalyst,
  startGateway,
  temporaryFolder,
} from '../lib/catalyst.mjs';
import { defer, scope } from '../lib/defer.mjs';
import { makeKey } from '../lib/keys.mjs';
import { RawConnection, exchange, request } from '../lib/raw.mjs';
import { gate, until, within } from '../lib/wait.mjs';

const get = (scene, target, fields) => exchange(scene.catalyst.port, request('GET', target, fields));

describe('small endpoints', { skip: NO_BINARY }, () => {
  const suite = scope();
  let scene;
  before(async () => {
    scene = await startGateway(suite, {
      config: ({ standard }) => ({
        ...standard,
        aliases: { fast: 'gpt-4o-mini', smart: 'anthropic/claude-opus-4-5' },
      }),
    });
  });
  after(suite.end);
  const bearer = () => ({ Authorization: `Bearer ${scene.key}` });

  test('/healthz and /readyz need no key', async () => {
    const health = await get(scene, '/healthz');
    assert.equal(health.status, 200);
    assert.deepEqual(health.json(), { status: 'ok' });
    assert.equal((await get(scene, '/readyz')).status, 200);
  });

  test("GET /v1/models in OpenAI's shape", async () => {
    const answer = await get(scene, '/v1/models', bearer());
    assert.equal(answer.status, 200);
    const list = answer.json();
    assert.equal(list.object, 'list');
    const ids = list.data.map((m) => m.id);
    for (const id of ['gpt-4o-mini', 'claude-opus-4-5', 'fast', 'smart']) assert.ok(ids.includes(id), id);
    assert.equal(new Set(ids).size, ids.length, 'each once');
    for (const m of list.data) {
      assert.equal(m.object, 'model');
      assert.ok(Number.isInteger(m.created));
      assert.equal(typeof m.owned_by, 'string');
    }
    const one = (await get(scene, '/v1/models/gpt-4o-mini', bearer())).json();
    assert.equal(one.id, 'gpt-4o-mini');
  });

  test("GET /v1/models in Anthropic's shape", async () => {
    const headers = { 'x-api-key': scene.key, 'anthropic-version': '2023-06-01' };
    const list = (await get(scene, '/v1/models', headers)).json();
    assert.equal(typeof list.has_more, 'boolean');
    assert.equal(list.first_id, list.data[0].id);
    assert.equal(list.last_id, list.data.at(-1).id);
    for (const m of list.data) {
      assert.equal(m.type, 'model');
      assert.equal(typeof m.display_name, 'string');
      assert.ok(!Number.isNaN(Date.parse(m.created_at)));
    }
    assert.ok(list.data.some((m) => m.id === 'claude-opus-4-5'));
    assert.equal((await get(scene, '/v1/models/claude-opus-4-5', headers)).json().type, 'model');
  });

  test('models need a key, and ask no provider', async () => {
    assert.equal((await get(scene, '/v1/models')).status, 401);
    assert.equal((await get(scene, '/v1/models', { 'x-api-key': makeKey() })).status, 401);
    assert.equal(scene.double.openai.wire.heads.length + scene.double.anthropic.wire.heads.length, 0);
  });

  test('catalyst health finds the server, and says when there is none', async () => {
    const up = await runCatalyst(['health', '--url', scene.catalyst.origin]);
    assert.equal(up.code, 0, up.stderr);
    const down = await runCatalyst(['health', '--url', 'http://127.0.0.1:1']);
    assert.equal(down.code, 3, down.stderr);
  });
});

describe('stopping', { skip: NO_BINARY }, () => {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    test(`${signal} finishes the streams, takes no more, and exits with 0`, async (t) => {
      const scene = await startGateway(t);
      const rest = gate();
      scene.double.anthropic.next({ gate: rest, after: 3 });
      const idle = await RawConnection.open(scene.catalyst.port);
      defer(t, () => idle.close());
      await idle.send(request('GET', '/healthz'));
      await idle.readAnswer();
      const c = await startCall(t, scene, 'messages', bodyOf('messages', { stream: true }));
      await until('the stream to run', () => c.received.length > 600);
      scene.catalyst.signal(signal);
      await within('the idle connection to be closed', idle.ended);
      await until('no more to be taken', async () => {
        const probe = await RawConnection.open(scene.catalyst.port).catch(() => null);
        probe?.close();
        return probe === null;
      });
      assert.ok(scene.catalyst.isRunning(), 'the stream is waited for');
      rest.open();
      const answer = await c.readAnswer();
      assert.ok(answer.body.toString().endsWith('event: message_stop\ndata: {"type":"message_stop"}\n\n'));
      const exit = await scene.catalyst.stop();
      assert.deepEqual(exit, { code: 0, signal: null });
      const [record] = await scene.catalyst.requests();
      assert.equal(record.outcome, 'completed');
    });
  }

  test('with a drain delay /readyz turns before the listener closes, and each answer is the last of its connection', async (t) => {
    const scene = await startGateway(t, { env: { CATALYST_LISTEN__DRAIN_DELAY_MS: '60s' } });
    const rest = gate();
    scene.double.anthropic.next({ gate: rest, after: 3 });
    const c = await startCall(t, scene, 'messages', bodyOf('messages', { stream: true }));
    await until('the stream to run', () => c.received.length > 600);
    const kept = await RawConnection.open(scene.catalyst.port);
    defer(t, () => kept.close());
    await kept.send(request('GET', '/readyz'));
    assert.equal((await kept.readAnswer()).status, 200);
    scene.catalyst.signal('SIGTERM');
    await until('/readyz to turn', async () => {
      const ready = await exchange(scene.catalyst.port, request('GET', '/readyz'));
      return ready.status === 503 && ready.body.toString() === '{"status":"draining"}';
    });
    assert.equal((await call(scene, 'chat')).status, 200, 'calls are still taken');
    await kept.send(request('GET', '/healthz'));
    const last = await kept.readAnswer();
    assert.equal(last.status, 200);
    assert.equal(last.header('connection'), 'close');
    await within('that connection to be closed', kept.ended);
    scene.catalyst.signal('SIGTERM'); // the balancer need not be waited for
    await until('no more to be taken', async () => {
      const probe = await RawConnection.open(scene.catalyst.port).catch(() => null);
      probe?.close();
      return probe === null;
    });
    assert.ok(scene.catalyst.isRunning(), 'the stream is waited for');
    rest.open();
    assert.ok((await c.readAnswer()).body.toString().endsWith('event: message_stop\ndata: {"type":"message_stop"}\n\n'));
    assert.deepEqual(await within('the end', scene.catalyst.ended), { code: 0, signal: null });
  });

  test('a stream beyond the deadline is ended with an error and recorded', async (t) => {
    const scene = await startGateway(t, {
      config: ({ standard }) => ({ ...standard, limits: { stop_deadline_ms: '300ms' } }),
    });
    scene.double.anthropic.next({ gate: gate(), after: 4 });
    const c = await startCall(t, scene, 'messages', bodyOf('messages', { stream: true }));
    await until('the stream to run', () => c.received.length > 600);
    assert.deepEqual(await scene.catalyst.stop(), { code: 0, signal: null });
    await c.readToEnd();
    assert.ok(!c.received.includes('message_stop'));
    const [record] = await scene.catalyst.requests();
    assert.equal(record.outcome, 'cut');
    assert.equal(record.estimated, true);
  });

  test('a second signal does not wait', async (t) => {
    const scene = await startGateway(t);
    scene.double.anthropic.next({ gate: gate(), after: 4 });
    const c = await startCall(t, scene, 'messages', bodyOf('messages', { stream: true }));
    await until('the stream to run', () => c.received.length > 600);
    scene.catalyst.signal('SIGTERM');
    await scene.catalyst.logged('that it stops', (l) => /stop/.test(l.event));
    scene.catalyst.signal('SIGTERM');
    await within('the end', scene.catalyst.ended, 5000);
  });
});

describe('starting', { skip: NO_BINARY }, () => {
  const fails = async (t, config, { code, says, args = [], listen = '127.0.0.1:0', env = {} }) => {
    const dir = temporaryFolder(t);
    const c = new Catalyst({ dataDir: dir, config });
    const result = await runCatalyst(['serve', '--data', c.dataDir, '--listen', listen, ...args], {
      env,
      deadline_ms: 30_000,
    });
    assert.equal(result.code, code, result.stderr);
    assert.match(result.stderr, says);
    return result;
  };
  const provider = { name: 'openai', kind: 'openai', api_key: 'sk-never-shown-1234567890' };

  test('configurations that are wrong are 2, with the line and what would be right', async (t) => {
    await fails(t, 'limits:\n  haed_bytes: 16KiB\n', {
      code: 2,
      says: /catalyst\.yaml:2.*haed_bytes.*head_bytes/s,
    });
    await fails(t, 'providers:\n  - name: a\n    kind: opneai\n', {
      code: 2,
      says: /catalyst\.yaml:3.*opneai/s,
    });
    await fails(t, 'providers: [\n', { code: 2, says: /catalyst\.yaml/ });
    await fails(t, { providers: [provider, provider] }, { code: 2, says: /openai/ });
    await fails(
      t,
      { providers: [provider], keys: [{ name: 'a', key: makeKey('cat') }] },
      { code: 2, says: /cvk_/ },
    );
    await fails(
      t,
      { providers: [{ ...provider, api_key: undefined, api_key_env: 'NO_SUCH_VARIABLE_HERE' }] },
      { code: 2, says: /NO_SUCH_VARIABLE_HERE/ },
    );
    const shown = await fails(
      t,
      { providers: [{ ...provider, base_url: 'ftp://x' }] },
      { code: 2, says: /base_url|ftp/ },
    );
    assert.ok(!shown.stderr.includes(provider.api_key));
  });

  test('a port that is taken is said so', async (t) => {
    const other = net.createServer();
    await new Promise((resolve) => other.listen(0, '127.0.0.1', resolve));
    defer(t, () => other.close());
    const dir = temporaryFolder(t);
    const result = await runCatalyst(
      ['serve', '--data', dir, '--listen', `127.0.0.1:${other.address().port}`],
      { deadline_ms: 30_000 },
    );
    assert.ok([1, 75].includes(result.code), String(result.code));
    assert.match(result.stderr, new RegExp(String(other.address().port)));
  });

  test('a public address wants TLS or a TLS proxy', async (t) => {
    await fails(t, {}, { code: 2, says: /tls/i, listen: '0.0.0.0:0' });
  });

  test('keys by file and by variable reach the provider', async (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(path.join(folder, 'secret'), 'sk-double-openai-7Yd2\n');
    const scene = await startGateway(t, {
      env: { THE_ANTHROPIC_KEY: 'sk-ant-double-q8Wz' },
      config: ({ standard }) => ({
        ...standard,
        providers: [
          { ...standard.providers[0], api_key: undefined, api_key_file: path.join(folder, 'secret') },
          { ...standard.providers[1], api_key: undefined, api_key_env: 'THE_ANTHROPIC_KEY' },
        ],
      }),
    });
    for (const dialect of DIALECTS) assert.equal((await call(scene, dialect)).status, 200, dialect);
  });

  test('without a provider it starts, and a call says what to do', async (t) => {
    const key = makeKey();
    const catalyst = await startCatalyst(t, { config: { keys: [{ name: 'a', key }] } });
    const answer = await call({ catalyst, key }, 'chat');
    assert.ok([400, 404, 503].includes(answer.status), answer.text);
    assert.match(answer.json().error.message, /provider/);
  });
});

describe('what is written down', { skip: NO_BINARY }, () => {
  test('neither log nor journal holds keys or bodies, whatever happens', async (t) => {
    const scene = await startGateway(t, {
      config: ({ standard }) => ({
        ...standard,
        log: { level: 'debug' },
        upstream: { first_byte_timeout_ms: '300ms', stall_timeout_ms: '300ms' },
      }),
    });
    const marker = 'MARKER-5c1f-Prompt';
    const ask = (dialect, more = {}) =>
      bodyOf(dialect, {
        ...(dialect === 'embeddings'
          ? { input: marker }
          : dialect === 'responses'
            ? { input: marker }
            : { messages: [{ role: 'user', content: marker }] }),
        ...more,
      });
    for (const dialect of DIALECTS) {
      const double = scene.double[isAnthropic(dialect) ? 'anthropic' : 'openai'];
      for (const fault of [undefined, 429, 500, 'drop', 'stall-head', 'garbage']) {
        double.next({ fault });
        await call(scene, dialect, ask(dialect));
      }
      if (['chat', 'responses', 'messages'].includes(dialect)) {
        for (const fault of ['cut', 'stall', undefined]) {
          double.next({ fault, after: 3 });
          await call(scene, dialect, ask(dialect, { stream: true }));
        }
      }
      await call(scene, dialect, ask(dialect) + marker);
      await call(scene, dialect, ask(dialect), {
        headers: { Authorization: `Bearer ${marker}`, 'x-api-key': null },
      });
      await call(scene, dialect, ask(dialect), { query: `?key=${scene.key}` });
    }
    await exchange(scene.catalyst.port, `GET /${marker} HTTP/1.1\r\nHost: x\r\n${marker}\r\n\r\n`);
    assert.equal((await scene.catalyst.stop()).code, 0);
    const secrets = [scene.key, scene.double.openai.key, scene.double.anthropic.key, marker, 'Paris'];
    assert.ok(scene.catalyst.log.length > 1);
    assert.deepEqual(
      scene.catalyst.log.filter((l) => l.event === 'not_json'),
      [],
      'every line is JSON',
    );
    for (const line of scene.catalyst.log)
      for (const name of ['time', 'level', 'event'])
        assert.equal(typeof line[name], 'string', JSON.stringify(line));
    const journal = path.join(scene.catalyst.dataDir, 'journal');
    for (const secret of secrets) {
      assert.ok(!scene.catalyst.stderr.includes(secret), `the log holds ${secret}`);
      for (const file of readdirSync(journal))
        assert.ok(!readFileSync(path.join(journal, file)).includes(secret), `${file} holds ${secret}`);
    }
  });

  test("the data folder is nobody else's to read", async (t) => {
    const scene = await startGateway(t);
    await call(scene, 'chat');
    const journal = path.join(scene.catalyst.dataDir, 'journal');
    for (const file of readdirSync(journal))
      assert.equal(statSync(path.join(journal, file)).mode & 0o077, 0, file);
  });
});

describe('following', { skip: NO_BINARY }, () => {
  test('requests --follow shows calls as they end', async (t) => {
    const scene = await startGateway(t);
    const first = await call(scene, 'chat');
    const child = spawn(BINARY, ['requests', '--json', '--follow', '--data', scene.catalyst.dataDir], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    defer(t, () => child.kill('SIGKILL'));
    let text = '';
    child.stdout.on('data', (piece) => (text += piece));
    await until('the call before', () => text.includes(first.id));
    for (const dialect of DIALECTS) {
      const answer = await call(scene, dialect);
      await until('the call after', () => text.includes(answer.id));
    }
    const seen = text
      .trimEnd()
      .split('\n')
      .map((l) => JSON.parse(l).request_id);
    assert.equal(new Set(seen).size, seen.length);
    const ended = new Promise((resolve) => child.on('exit', resolve));
    child.kill('SIGINT');
    await within('the end of following', ended);
  });
});
