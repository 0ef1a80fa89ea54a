// stress.long.test.mjs - calls of all sorts against providers of all moods, with clients that leave at random moments; the server must neither
// crash nor lose count, and must stop when it is told to. CATALYST_STRESS_MS says for how long, CATALYST_STRESS_SEED repeats a run's choices.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import zlib from 'node:zlib';
import { DIALECTS, bodyOf, callBytes } from '../lib/call.mjs';
import { NO_BINARY, startGateway } from '../lib/catalyst.mjs';
import { RawConnection, exchange, request } from '../lib/raw.mjs';
import { until } from '../lib/wait.mjs';

const CLIENTS = 24;
const TIME_MS = Number(process.env.CATALYST_STRESS_MS ?? 30_000);
const SEED = Number(process.env.CATALYST_STRESS_SEED ?? Date.now() % 1_000_000);

/** mulberry32 */
function randomness(seed) {
  let a = seed >>> 0;
  const next = () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let x = Math.imul(a ^ (a >>> 15), a | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
  return { chance: (p) => next() < p, below: (n) => Math.floor(next() * n), one: (list) => list[Math.floor(next() * list.length)] };
}

const FAULTS = ['drop', 'reset', 'garbage', 'cut', 'reset-mid', 'short', 'stall', 'stall-head', 'slow', '429', '500'];
const BIG = 'lorem ipsum '.repeat(150_000);

function act(random) {
  const a = { deliver: random.one(['whole', 'events', 'whole', 1 + random.below(200)]) };
  if (random.chance(0.5)) a.fault = random.one(FAULTS);
  if (random.chance(0.2)) a.framing = random.one(['chunked', 'close']);
  if (random.chance(0.1)) a.gzip = true;
  if (random.chance(0.1)) a.body = { object: 'list', text: BIG };
  return a;
}

function someCall(random, scene) {
  if (random.chance(0.1)) return random.one([request('GET', '/healthz'), request('GET', '/v1/nothing'), Buffer.from('GET / HTTP/1.1\r\nbad\r\n\r\n')]);
  const dialect = random.one(DIALECTS);
  let body = Buffer.from(bodyOf(dialect, { ...(random.chance(0.5) ? { stream: true } : {}), ...(random.chance(0.15) ? { metadata: { big: BIG } } : {}) }));
  if (random.chance(0.05)) body = body.subarray(0, body.length - 3);
  const headers = {};
  if (random.chance(0.2)) {
    body = zlib.gzipSync(body);
    headers['Content-Encoding'] = 'gzip';
  }
  return callBytes(scene, dialect, body, { headers });
}

async function client(random, scene, goesOn) {
  while (goesOn()) {
    const c = await RawConnection.open(scene.catalyst.port).catch(() => null);
    if (!c) return;
    const bytes = Buffer.concat(Array.from({ length: random.chance(0.3) ? 1 + random.below(4) : 1 }, () => someCall(random, scene)));
    const at = random.chance(0.5) ? random.below(bytes.length) : bytes.length;
    c.socket.write(bytes.subarray(0, at));
    if (random.chance(0.2)) c.socket.pause();
    if (at < bytes.length) await pause(random.below(20));
    if (at < bytes.length && random.chance(0.8)) c.socket.write(bytes.subarray(at));
    await pause(random.below(random.chance(0.2) ? 600 : 40));
    if (random.chance(0.2)) c.socket.resume();
    if (random.chance(0.3)) await Promise.race([c.ended, pause(random.below(300))]);
    if (random.chance(0.2)) c.socket.end(), await pause(random.below(20));
    if (random.chance(0.5)) c.reset();
    else c.close();
  }
}

for (const strict of [false, true]) {
  test(`a mixed load with ${strict ? 'a strict' : 'the usual'} journal, seed ${SEED}`, { skip: NO_BINARY, timeout: TIME_MS + 60_000 }, async (t) => {
    const random = randomness(SEED);
    const moods = { act: () => act(random) };
    const scene = await startGateway(t, {
      openai: moods,
      anthropic: moods,
      config: ({ standard }) => ({ ...standard, journal: { strict }, limits: { stop_deadline_ms: '1s' }, upstream: { first_byte_timeout_ms: '400ms', stall_timeout_ms: '400ms', total_timeout_ms: '1500ms' } }),
    });
    let ends = performance.now() + TIME_MS / 2;
    const clients = () => Promise.all(Array.from({ length: CLIENTS }, () => client(random, scene, () => performance.now() < ends && scene.catalyst.isRunning())));
    await clients();
    assert.ok(scene.catalyst.isRunning(), `it ended with ${JSON.stringify(scene.catalyst.exit)}:\n${scene.catalyst.stderr.slice(0, 6000)}`);

    // When all have left, nothing is open and every call that was begun has its record.
    const metric = (text, name) => text.split('\n').filter((l) => l.startsWith(`${name} `) || l.startsWith(`${name}{`)).reduce((sum, l) => sum + Number(l.split(' ').at(-1)), 0);
    const figures = async () => (await exchange(scene.catalyst.port, request('GET', '/metrics', { Connection: 'close' }))).body.toString();
    let text;
    await until('nothing to be open', async () => {
      text = await figures();
      return metric(text, 'catalyst_gateway_calls_open') === 0 && metric(text, 'catalyst_connections_open') === 1;
    }, { deadline_ms: 30_000, every_ms: 100 });
    const records = await scene.catalyst.requests();
    assert.ok(records.length > 0, 'there was a load');
    assert.equal(new Set(records.map((r) => r.request_id)).size, records.length, 'no record is there twice');
    assert.equal(records.length, metric(text, 'catalyst_gateway_calls_total'), 'as many records as calls were counted');

    ends = performance.now() + 3000;
    const late = clients();
    await pause(500);
    const { code, signal } = await scene.catalyst.stop(10_000);
    await late;
    assert.deepEqual({ code, signal }, { code: 0, signal: null }, scene.catalyst.stderr.slice(0, 6000));
  });
}
