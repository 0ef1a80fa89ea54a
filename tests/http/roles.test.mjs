// Custom roles: what they give, who can make them, and that nobody climbs by one they made themselves.

import assert from 'node:assert/strict';
import test from 'node:test';
import { QUICK_PASSWORDS, newMember, owner } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst } from '../lib/catalyst.mjs';
import { onEngines } from '../lib/postgres.mjs';
import { sealedLog } from '../lib/rebuild.mjs';

const skip = NO_BINARY;
const NOWHERE = '01a20fb3-5ea1-7cb6-9d45-a2067c97f0ed';

async function start(t, database) {
  const catalyst = await startCatalyst(t, {
    config: { loops: 2, identity: QUICK_PASSWORDS },
    env: database ? { CATALYST_DATABASE__URL: database } : {},
  });
  catalyst.databaseUrl = database;
  return catalyst;
}
const rolesOf = (ada) => `/api/workspaces/${ada.workspace}/roles`;
const memberAt = (ada, person) => `/api/workspaces/${ada.workspace}/members/${person.user.id}`;
const makeRole = (who, name, permissions, more = {}) => who.must(201, who.post(rolesOf(who), { name, permissions, ...more }));
const codes = (answer) => answer.json.errors.map((e) => [e.field, e.code]).sort();

onEngines('roles give what they hold, inherit, and take it away at the next request', { skip }, async (t, { database }) => {
  const catalyst = await start(t, database);
  const ada = await owner(catalyst);
  const bob = await newMember(ada, 'viewer');

  const below = await makeRole(ada, 'Base', ['projects.create'], { parent: 'viewer' });
  const above = await makeRole(ada, 'Lead', ['projects.delete'], { parent: below.id, description: 'leads' });
  assert.deepEqual(above.permissions, ['projects.delete']);
  for (const p of ['projects.delete', 'projects.create', 'projects.read', 'chat.read']) assert.ok(above.effective.includes(p), p);
  assert.equal((await bob.post('/api/projects', { name: 'one' })).status, 403);
  await ada.must(200, ada.put(memberAt(ada, bob), { role: above.id }));
  const made = await bob.must(201, bob.post('/api/projects', { name: 'one' }));
  const me = (await bob.get('/api/auth/me')).json.workspaces[0];
  assert.equal(me.role, above.id);
  assert.ok(me.permissions.includes('projects.delete'));
  assert.equal((await bob.get('/api/workspaces')).json.items[0].role, above.id);

  // The parent changes, and with it what is below.
  await ada.must(200, ada.put(`${rolesOf(ada)}/${below.id}`, { name: 'Base', permissions: [], parent: 'viewer' }));
  assert.equal((await bob.post('/api/projects', { name: 'two' })).status, 403);
  await bob.must(204, bob.delete(`/api/projects/${made.id}`));

  const listed = (await ada.get(rolesOf(ada))).json.items;
  assert.deepEqual(listed.map((r) => r.name), ['owner', 'admin', 'developer', 'reviewer', 'viewer', 'Base', 'Lead']);
  assert.equal(listed.find((r) => r.name === 'Lead').n_assigned, 1);
  assert.equal((await ada.delete(`${rolesOf(ada)}/${above.id}`)).status, 409);
  assert.equal((await ada.delete(`${rolesOf(ada)}/${below.id}`)).status, 409, 'another inherits from it');
  await ada.must(200, ada.put(memberAt(ada, bob), { role: 'viewer' }));
  await ada.must(204, ada.delete(`${rolesOf(ada)}/${above.id}`));
  await ada.must(204, ada.delete(`${rolesOf(ada)}/${below.id}`));

  const log = (await sealedLog(catalyst)).map((x) => x.event);
  const updated = log.find((e) => e.type === 'role.updated');
  assert.deepEqual(updated.before, { permissions: ['projects.create'] });
  assert.deepEqual(updated.after, { permissions: [] });
  assert.deepEqual(log.find((e) => e.type === 'role.deleted').before.permissions, ['projects.delete']);
});

