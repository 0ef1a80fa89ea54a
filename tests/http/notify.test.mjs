// notify.test.mjs - what people are told in the page.

import assert from 'node:assert/strict';
import test from 'node:test';
import { newMember, owner, QUICK_PASSWORDS } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst, startProvider } from '../lib/catalyst.mjs';
import { onEngines } from '../lib/postgres.mjs';
import { openStream } from '../lib/stream.mjs';
import { until } from '../lib/wait.mjs';

const skip = NO_BINARY;

async function start(t, { database } = {}) {
  return startCatalyst(t, {
    config: { loops: 2, identity: QUICK_PASSWORDS },
    env: database ? { CATALYST_DATABASE__URL: database } : {},
  });
}

const list = async (caller, query = '') => (await caller.must(200, caller.get(`/api/notifications${query}`))).items;
const unread = async (caller) => (await caller.must(200, caller.get('/api/notifications/count'))).unread;

onEngines('who joins is told to who invited and to the other administrators, once', { skip }, async (t, engine) => {
  const catalyst = await start(t, engine);
  const ada = await owner(catalyst);
  const admin = await newMember(ada, 'admin', { name: 'Grace' });
  const viewer = await newMember(ada, 'viewer', { name: 'Vi' });
  await until('two for the owner', async () => (await list(ada)).length === 2);
  const [second, first] = await list(ada);
  assert.equal(first.kind, 'invitation.accepted');
  assert.equal(first.title, 'Grace has joined First');
  assert.equal(first.link, '/workspace');
  assert.equal(first.is_read, false);
  assert.equal(first.workspace_id, ada.workspace);
  assert.equal(second.title, 'Vi has joined First');
  await until('one for the administrator', async () => (await list(admin)).length === 1);
  assert.equal((await list(admin))[0].kind, 'member.joined');
  assert.deepEqual(await list(viewer), []);
});

test('a notification comes on the stream of its person only, and is counted until it is read', { skip }, async (t) => {
  const catalyst = await start(t);
  const ada = await owner(catalyst);
  const bob = await newMember(ada, 'developer', { name: 'Bob' });
  await until('the first', async () => (await unread(ada)) === 1);
  const [own, others] = [await openStream(t, ada), await openStream(t, bob)];
  await newMember(ada, 'viewer', { name: 'Vi' });
  const { data } = await own.frame('a notification', (f) => f.event === 'notification');
  assert.equal(data.title, 'Vi has joined First');
  assert.equal((await list(ada))[0].id, data.id, 'the row is there when the frame comes');
  assert.equal(await unread(ada), 2);
  await ada.must(204, ada.post('/api/notifications/read', { ids: [data.id] }));
  assert.equal(await unread(ada), 1);
  assert.deepEqual((await list(ada, '?unread=true')).map((n) => n.title), ['Bob has joined First']);
  await ada.must(204, ada.post('/api/notifications/read', { all: true }));
  assert.equal(await unread(ada), 0);
  assert.deepEqual(await list(ada, '?unread=true'), []);
  assert.equal((await list(ada)).length, 2);
  assert.ok(!others.frames.some((f) => f.event === 'notification'));
  // Another's notification is passed over, and a wrong body is told.
  await ada.must(200, ada.put(`/api/workspaces/${ada.workspace}/members/${bob.user.id}`, { role: 'reviewer' }));
  await others.ended(); // what he may see has changed: the page asks again with what he may now
  const [told] = await until('the new role', async () => {
    const all = await list(bob);
    return all.length && all;
  });
  assert.equal(told.title, 'Your role in First is now reviewer');
  await ada.must(204, ada.post('/api/notifications/read', { ids: [told.id] }));
  assert.equal(await unread(bob), 1);
  const wrong = await ada.post('/api/notifications/read', { ids: ['x'] });
  assert.equal(wrong.status, 400);
  assert.equal(wrong.json.errors[0].field, 'ids[0]');
  assert.equal((await ada.post('/api/notifications/read', {})).status, 400);
});

test('a kind that is turned off is not sent any more', { skip }, async (t) => {
  const catalyst = await start(t);
  const ada = await owner(catalyst);
  const path = '/api/notifications/preferences';
  const { preferences } = await ada.must(200, ada.get(path));
  assert.ok(preferences.every((p) => p.is_wanted && p.meaning));
  const wrong = await ada.put(path, { preferences: [{ kind: 'nothing', is_wanted: false }] });
  assert.equal(wrong.json.errors[0].field, 'preferences[0].kind');
  const after = await ada.must(200, ada.put(path, { preferences: [{ kind: 'invitation.accepted', is_wanted: false }] }));
  assert.deepEqual(
    after.preferences.filter((p) => !p.is_wanted).map((p) => p.kind),
    ['invitation.accepted'],
  );
  const grace = await newMember(ada, 'admin', { name: 'Grace' });
  await newMember(grace, 'viewer', { name: 'Vi' });
  await until('the one that is still wanted', async () => (await list(ada)).length === 1);
  assert.deepEqual((await list(ada)).map((n) => n.kind), ['member.joined']);
});

test('a budget that reaches a mark is told to administrators, and its calls are in the export', { skip }, async (t) => {
  const double = await startProvider(t, { key: 'sk-double-7Yd2' });
  const catalyst = await start(t);
  const ada = await owner(catalyst);
  await ada.must(
    201,
    ada.post('/api/gateway/providers', { name: 'main', kind: 'openai', base_url: double.openaiUrl, api_key: 'sk-double-7Yd2' }),
  );
  const made = await ada.must(201, ada.post('/api/gateway/keys', { name: 'agent' }));
  const budget = { scope: 'workspace', scope_id: ada.workspace, period: 'monthly', limit_usd: '0.0005', is_hard: false };
  await ada.must(201, ada.post('/api/gateway/budgets', budget));
  const call = () =>
    fetch(`${catalyst.origin}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${made.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'gpt-4o', max_tokens: 20, messages: [{ role: 'user', content: 'hello' }] }),
    }).then((r) => r.text().then(() => r.status));
  const told = await until(
    'the notification',
    async () => {
      assert.equal(await call(), 200);
      return (await list(ada)).find((n) => n.kind === 'budget.alert');
    },
    { deadline_ms: 20_000, every_ms: 20 },
  );
  assert.match(told.title, /^A monthly workspace budget has reached \d+ %$/);
  assert.match(told.body, /^0\.0\d+ of 0\.0005 USD are spent\.$/);
  const { job } = await ada.must(202, ada.post(`/api/workspaces/${ada.workspace}/export`));
  const done = await until('the export', async () => {
    const now = await ada.must(200, ada.get(`/api/jobs/${job.id}`));
    return now.state === 'succeeded' && now;
  });
  const answer = await ada.get(`/api/workspaces/${ada.workspace}/exports/${done.id}/1`);
  const kinds = answer.text.trim().split('\n').map((l) => JSON.parse(l).kind);
  for (const kind of ['provider', 'gateway_key', 'budget', 'call']) assert.ok(kinds.includes(kind), kind);
  assert.ok(!answer.text.includes('sk-double-7Yd2') && !answer.text.includes(made.key));
});
