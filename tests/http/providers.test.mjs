// providers.test.mjs - providers from the API: sealed keys, live tests, prices, and changes under calls that drop nothing.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bodyOf, call, startCall } from '../lib/call.mjs';
import { NO_BINARY, startCatalyst } from '../lib/catalyst.mjs';
import { newKey, startManaged } from '../lib/gateway.mjs';
import { freePort } from '../lib/raw.mjs';
import { gate, until } from '../lib/wait.mjs';

describe('providers', { skip: NO_BINARY }, () => {
  test('the key is never shown, stays when it is not given, and goes when it is null', async (t) => {
    const scene = await startManaged(t);
    const k = await newKey(scene);
    const at = `/api/gateway/providers/${scene.providers.openai.id}`;
    const shown = await scene.ada.must(200, scene.ada.get(at));
    assert.equal(shown.api_key, undefined);
    assert.deepEqual([shown.has_key, shown.key_hint], [true, scene.secret.slice(-4)]);
    await scene.ada.must(200, scene.ada.patch(at, { models: ['gpt-*'] }));
    assert.equal((await call(k, 'chat')).status, 200);
    await scene.ada.must(200, scene.ada.put(at, { name: 'openai', kind: 'openai', base_url: scene.double.openaiUrl }));
    assert.equal((await call(k, 'chat')).status, 200);
    const changed = await scene.ada.must(200, scene.ada.patch(at, { api_key: 'sk-another-key-of-it-1a2b' }));
    assert.equal(changed.key_hint, '1a2b');
    assert.equal((await call(k, 'chat')).status, 401);
    const none = await scene.ada.must(200, scene.ada.patch(at, { api_key: null }));
    assert.deepEqual([none.has_key, none.key_hint], [false, null]);
    assert.equal((await scene.ada.patch(at, { has_key: true })).status, 400);
  });

  test('after a restart the sealed key opens again', async (t) => {
    const scene = await startManaged(t);
    const k = await newKey(scene);
    await scene.catalyst.stop();
    const catalyst = await startCatalyst(t, { config: scene.config, dataDir: scene.catalyst.dataDir });
    assert.equal((await call({ ...k, catalyst }, 'chat')).status, 200);
  });

  test('a live test tells what it found, and costs nothing', async (t) => {
    const scene = await startManaged(t);
    const test = (id) => scene.ada.must(200, scene.ada.post(`/api/gateway/providers/${id}/test`));
    const good = await test(scene.providers.openai.id);
    assert.deepEqual([good.is_ok, good.status], [true, 200]);
    assert.ok(good.models.includes('gpt-4o-mini'));
    assert.equal(scene.double.last.method, 'GET');
    const anthropic = await test(scene.providers.anthropic.id);
    assert.equal(anthropic.is_ok, true);
    assert.equal(scene.double.last.header('x-api-key'), scene.secret);
    const make = async (body) => (await scene.ada.must(201, scene.ada.post('/api/gateway/providers', body))).id;
    const wrong = await test(await make({ name: 'wrong', kind: 'openai', base_url: scene.double.openaiUrl, api_key: 'sk-wrong-key-000000' }));
    assert.deepEqual([wrong.is_ok, wrong.status], [false, 401]);
    assert.match(wrong.detail, /does not take the key/);
    const away = await test(await make({ name: 'away', kind: 'openai', base_url: `http://127.0.0.1:${await freePort()}/v1` }));
    assert.deepEqual([away.is_ok, away.status], [false, null]);
    const metadata = await scene.ada.post('/api/gateway/providers', { name: 'metadata', kind: 'compatible', base_url: 'http://169.254.169.254/v1' });
    assert.deepEqual([metadata.status, metadata.json.errors[0].field], [400, 'base_url']);
  });

  test('a change drops no stream and keeps connections warm', async (t) => {
    const scene = await startManaged(t, { config: { loops: 1 } });
    const k = await newKey(scene);
    const open = gate();
    await call(k, 'chat');
    const connections = () => new Set(scene.double.exchanges.filter((x) => x.method === 'POST').map((x) => x.socket)).size;
    for (let i = 0; i < 5; i++) {
      await scene.ada.must(200, scene.ada.put(`/api/gateway/aliases/a${i}`, { model: 'gpt-4o-mini' }));
      assert.equal((await call(k, 'chat', bodyOf('chat', { model: `a${i}` }))).status, 200);
    }
    assert.equal(connections(), 1);
    scene.double.next({ gate: open });
    const c = await startCall(t, k, 'chat', bodyOf('chat', { stream: true }));
    await until('its first event', () => c.received.includes('data: '));
    await scene.ada.must(200, scene.ada.patch(`/api/gateway/providers/${scene.providers.openai.id}`, { is_enabled: false }));
    assert.match((await call(k, 'chat')).json().error.message, /gpt-4o-mini/);
    assert.equal((await scene.ada.delete(`/api/gateway/providers/${scene.providers.openai.id}`)).status, 204);
    open.open();
    assert.match((await c.readAnswer()).body.toString(), /\[DONE\]/);
  });

  test('prices of its own hold from the next call on', async (t) => {
    const scene = await startManaged(t, { tokens: () => ({ input: 1000, output: 1000 }) });
    const k = await newKey(scene);
    const at = `/api/gateway/providers/${scene.providers.openai.id}`;
    await scene.ada.must(200, scene.ada.patch(at, { prices: { 'gpt-4o-mini': { input: '2', output: '8' } } }));
    await call(k, 'chat');
    const [record] = await scene.catalyst.records(1);
    assert.equal(record.cost_nanousd, 10_000_000);
    const { items } = await scene.ada.must(200, scene.ada.get('/api/gateway/models?text=gpt-4o-mini'));
    assert.equal(items.find((m) => m.model === 'gpt-4o-mini').output_price_usd, '8.000000000');
    const bad = await scene.ada.patch(at, { prices: { m: { inputs: 1 } } });
    assert.deepEqual([bad.status, bad.json.errors[0].field], [400, 'prices']);
  });

  test('what is wrong with a provider is told', async (t) => {
    const scene = await startManaged(t);
    for (const [body, field] of [
      [{ name: 'x', kind: 'oracle' }, 'kind'],
      [{ name: 'x', kind: 'compatible' }, 'base_url'],
      [{ name: 'x', kind: 'openai', base_url: 'ftp://x' }, 'base_url'],
      [{ name: 'a b', kind: 'openai' }, 'name'],
      [{ name: 'x', kind: 'openai', api_key: 'with space' }, 'api_key'],
      [{ name: 'x', kind: 'openai', dialects: ['latin'] }, 'dialects[0]'],
    ]) {
      const answer = await scene.ada.post('/api/gateway/providers', body);
      assert.equal(answer.status, 400, answer.text);
      assert.equal(answer.json.errors[0].field, field);
    }
    assert.equal((await scene.ada.post('/api/gateway/providers', { name: 'openai', kind: 'openai' })).status, 409);
  });
});
