// API keys: what they may, for how long, for which projects; rotation with overlap, revocation, and what a key never does.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Caller, PASSWORD, QUICK_PASSWORDS, newMember, owner } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst } from '../lib/catalyst.mjs';

const skip = NO_BINARY;
const config = { identity: QUICK_PASSWORDS };
const codes = (answer) => answer.json.errors.map((e) => [e.field, e.code]).sort();

/** A caller with a fresh key. */
async function program(person, body) {
  const made = await person.must(201, person.post('/api/keys', { name: 'ci', ...body }));
  return Object.assign(new Caller(person.origin, { key: made.key }), { made });
}

test('a key does what its scopes and its user allow, no more', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const bob = await newMember(ada, 'developer');
  const ci = await program(bob, { scopes: ['projects.read', 'projects.create'] });
  assert.match(ci.key, /^cat_/);
  assert.equal(ci.made.prefix, ci.key.slice(0, 12));
  assert.deepEqual(ci.made.scopes, ['projects.create', 'projects.read']);
  const days = (Date.parse(ci.made.expires_at) - Date.parse(ci.made.created_at)) / 86_400_000;
  assert.equal(days, 90);
  assert.equal((await ci.post('/api/projects', { name: 'by key' })).status, 201);
  const { id } = (await ci.get('/api/projects')).json.items[0];
  const denied = await ci.patch(`/api/projects/${id}`, { name: 'x' });
  assert.deepEqual([denied.status, denied.code, denied.json.permission], [403, 'forbidden', 'projects.update']);
  await ada.must(200, ada.put(`/api/workspaces/${ada.workspace}/members/${bob.user.id}`, { role: 'viewer' }));
  assert.equal((await ci.post('/api/projects', { name: 'again' })).status, 403);
  assert.equal((await ci.get('/api/projects')).status, 200);
  const me = (await ci.get('/api/auth/me')).json;
  assert.deepEqual(me.workspaces[0].permissions, ['projects.read']);
  assert.deepEqual([me.csrf_token, me.authenticated_at], [null, null]);
});

test('scopes are permissions that keys can have and the caller holds', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const bob = await newMember(ada, 'developer');
  const make = (body) => bob.post('/api/keys', { name: 'k', ...body });
  assert.deepEqual(codes(await make({ scopes: ['projects.fly', 'apikeys.own', 'projects.read'] })), [
    ['scopes', 'not_one_of'],
    ['scopes', 'not_one_of'],
  ]);
  for (const scopes of [['*'], ['projects.*'], ['roles.manage'], ['sso.manage'], ['billing.manage'], ['members.update']])
    assert.equal((await make({ scopes })).status, 400, scopes[0]);
  assert.deepEqual(codes(await make({ scopes: [] })), [['scopes', 'required']]);
  assert.equal((await make({ scopes: ['projects.delete'] })).status, 403);
  for (const expires_in_days of [0, -1, 366, 1.5]) assert.equal((await make({ scopes: ['projects.read'], expires_in_days })).status, 400);
  assert.equal((await make({ scopes: ['projects.read'], user_id: ada.user.id })).status, 400);
  assert.equal((await make({ scopes: ['projects.read'], expires_in_days: 365 })).status, 201);
});

test('a key never makes keys, and signs in to nothing', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const everything = new Caller(catalyst.origin, { key: ada.made.api_key });
  for (const [method, path, body] of [
    ['POST', '/api/keys', { name: 'k', scopes: ['projects.read'] }],
    ['GET', '/api/keys'],
    ['POST', '/api/workspaces', { name: 'Mine' }],
    ['GET', '/api/auth/sessions'],
    ['POST', '/api/auth/logout'],
    ['POST', '/api/auth/reauthenticate', { password: PASSWORD }],
    ['POST', '/api/auth/password', { current_password: PASSWORD, new_password: 'granite walrus hums' }],
    ['GET', '/api/users'],
  ]) {
    const answer = await everything.call(method, path, body);
    assert.equal(answer.status, 403, `${method} ${path}: ${answer.text}`);
  }
});

test('what is no key is told so, and what was one is not', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const good = ada.made.api_key;
  const details = new Set();
  for (const key of [good.slice(0, -1), `${good}x`, good.replace('cat_', 'cvk_'), 'cat_', 'x', good.replace(/.$/, (c) => (c === 'a' ? 'b' : 'a'))]) {
    const answer = await new Caller(catalyst.origin, { key }).get('/api/auth/me');
    assert.deepEqual([answer.status, answer.code], [401, 'unauthenticated'], key);
    details.add(answer.json.detail);
  }
  assert.ok([...details].some((d) => d.includes('checksum')));
  const basic = await new Caller(catalyst.origin).get('/api/auth/me', { authorization: `Basic ${btoa(`ada:${PASSWORD}`)}` });
  assert.equal(basic.status, 401);
  /* a key and a cookie of another: the key decides, and needs no CSRF token */
  const both = new Caller(catalyst.origin, { key: good });
  both.cookies = { ...ada.cookies };
  assert.equal((await both.post('/api/projects', { name: 'p' }, { origin: null })).status, 201);
});

