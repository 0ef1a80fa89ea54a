// narrow.test.mjs - API keys for some projects only, in the gateway; and what is bound to somebody who has left.

import assert from 'node:assert/strict';
import { Caller, newMember } from '../lib/api.mjs';
import { bodyOf, call, startCall } from '../lib/call.mjs';
import { NO_BINARY } from '../lib/catalyst.mjs';
import { newKey, startManaged } from '../lib/gateway.mjs';
import { onEngines } from '../lib/postgres.mjs';
import { gate, until } from '../lib/wait.mjs';

const skip = NO_BINARY;
const SCOPES = ['gateway.keys', 'budgets.manage', 'optimizer.read', 'chat.read', 'analytics.view', 'analytics.view_others'];

onEngines('an API key for some projects reaches no virtual key, budget or stream of others or of the whole workspace', { skip }, async (t, { database }) => {
  const scene = await startManaged(t, { url: database });
  const { ada } = scene;
  const make = (path, body) => ada.must(201, ada.post(path, body));
  const [mine, other] = [await make('/api/projects', { name: 'mine' }), await make('/api/projects', { name: 'other' })];
  const keys = {};
  for (const [name, project_id] of [['mine', mine.id], ['other', other.id], ['free', null]])
    keys[name] = await make('/api/gateway/keys', { name, project_id });
  const budget = (scope, scope_id) => make('/api/gateway/budgets', { scope, scope_id, period: 'monthly', limit_usd: '5' });
  const reached = [await budget('project', mine.id), await budget('key', keys.mine.id)];
  const beyond = [
    await budget('workspace', ada.workspace),
    await budget('project', other.id),
    await budget('user', ada.user.id),
    await budget('key', keys.other.id),
    await budget('key', keys.free.id),
  ];
  const { key } = await make('/api/keys', { name: 'narrow', scopes: SCOPES, project_ids: [mine.id] });
  const ci = new Caller(scene.catalyst.origin, { key });

  assert.deepEqual((await ci.get('/api/gateway/keys')).json.items.map((k) => k.name), ['mine']);
  assert.equal((await ci.get(`/api/gateway/keys/${keys.mine.id}`)).status, 200);
  for (const name of ['other', 'free']) {
    const at = `/api/gateway/keys/${keys[name].id}`;
    for (const answer of [await ci.get(at), await ci.patch(at, { is_enabled: false }), await ci.post(`${at}/rotate`, {}), await ci.delete(at)])
      assert.equal(answer.status, 404, `${name}: ${answer.text}`);
  }

  assert.deepEqual((await ci.get('/api/gateway/budgets')).json.items.map((b) => b.id), reached.map((b) => b.id));
  for (const { id } of reached) assert.equal((await ci.patch(`/api/gateway/budgets/${id}`, { limit_usd: '6' })).status, 200);
  for (const { id, scope, scope_id } of beyond) {
    const at = `/api/gateway/budgets/${id}`;
    for (const answer of [await ci.get(at), await ci.patch(at, { limit_usd: '500' }), await ci.delete(at)])
      assert.equal(answer.status, 404, `${scope}: ${answer.text}`);
    const made = await ci.post('/api/gateway/budgets', { scope, scope_id, period: 'daily', limit_usd: '1' });
    assert.ok([400, 403, 404].includes(made.status), `${scope}: ${made.text}`);
  }
  for (const [scope, scope_id] of [['project', mine.id], ['key', keys.mine.id]])
    assert.equal((await ci.post('/api/gateway/budgets', { scope, scope_id, period: 'daily', limit_usd: '1' })).status, 201);

  assert.equal((await ci.get('/api/events')).status, 403);
});

onEngines('a virtual key that is bound to somebody opens nothing once they are no member, and its streams are cut', { skip }, async (t, { database }) => {
  const scene = await startManaged(t, { url: database });
  const bob = await newMember(scene.ada, 'developer');
  const k = await newKey(scene, { user_id: bob.user.id });
  const free = await newKey(scene);
  assert.equal((await call(k, 'chat')).status, 200);
  const open = gate();
  t.after(() => open.open());
  scene.double.next({ gate: open });
  const stream = await startCall(t, k, 'chat', bodyOf('chat', { stream: true }));
  await until('its first event', () => stream.received.includes('data: '));
  assert.equal((await scene.ada.delete(`/api/workspaces/${scene.ada.workspace}/members/${bob.user.id}`)).status, 204);
  await until('the stream to be cut', () => /revoked/.test(stream.received.toString()));
  const answer = await call(k, 'chat');
  assert.equal(answer.status, 401, answer.text);
  assert.match(answer.json().error.message, /no member of the workspace any more/);
  assert.equal((await call(free, 'chat')).status, 200);
});
