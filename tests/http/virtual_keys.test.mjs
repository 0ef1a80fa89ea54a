// virtual_keys.test.mjs - keys work from the answer that makes them to the answer that revokes them, for what they may and as what they are bound to.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { newMember } from '../lib/api.mjs';
import { bodyOf, call, startCall } from '../lib/call.mjs';
import { NO_BINARY, startCatalyst } from '../lib/catalyst.mjs';
import { newKey, startManaged } from '../lib/gateway.mjs';
import { makeKey } from '../lib/keys.mjs';
import { gate, until } from '../lib/wait.mjs';

const files = (folder) =>
  readdirSync(folder).flatMap((name) => {
    const file = path.join(folder, name);
    const st = statSync(file);
    return st.isDirectory() ? files(file) : st.isFile() ? [file] : [];
  });

describe('virtual keys', { skip: NO_BINARY }, () => {
  test('a key works at once, is known by its hash only, and is dead with the answer that revokes it', async (t) => {
    const scene = await startManaged(t);
    const k = await newKey(scene);
    assert.match(k.key, /^cvk_[0-9A-Za-z]{8}_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}$/);
    assert.equal(k.made.prefix, k.key.slice(0, 12));
    for (let i = 0; i < 4; i++) assert.equal((await call(k, 'chat')).status, 200);
    const shown = await scene.ada.must(200, scene.ada.get(`/api/gateway/keys/${k.made.id}`));
    assert.equal(shown.key, undefined);
    await until('the last use', async () => (await scene.ada.get(`/api/gateway/keys/${k.made.id}`)).json.last_used_at);
    assert.equal((await scene.ada.delete(`/api/gateway/keys/${k.made.id}`)).status, 204);
    // Each connection may come to another loop: it is dead on all of them.
    for (let i = 0; i < 6; i++) {
      const answer = await call(k, 'chat');
      assert.equal(answer.status, 401, answer.text);
      assert.match(answer.json().error.message, /never made, or revoked/);
    }
    for (const file of files(scene.catalyst.dataDir)) {
      const bytes = readFileSync(file);
      assert.ok(!bytes.includes(k.key.slice(13, 45)), `the secret stands in ${file}`);
      assert.ok(!bytes.includes(scene.secret), `the provider's key stands in ${file}`);
    }
    assert.ok(!scene.catalyst.stderr.includes(k.key) && !scene.catalyst.stderr.includes(scene.secret));
  });

  test('streams of a revoked key are cut, those of others go on', async (t) => {
    const scene = await startManaged(t);
    const lost = await newKey(scene);
    const other = await newKey(scene);
    const open = gate();
    scene.double.next({ gate: open }, { gate: open });
    const a = await startCall(t, lost, 'chat', bodyOf('chat', { stream: true }));
    await until('its first event', () => a.received.includes('data: '));
    const b = await startCall(t, other, 'chat', bodyOf('chat', { stream: true }));
    await until('its first event', () => b.received.includes('data: '));
    assert.equal((await scene.ada.delete(`/api/gateway/keys/${lost.made.id}`)).status, 204);
    await until('the stream to be cut', () => /revoked/.test(a.received.toString()));
    open.open();
    const whole = await b.readAnswer();
    assert.match(whole.body.toString(), /\[DONE\]/);
    const record = await until('its record', async () => (await scene.catalyst.requests()).find((r) => r.outcome === 'cut'));
    assert.ok(record.tokens.input > 0);
  });

  test('a key that is switched off, has expired or was rotated opens nothing', async (t) => {
    const scene = await startManaged(t);
    const k = await newKey(scene);
    const at = `/api/gateway/keys/${k.made.id}`;
    await scene.ada.must(200, scene.ada.patch(at, { is_enabled: false }));
    assert.match((await call(k, 'chat')).json().error.message, /switched off/);
    await scene.ada.must(200, scene.ada.patch(at, { is_enabled: true }));
    assert.equal((await call(k, 'chat')).status, 200);
    const soon = new Date(Date.now() + 400).toISOString();
    await scene.ada.must(200, scene.ada.patch(at, { expires_at: soon }));
    await until('it to expire', async () => (await call(k, 'chat')).status === 401);
    assert.match((await call(k, 'chat')).json().error.message, /expired/);
    await scene.ada.must(200, scene.ada.patch(at, { expires_at: null }));

    const second = await scene.ada.must(201, scene.ada.post(`${at}/rotate`, { overlap_hours: 1 }));
    assert.equal(second.id, k.made.id);
    assert.equal((await call(k, 'chat')).status, 200);
    assert.equal((await call({ ...k, key: second.key }, 'chat')).status, 200);
    const third = await scene.ada.must(201, scene.ada.post(`${at}/rotate`, {}));
    assert.equal((await call(k, 'chat')).status, 401);
    assert.equal((await call({ ...k, key: second.key }, 'chat')).status, 401);
    assert.equal((await call({ ...k, key: third.key }, 'chat')).status, 200);
    const past = await scene.ada.post('/api/gateway/keys', { name: 'past', expires_at: '2020-01-01T00:00:00Z' });
    assert.deepEqual([past.status, past.json.errors[0].field], [400, 'expires_at']);
  });

  test('models and providers that a key may not use are refused, and never asked', async (t) => {
    const scene = await startManaged(t);
    const k = await newKey(scene, { allowed_models: ['gpt-4o*', 'fast'], allowed_providers: ['openai'] });
    await scene.ada.must(200, scene.ada.put('/api/gateway/aliases/fast', { model: 'gpt-4.1-mini' }));
    assert.equal((await call(k, 'chat')).status, 200);
    assert.equal((await call(k, 'chat', bodyOf('chat', { model: 'fast' }))).status, 200);
    assert.equal(scene.double.last.json().model, 'gpt-4.1-mini');
    const before = scene.double.exchanges.length;
    const model = await call(k, 'chat', bodyOf('chat', { model: 'gpt-4.1-mini' }));
    assert.equal(model.status, 403);
    assert.match(model.json().error.message, /may not use the model 'gpt-4.1-mini'; it may use: gpt-4o\*, fast/);
    const other = await newKey(scene, { allowed_providers: ['openai'] });
    assert.match((await call(other, 'messages')).json().error.message, /may not use the provider 'anthropic'/);
    assert.equal(scene.double.exchanges.length, before);
  });

  test("the key's own project and user win over the client's labels", async (t) => {
    const scene = await startManaged(t);
    const project = await scene.ada.must(201, scene.ada.post('/api/projects', { name: 'Engine' }));
    const bound = await newKey(scene, { project_id: project.id, user_id: scene.ada.user.id });
    const free = await newKey(scene);
    const headers = { 'x-catalyst-project': 'Elsewhere', 'x-catalyst-user': 'somebody' };
    await call(bound, 'chat', undefined, { headers });
    await call(free, 'chat', undefined, { headers });
    const calls = await until('both calls', async () => {
      const { items } = (await scene.ada.get('/api/gateway/requests')).json;
      return items.length === 2 && items;
    });
    const by = (k) => calls.find((c) => c.key_id === k.made.id);
    assert.deepEqual([by(bound).project, by(bound).project_id, by(bound).user_id, by(bound).user], ['Engine', project.id, scene.ada.user.id, null]);
    assert.deepEqual([by(free).project, by(free).project_id, by(free).user], ['Elsewhere', null, 'somebody']);
    // The project's new name holds for the next call.
    await scene.ada.must(200, scene.ada.patch(`/api/projects/${project.id}`, { name: 'Mill' }));
    await until('the new name', async () => {
      await call(bound, 'chat');
      return (await scene.catalyst.requests()).some((r) => r.project === 'Mill');
    });
  });

  test('keys belong to their workspace: its providers, nobody else sees them', async (t) => {
    const scene = await startManaged(t);
    const other = await scene.ada.must(201, scene.ada.post('/api/workspaces', { name: 'Second' }));
    const there = scene.ada.with({ workspace: other.id });
    const k = await newKey({ ...scene, ada: there });
    const none = await call(k, 'chat');
    assert.equal(none.status, 404);
    assert.match(none.json().error.message, /no provider/);
    assert.equal((await scene.ada.get(`/api/gateway/keys/${k.made.id}`)).status, 404);
    assert.equal((await scene.ada.delete(`/api/gateway/keys/${k.made.id}`)).status, 404);
    assert.deepEqual((await scene.ada.get('/api/gateway/keys')).json.items, []);
    await there.must(201, there.post('/api/gateway/providers', { name: 'openai', kind: 'openai', base_url: scene.double.openaiUrl, api_key: scene.secret }));
    assert.equal((await call(k, 'chat')).status, 200);
    assert.equal((await there.get('/api/gateway/providers')).json.items.length, 1);
  });

  test('what is wrong with a key is told, and a name is taken once', async (t) => {
    const scene = await startManaged(t);
    await newKey(scene, { name: 'ci' });
    assert.equal((await scene.ada.post('/api/gateway/keys', { name: 'ci' })).status, 409);
    const nobody = '01890000-0000-7000-8000-000000000000';
    for (const [body, field] of [
      [{ name: 'x', project_id: nobody }, 'project_id'],
      [{ name: 'x', user_id: nobody }, 'user_id'],
      [{ name: 'x', limits: { requests_per_minute: 0 } }, 'limits.requests_per_minute'],
      [{ name: 'x', budget_usd: '-1' }, 'budget_usd'],
      [{ name: '' }, 'name'],
    ]) {
      const answer = await scene.ada.post('/api/gateway/keys', body);
      assert.equal(answer.status, 400, answer.text);
      assert.equal(answer.json.errors[0].field, field);
    }
    const viewer = await newMember(scene.ada, 'viewer');
    assert.equal((await viewer.post('/api/gateway/keys', { name: 'mine' })).status, 403);
  });

  test('keys and providers of the file belong to the first workspace, win by name, and are read-only', async (t) => {
    const scene = await startManaged(t);
    await newKey(scene, { name: 'shared' });
    await scene.catalyst.stop();
    const text = makeKey();
    const config = {
      ...scene.config,
      providers: [{ name: 'openai', kind: 'openai', base_url: scene.double.openaiUrl, api_key: scene.secret, models: ['gpt-4o-mini'] }],
      keys: [{ name: 'shared', key: text, project: 'demo', budget_usd: '3' }],
      aliases: { fast: 'gpt-4o-mini' },
    };
    const catalyst = await startCatalyst(t, { config, dataDir: scene.catalyst.dataDir });
    const ada = scene.ada.with({ origin: catalyst.origin });
    const keys = (await ada.must(200, ada.get('/api/gateway/keys'))).items;
    assert.deepEqual([keys[0].name, keys[0].origin, keys[0].budget.limit_usd], ['shared', 'file', '3.000000000']);
    assert.equal((await call({ catalyst, key: text }, 'chat', bodyOf('chat', { model: 'fast' }))).status, 200);
    const providers = (await ada.must(200, ada.get('/api/gateway/providers'))).items;
    assert.deepEqual(providers.filter((p) => p.name === 'openai').map((p) => p.origin).sort(), ['database', 'file']);
    assert.equal((await ada.patch(`/api/gateway/providers/${providers[0].id}`, { is_enabled: false })).status, 409);
    assert.equal((await ada.put('/api/gateway/aliases/fast', { model: 'x' })).status, 409);
    assert.equal((await ada.delete('/api/gateway/aliases/fast')).status, 409);
    assert.equal((await ada.post('/api/gateway/providers', { name: 'openai', kind: 'openai' })).status, 409);
  });
});
