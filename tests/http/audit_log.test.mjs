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
