// limits.test.mjs - requests and tokens per minute and parallel calls, of a key and of its project, in the words of each dialect.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bodyOf, call, startCall } from '../lib/call.mjs';
import { NO_BINARY } from '../lib/catalyst.mjs';
import { newKey, startManaged } from '../lib/gateway.mjs';
import { gate, until } from '../lib/wait.mjs';

describe('rate limits', { skip: NO_BINARY }, () => {
  test('requests per minute: all loops share them, and the fields tell', async (t) => {
    const scene = await startManaged(t);
    const k = await newKey(scene, { limits: { requests_per_minute: 5 } });
    const answers = [];
    for (let i = 0; i < 7; i++) answers.push(await call(k, 'chat'));
    assert.deepEqual(answers.map((a) => a.status), [200, 200, 200, 200, 200, 429, 429]);
    assert.deepEqual(answers.slice(0, 5).map((a) => a.header('x-ratelimit-remaining-requests')), ['4', '3', '2', '1', '0']);
    assert.equal(answers[0].header('x-ratelimit-limit-requests'), '5');
    assert.match(answers[0].header('x-ratelimit-reset-requests'), /^1[12]\.\d{3}s$/);
    const last = answers[6];
    assert.ok(Number(last.header('retry-after')) >= 10 && Number(last.header('retry-after')) <= 12);
    assert.equal(last.header('x-should-retry'), undefined);
    assert.equal(last.json().error.code, 'rate_limited');
    assert.match(last.json().error.message, /limit of 5 requests per minute/);
    assert.equal(scene.double.exchanges.length, 5);
    const messages = await call(k, 'messages');
    assert.equal(messages.status, 429);
    assert.equal(messages.json().error.type, 'rate_limit_error');
    assert.equal(messages.header('anthropic-ratelimit-requests-limit'), '5');
    assert.equal(messages.header('anthropic-ratelimit-requests-remaining'), '0');
    assert.match(messages.header('anthropic-ratelimit-requests-reset'), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  });

  test("the provider's own limit fields pass when the key has no limits, and not beside ours", async (t) => {
    const scene = await startManaged(t);
    const free = await newKey(scene);
    const bound = await newKey(scene, { limits: { requests_per_minute: 100 } });
    assert.equal((await call(free, 'chat')).header('x-ratelimit-remaining-requests'), '9999');
    assert.equal((await call(bound, 'chat')).header('x-ratelimit-remaining-requests'), '99');
    assert.equal((await call(free, 'messages')).header('anthropic-ratelimit-requests-limit'), '4000');
    assert.equal((await call(bound, 'messages')).header('anthropic-ratelimit-requests-limit'), '100');
  });

  test('tokens per minute: what an answer had is waited for by the next call', async (t) => {
    const scene = await startManaged(t, { tokens: () => ({ input: 100, output: 2000 }) });
    const k = await newKey(scene, { limits: { tokens_per_minute: 1000 } });
    assert.equal((await call(k, 'chat')).status, 200);
    const answer = await call(k, 'chat');
    assert.equal(answer.status, 429);
    assert.equal(answer.header('x-ratelimit-limit-tokens'), '1000');
    assert.equal(answer.header('x-ratelimit-remaining-tokens'), '0');
    assert.ok(Number(answer.header('retry-after')) > 60);
  });

  test('parallel calls: a place is free again when a call ends, however it ends', async (t) => {
    const scene = await startManaged(t);
    const k = await newKey(scene, { limits: { parallel_calls: 2 } });
    const open = gate();
    scene.double.next({ gate: open }, { gate: open });
    const streams = [];
    for (let i = 0; i < 2; i++) {
      const c = await startCall(t, k, 'chat', bodyOf('chat', { stream: true }));
      await until('its first event', () => c.received.includes('data: '));
      streams.push(c);
    }
    const refused = await call(k, 'chat');
    assert.equal(refused.status, 429);
    assert.equal(refused.header('retry-after'), '1');
    assert.match(refused.json().error.message, /limit of 2 parallel calls/);
    streams[0].close();
    await until('a free place', async () => (await call(k, 'chat')).status === 200);
    open.open();
    await streams[1].readAnswer();
    scene.double.next({ fault: 'reset' });
    assert.equal((await call(k, 'chat')).status, 502);
    for (let i = 0; i < 5; i++) assert.equal((await call(k, 'chat')).status, 200);
  });

  test("a project's limits hold for all its keys together", async (t) => {
    const scene = await startManaged(t);
    const project = await scene.ada.must(201, scene.ada.post('/api/projects', { name: 'Engine' }));
    const at = `/api/gateway/limits/${project.id}`;
    assert.deepEqual((await scene.ada.get(at)).json, { requests_per_minute: null, tokens_per_minute: null, parallel_calls: null });
    await scene.ada.must(200, scene.ada.put(at, { requests_per_minute: 3 }));
    const a = await newKey(scene, { project_id: project.id });
    const b = await newKey(scene, { project_id: project.id, limits: { requests_per_minute: 100 } });
    const free = await newKey(scene);
    assert.equal((await call(a, 'chat')).status, 200);
    assert.equal((await call(b, 'chat')).status, 200);
    assert.equal((await call(b, 'chat')).header('x-ratelimit-remaining-requests'), '0');
    const refused = await call(a, 'chat');
    assert.equal(refused.status, 429);
    assert.match(refused.json().error.message, /the project 'Engine' has reached its limit of 3/);
    assert.equal((await call(free, 'chat')).status, 200);
    // The counters live through a change of something else; the limit itself can be taken away.
    await scene.ada.must(200, scene.ada.put('/api/gateway/aliases/fast', { model: 'gpt-4o-mini' }));
    assert.equal((await call(a, 'chat')).status, 429);
    await scene.ada.must(200, scene.ada.put(at, {}));
    assert.equal((await call(a, 'chat')).status, 200);
  });
});
