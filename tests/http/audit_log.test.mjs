// The audit log as auditors ask for it: every field, filters against a naive filter over all events, cursors, what a workspace must
// not see of another, exports.

import assert from 'node:assert/strict';
import { newMember, owner, QUICK_PASSWORDS } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst } from '../lib/catalyst.mjs';
import { onEngines } from '../lib/postgres.mjs';
import { until } from '../lib/wait.mjs';

const skip = NO_BINARY;

async function start(t, { database } = {}) {
  const config = { loops: 2, identity: QUICK_PASSWORDS, api: { rate_per_minute: 0, rate_per_address_per_minute: 0 } };
  return startCatalyst(t, { config, env: database ? { CATALYST_DATABASE__URL: database } : {} });
}

/** Everything that a list has, page by page. */
async function all(caller, path, limit = 200) {
  const items = [];
  for (let cursor = ''; cursor !== null; ) {
    const page = await caller.must(200, caller.get(`${path}${path.includes('?') ? '&' : '?'}limit=${limit}${cursor && `&cursor=${cursor}`}`));
    items.push(...page.items);
    cursor = page.next_cursor;
  }
  return items;
}

onEngines('an entry has every field of the document, and personal values are opened', { skip }, async (t, engine) => {
  const catalyst = await start(t, engine);
  const ada = await owner(catalyst);
  const made = await ada.must(201, ada.post('/api/projects', { name: 'Turnips' }, { 'user-agent': 'tests/1.0 \u00fc' }));
  const bob = await newMember(ada, 'viewer');
  assert.equal((await bob.post('/api/projects', { name: 'no' })).status, 403);
  const logs = await until('the refusal to be sealed', async () => {
    const items = await all(ada, '/api/audit/logs');
    return items.some((x) => x.action === 'access.denied') && items;
  });
  const created = logs.find((x) => x.action === 'project.created');
  assert.equal(created.user_id, ada.user.id);
  assert.equal(created.user_email, 'ada@example.com');
  assert.equal(created.actor, 'user');
  assert.equal(created.ip_address, '127.0.0.1');
  assert.match(created.user_agent, /^tests/);
  assert.deepEqual([created.resource_type, created.resource_id], ['project', made.id]);
  assert.equal(created.changes.before, null);
  assert.equal(created.changes.after.name, 'Turnips');
  assert.deepEqual([created.status, created.error, created.error_message], ['success', null, null]);
  assert.ok(created.credential_id && created.number > 0 && created.workspace_number > 0 && /^[0-9a-f]{64}$/.test(created.leaf));
  const refused = logs.find((x) => x.action === 'access.denied');
  assert.equal(refused.user_email, bob.user.email);
  assert.deepEqual([refused.status, refused.error], ['failure', 'forbidden']);
  assert.match(refused.error_message, /projects/);
  assert.deepEqual(refused.metadata.route, 'projects_create');
  const one = await ada.must(200, ada.get(`/api/audit/logs/${created.id}`));
  assert.deepEqual(one, created);
  assert.equal(new Set(logs.map((x) => x.leaf)).size, logs.length);
});

onEngines('a workspace sees nothing of another, nor of the instance, whatever it asks', { skip }, async (t, engine) => {
  const catalyst = await start(t, engine);
  const ada = await owner(catalyst);
  const second = ada.with({ workspace: (await ada.must(201, ada.post('/api/workspaces', { name: 'Second' }))).id });
  const hidden = await second.must(201, second.post('/api/projects', { name: 'hidden' }));
  await ada.must(201, ada.post('/api/projects', { name: 'seen' }));
  const bob = await newMember(ada, 'admin');
  const [foreign] = await until('the project to be sealed', async () => {
    const items = await all(second, `/api/audit/logs?resource_id=${hidden.id}`);
    return items.length && items;
  });
  const own = await all(bob, '/api/audit/logs');
  assert.ok(own.some((x) => x.action === 'project.created'));
  assert.ok(own.every((x) => x.workspace_number > 0 && x.resource_id !== hidden.id && x.action !== 'auth.signed_in'));
  for (const query of [`resource_id=${hidden.id}`, `q=workspace.created&from=2000-01-01`, 'action=auth.*', 'action=user.*'])
    assert.ok((await all(bob, `/api/audit/logs?${query}`)).every((x) => own.some((y) => y.resource_id === x.resource_id)), query);
  assert.deepEqual(await all(bob, `/api/audit/logs?resource_id=${hidden.id}`), []);
  // A cursor of another workspace is a number only: what stands before it is still one's own.
  const stolen = await bob.must(200, bob.get(`/api/audit/logs?cursor=d${foreign.number + 1}`));
  assert.ok(stolen.items.every((x) => own.some((y) => y.id === x.id)));
  for (const cursor of ['d', 'u5', 'd-1', 'x1', 'd0', 'd99999999999999999999', 'd1;'])
    assert.equal((await bob.get(`/api/audit/logs?cursor=${encodeURIComponent(cursor)}`)).status, 400, cursor);
  assert.equal((await bob.get(`/api/audit/logs/${foreign.id}`)).status, 404);
  assert.equal((await bob.get('/api/admin/audit/logs')).status, 403);
  assert.equal((await bob.with({ workspace: second.workspace }).get('/api/audit/logs')).status, 404);
  // The instance's log: no tenant's event in it.
  const instance = await all(ada, '/api/admin/audit/logs');
  assert.ok(instance.some((x) => x.action === 'auth.signed_in' || x.action === 'user.created'));
  assert.ok(instance.every((x) => x.workspace_number === 0));
  assert.equal((await ada.get(`/api/admin/audit/logs/${foreign.id}`)).status, 404);
  const csv = await bob.get('/api/audit/logs', { accept: 'text/csv' });
  assert.match(csv.type, /text\/csv/);
  assert.ok(!csv.text.includes(hidden.id));
});

onEngines('who reads the log stands in it, without flooding it', { skip }, async (t, engine) => {
  const catalyst = await start(t, engine);
  const ada = await owner(catalyst);
  const bob = await newMember(ada, 'admin');
  for (let i = 0; i < 25; i++) await bob.must(200, bob.get('/api/audit/logs?limit=1'));
  const reads = await until('the reads to be sealed', async () => {
    const items = await all(ada, `/api/audit/logs?action=audit.read&user_id=${bob.user.id}`);
    return items.length >= 10 && items;
  });
  assert.ok(reads.length <= 21, `${reads.length} for 25`); // the minute may have ended in between
  assert.equal(reads[0].user_email, bob.user.email);
  assert.deepEqual([reads[0].resource_type, reads[0].status, reads[0].metadata.route], ['audit', 'success', 'audit_logs']);
  const one = await bob.must(200, bob.get(`/api/audit/logs/${reads[0].id}`));
  const read = await until('reading one to be sealed', async () =>
    (await all(ada, '/api/audit/logs?action=audit.read')).find((x) => x.metadata.route === 'audit_log'));
  assert.equal(read.resource_id, one.id);
  // The instance's log and the list of everybody are the instance's to tell.
  await ada.must(200, ada.get('/api/users'));
  await ada.must(200, ada.get('/api/admin/audit/logs'));
  const seen = await until('both to be sealed', async () => {
    const actions = (await all(ada, '/api/admin/audit/logs')).map((x) => x.action);
    return actions.includes('user.listed') && actions.includes('audit.read') && actions;
  });
  assert.ok(seen);
});