test('what is no sound role is refused: names, circles, depth, number, built-in ones', { skip }, async (t) => {
  const catalyst = await start(t);
  const ada = await owner(catalyst);
  const at = rolesOf(ada);
  for (const [body, expected] of [
    [{ name: 'owner' }, [['name', 'duplicate']]],
    [{ name: 'None' }, [['name', 'duplicate']]],
    [{ name: NOWHERE }, [['name', 'duplicate']]],
    [{ name: 'x', permissions: ['*', 'projects.read'] }, [['permissions', 'not_one_of']]],
    [{ name: 'x', permissions: ['projects.*'] }, [['permissions', 'not_one_of']]],
    [{ name: 'x', parent: 'owner' }, [['parent', 'not_one_of']]],
    [{ name: 'x', parent: NOWHERE }, [['parent', 'not_found']]],
    [{ name: 'x', is_built_in: true, created_by: ada.user.id }, [['created_by', 'read_only'], ['is_built_in', 'read_only']]],
  ]) {
    const answer = await ada.post(at, body);
    assert.equal(answer.status, 400, answer.text);
    assert.deepEqual(codes(answer), expected, JSON.stringify(body));
  }
  const chain = [];
  for (let i = 0; i <= 5; i++) chain.push(await makeRole(ada, `level ${i}`, [], i ? { parent: chain[i - 1].id } : {}));
  assert.deepEqual(codes(await ada.post(at, { name: 'too deep', parent: chain[5].id })), [['parent', 'out_of_range']]);
  const circle = await ada.put(`${at}/${chain[0].id}`, { name: 'level 0', parent: chain[2].id });
  assert.deepEqual(codes(circle), [['parent', 'out_of_range']]);
  assert.equal((await ada.put(`${at}/${chain[0].id}`, { name: 'level 0', parent: chain[0].id })).status, 400, 'of its own');
  assert.equal((await ada.put(`${at}/${chain[0].id}`, { name: 'level 0', parent: 'viewer' })).status, 400, 'pushes the last too deep');
  assert.equal((await ada.post(at, { name: 'LEVEL 3' })).status, 409);
  assert.equal((await ada.put(`${at}/admin`, { name: 'x' })).status, 409);
  assert.equal((await ada.delete(`${at}/owner`)).status, 409);
  assert.equal((await ada.put(`${at}/${NOWHERE}`, { name: 'x' })).status, 404);
  const tag = (await ada.get(`${at}/${chain[1].id}`)).headers.get('etag');
  await ada.must(200, ada.put(`${at}/${chain[1].id}`, { name: 'other', parent: chain[0].id }, { 'if-match': tag }));
  assert.equal((await ada.put(`${at}/${chain[1].id}`, { name: 'again', parent: chain[0].id }, { 'if-match': tag })).status, 412);
  await Promise.all(Array.from({ length: 94 }, (_, i) => makeRole(ada, `many ${i}`, [])));
  assert.equal((await ada.post(at, { name: 'one too many' })).status, 409);
  assert.equal((await ada.put(memberAt(ada, await newMember(ada, 'viewer')), { role: NOWHERE })).status, 400);
});