test('rotating gives a new secret beside the old one, for as long as was said', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const ci = await program(ada, { scopes: ['projects.read'] });
  const rotated = await ada.must(201, ada.post(`/api/keys/${ci.made.id}/rotate`, {}));
  const hours = (Date.parse(rotated.rotated_until) - Date.now()) / 3_600_000;
  assert.ok(hours > 23.9 && hours <= 24);
  const fresh = new Caller(catalyst.origin, { key: rotated.key });
  assert.equal((await fresh.get('/api/projects')).status, 200);
  assert.equal((await ci.get('/api/projects')).status, 200);
  const again = await ada.must(201, ada.post(`/api/keys/${ci.made.id}/rotate`, { overlap_hours: 0 }));
  assert.equal((await fresh.get('/api/projects')).status, 401);
  assert.equal((await ci.get('/api/projects')).status, 401);
  assert.equal((await new Caller(catalyst.origin, { key: again.key }).get('/api/projects')).status, 200);
  for (const overlap_hours of [-1, 169]) assert.equal((await ada.post(`/api/keys/${ci.made.id}/rotate`, { overlap_hours })).status, 400);
});

test('its user or who manages keys revokes a key; only its user rotates it', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const bob = await newMember(ada, 'developer');
  const eve = await newMember(ada, 'developer');
  const ci = await program(bob, { scopes: ['projects.read'] });
  const list = async (caller) => (await caller.get('/api/keys')).json.items.map((k) => [k.name, k.user_name, k.key]);
  assert.deepEqual(await list(bob), [['ci', bob.name, undefined]]);
  assert.deepEqual(await list(eve), []);
  assert.deepEqual(await list(ada), [['ci', bob.name, undefined], ['setup', 'Ada', undefined]]);
  assert.equal((await eve.delete(`/api/keys/${ci.made.id}`)).status, 403);
  assert.equal((await eve.post(`/api/keys/${ci.made.id}/rotate`, {})).status, 403);
  assert.equal((await ada.post(`/api/keys/${ci.made.id}/rotate`, {})).status, 403);
  assert.equal((await ci.get('/api/projects')).status, 200);
  assert.equal((await ada.delete(`/api/keys/${ci.made.id}`)).status, 204);
  assert.equal((await ci.get('/api/projects')).status, 401);
  assert.equal((await ada.delete(`/api/keys/${ci.made.id}`)).status, 404);
});

test('a key for some projects sees no other, and makes none', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const [a, b] = [
    await ada.must(201, ada.post('/api/projects', { name: 'a' })),
    await ada.must(201, ada.post('/api/projects', { name: 'b' })),
  ];
  const other = (await ada.post('/api/workspaces', { name: 'Second' })).json.id;
  const foreign = await ada.must(201, ada.post('/api/projects', { name: 'c' }, { 'x-catalyst-workspace': other }));
  const make = (project_ids) => ada.post('/api/keys', { name: 'k', scopes: ['projects.read', 'projects.update', 'projects.create'], project_ids });
  assert.equal((await make([a.id, foreign.id])).status, 404);
  assert.deepEqual(codes(await make(['x'.repeat(36)])), [['project_ids', 'bad_format']]);
  const made = await ada.must(201, make([a.id]));
  assert.deepEqual(made.project_ids, [a.id]);
  const ci = new Caller(catalyst.origin, { key: made.key });
  assert.deepEqual(
    (await ci.get('/api/projects')).json.items.map((p) => p.name),
    ['a'],
  );
  assert.equal((await ci.patch(`/api/projects/${a.id}`, { description: 'x' })).status, 200);
  assert.equal((await ci.get(`/api/projects/${b.id}`)).status, 404);
  assert.equal((await ci.post('/api/projects', { name: 'd' })).status, 403);
  assert.equal((await ci.get('/api/projects', { 'x-catalyst-workspace': other })).status, 404);
});

test('the last use of a key is kept to the minute, and is no event', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const ci = await program(ada, { scopes: ['projects.read'] });
  const one = async () => (await ada.get('/api/keys')).json.items.find((k) => k.id === ci.made.id);
  assert.deepEqual([(await one()).last_used_at, (await one()).last_used_address], [null, null]);
  await ci.get('/api/projects');
  const first = await one();
  assert.deepEqual([typeof first.last_used_at, first.last_used_address], ['string', '127.0.0.1']);
  await ci.get('/api/projects');
  assert.equal((await one()).last_used_at, first.last_used_at);
});

test('the catalogue tells what roles hold and what keys can have', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const { roles, permissions } = (await ada.get('/api/permissions')).json;
  assert.deepEqual(
    roles.map((r) => r.name),
    ['owner', 'admin', 'developer', 'reviewer', 'viewer'],
  );
  assert.equal(roles[0].permissions.length, permissions.length);
  assert.ok(permissions.every((p) => p.name && p.meaning));
  assert.equal(permissions.find((p) => p.name === 'apikeys.own').is_for_keys, false);
  assert.equal((await new Caller(catalyst.origin).get('/api/permissions')).status, 401);
});

test('wrong keys are held up by address, right ones are not', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const ci = await program(ada, { scopes: ['projects.read'] });
  await ada.must(204, ada.delete(`/api/keys/${ci.made.id}`));
  let last;
  for (let i = 0; i < 101; i++) last = await ci.get('/api/projects');
  assert.equal(last.status, 429, last.text);
  assert.ok(Number(last.headers.get('retry-after')) > 500);
  assert.equal((await ada.get('/api/projects')).status, 200);
  assert.equal((await new Caller(catalyst.origin, { key: ada.made.api_key }).get('/api/projects')).status, 200);
});