test('nobody climbs by a role: not made, not edited, not given, not by invitation', { skip }, async (t) => {
  const catalyst = await start(t);
  const ada = await owner(catalyst);
  const mia = await newMember(ada, 'admin');
  const at = rolesOf(ada);
  const denied = async (promise, what) => {
    const answer = await promise;
    assert.equal(answer.status, 403, `${what}: ${answer.status} ${answer.text}`);
  };
  // An administrator holds no billing.manage and no code.approve.
  await denied(mia.post(at, { name: 'Pay', permissions: ['billing.manage'] }), 'a role with more');
  await denied(mia.post(at, { name: 'Judge', parent: 'reviewer' }), 'a role that inherits more');
  const mine = await makeRole(mia, 'Mine', ['roles.manage', 'members.update', 'projects.read']);
  await denied(mia.put(`${at}/${mine.id}`, { name: 'Mine', permissions: ['billing.manage'] }), 'an edit to more');
  await denied(mia.put(`${at}/${mine.id}`, { name: 'Mine', permissions: [], parent: 'reviewer' }), 'an edit to a parent with more');
  const high = await makeRole(ada, 'High', ['billing.manage', 'privacy.erase']);
  await denied(mia.put(`${at}/${high.id}`, { name: 'High', permissions: ['projects.read'] }), 'touching a role above');
  await denied(mia.delete(`${at}/${high.id}`), 'deleting a role above');
  await denied(mia.post(at, { name: 'Under', parent: high.id }), 'a child of a role above');
  await denied(mia.put(memberAt(ada, mia), { role: high.id }), 'giving it to oneself');
  await denied(mia.put(memberAt(ada, mia), { role: 'owner' }), 'making oneself owner');
  await denied(mia.post(`/api/workspaces/${ada.workspace}/invite`, { email: 'x@example.com', role: high.id }), 'inviting into it');
  await denied(mia.put(memberAt(ada, ada), { role: 'viewer' }), 'unmaking the owner');

  // Who only manages roles makes one out of what they hold, and that is nothing more.
  const small = await makeRole(ada, 'Small', ['roles.manage', 'members.update', 'roles.read', 'members.read']);
  const sam = await newMember(ada, small.id);
  assert.equal((await sam.get('/api/auth/me')).json.workspaces[0].role, small.id);
  await denied(sam.post(at, { name: 'Sam', permissions: ['projects.create'] }), 'what Sam does not hold');
  const own = await makeRole(sam, 'Sam', ['members.read']);
  await denied(sam.put(memberAt(ada, sam), { role: 'viewer' }), 'a built-in role with more');
  await denied(sam.put(`${at}/${small.id}`, { name: 'Small', permissions: ['settings.update'] }), 'widening their own role');
  await sam.must(200, sam.put(memberAt(ada, sam), { role: own.id }));
  await denied(sam.post(at, { name: 'Late' }), 'after stepping down');

  // The invitation is worth what the inviter holds when it is accepted.
  const offer = await mia.must(201, mia.post(`/api/workspaces/${ada.workspace}/invite`, { email: 'guest@example.com', role: mine.id }));
  const token = offer.link.slice(offer.link.indexOf('#') + 1);
  assert.equal((await ada.with({ cookies: {}, csrf: null }).get(`/api/invitations/${token}`)).json.role, 'Mine');
  await ada.must(200, ada.put(memberAt(ada, mia), { role: 'developer' }));
  assert.equal((await ada.with({ cookies: {}, csrf: null }).get(`/api/invitations/${token}`)).status, 404);
});

onEngines('of two who race only one is right', { skip }, async (t, { database }) => {
  const catalyst = await start(t, database);
  const ada = await owner(catalyst);
  const eve = await newMember(ada, 'owner');
  for (const who of [ada, eve]) await who.must(204, who.post('/api/auth/reauthenticate', { password: 'hollow turnip engraves cobalt' }));
  // Two owners unmake each other at once: one stays.
  const answers = await Promise.all([ada.put(memberAt(ada, eve), { role: 'viewer' }), eve.put(memberAt(ada, ada), { role: 'viewer' })]);
  assert.deepEqual(answers.map((a) => a.status).sort(), [200, 403].sort(), answers.map((a) => a.text).join('\n'));
  const boss = answers[0].status === 200 ? ada : eve;
  const roles = (await boss.get(`/api/workspaces/${ada.workspace}/members`)).json.items.map((m) => m.role).sort();
  assert.deepEqual(roles, ['owner', 'viewer']);

  // A manager of roles is demoted while they fill the workspace with roles: what comes after is refused, whatever had begun.
  const mia = await newMember(boss, 'admin');
  const tries = Array.from({ length: 20 }, (_, i) => mia.post(rolesOf(ada), { name: `race ${i}` }));
  const [demoted, ...made] = await Promise.all([boss.put(memberAt(ada, mia), { role: 'viewer' }), ...tries]);
  assert.equal(demoted.status, 200);
  assert.ok(made.every((a) => [201, 403].includes(a.status)), made.map((a) => a.status).join(' '));
  const log = (await sealedLog(catalyst)).map((x) => x.event);
  const fall = log.findIndex((e) => e.type === 'member.updated' && e.resource.id === mia.user.id);
  const last = log.findLastIndex((e) => e.type === 'role.created' && e.actor.id === mia.user.id);
  assert.ok(last < fall, 'no role of hers stands in the log behind her fall');
});
