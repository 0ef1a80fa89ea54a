// Projects: records with a repository and settings, unique by name, listed by page and filter, each change in the log.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Caller, QUICK_PASSWORDS, newMember, owner } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst } from '../lib/catalyst.mjs';

const skip = NO_BINARY;
const config = { identity: QUICK_PASSWORDS };
const codes = (answer) => answer.json.errors.map((e) => [e.field, e.code]).sort();

test('a project is made, read, replaced, changed and deleted', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const made = await ada.post('/api/projects', { name: 'Engine', repository: 'https://git.example.com/engine.git' });
  assert.equal(made.status, 201, made.text);
  const at = made.headers.get('location');
  assert.equal(at, `/api/projects/${made.json.id}`);
  const { id, created_at, updated_at, ...rest } = made.json;
  assert.deepEqual(rest, {
    name: 'Engine',
    description: '',
    repository: 'https://git.example.com/engine.git',
    settings: {},
    created_by: ada.user.id,
    version: 1,
  });
  assert.equal(created_at, updated_at);
  const read = await ada.get(at);
  assert.deepEqual([read.json, read.headers.get('etag')], [made.json, '"1"']);

  const changed = await ada.patch(at, { settings: { a: { b: 1 } }, description: 'Analytical' }, { 'if-match': '"1"' });
  assert.deepEqual([changed.status, changed.json.version, changed.headers.get('etag')], [200, 2, '"2"']);
  const merged = await ada.patch(at, { settings: { a: { c: 2 } }, repository: null });
  assert.deepEqual([merged.json.settings, merged.json.repository], [{ a: { b: 1, c: 2 } }, null]);
  const stale = await ada.put(at, { name: 'Other' }, { 'if-match': '"1"' });
  assert.deepEqual([stale.status, stale.code], [412, 'precondition_failed']);
  const replaced = await ada.put(at, { name: 'Other' });
  assert.deepEqual([replaced.json.name, replaced.json.description, replaced.json.settings], ['Other', '', {}]);
  const nothing = await ada.put(at, { name: 'Other' });
  assert.equal(nothing.json.version, replaced.json.version);

  assert.equal((await ada.delete(at, { 'if-match': '"1"' })).status, 412);
  assert.equal((await ada.delete(at)).status, 204);
  assert.equal((await ada.get(at)).status, 404);
  assert.equal((await ada.delete(at)).status, 404);
});

test('what is wrong with a project is told at once', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const bad = await ada.post('/api/projects', { name: '', repository: 'git.example.com', settings: 1, created_by: ada.user.id, slug: 'x' });
  assert.deepEqual(codes(bad), [
    ['created_by', 'read_only'],
    ['name', 'too_short'],
    ['settings', 'wrong_type'],
    ['slug', 'unknown_field'],
  ]);
  for (const repository of ['git.example.com/x', 'ftp://x/y', 'https://', 'https://user:secret@host/x', 'https://host/a b', '-oProxyCommand=x@y:z', 'x@-y:z'])
    assert.deepEqual(codes(await ada.post('/api/projects', { name: 'x', repository })), [['repository', 'bad_format']], repository);
  for (const [i, repository] of ['https://host/x', 'http://host:8080/x', 'ssh://git@host:22/x', 'git@host:x/y.git', '/srv/git/x'].entries())
    assert.equal((await ada.post('/api/projects', { name: `fine ${i}`, repository })).status, 201, repository);
});

test('a name is taken once in a workspace, whatever its case, and free in another', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const first = await ada.must(201, ada.post('/api/projects', { name: 'Engine' }));
  const second = await ada.must(201, ada.post('/api/projects', { name: 'Mill' }));
  const taken = await ada.post('/api/projects', { name: 'ENGINE' });
  assert.deepEqual([taken.status, taken.code], [409, 'conflict']);
  assert.match(taken.json.detail, /'ENGINE'/);
  assert.equal((await ada.patch(`/api/projects/${second.id}`, { name: 'engine' })).status, 409);
  assert.equal((await ada.patch(`/api/projects/${first.id}`, { name: 'ENGINE' })).status, 200);
  const other = (await ada.post('/api/workspaces', { name: 'Second' })).json.id;
  assert.equal((await ada.post('/api/projects', { name: 'Engine' }, { 'x-catalyst-workspace': other })).status, 201);
});

test('a list goes by name, page by page, and by a part of the name', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const names = ['beta', 'Alpha', 'gamma', 'alphabet', 'delta', 'epsilon', 'zeta'];
  for (const name of names) await ada.must(201, ada.post('/api/projects', { name }));
  const seen = [];
  let path = '/api/projects?limit=2';
  for (;;) {
    const { items, next_cursor } = (await ada.get(path)).json;
    assert.ok(items.length <= 2);
    seen.push(...items.map((p) => p.name));
    if (!next_cursor) break;
    path = `/api/projects?limit=2&cursor=${encodeURIComponent(next_cursor)}`;
  }
  assert.deepEqual(seen, [...names].sort());
  assert.deepEqual(
    (await ada.get('/api/projects?name=ALPHA')).json.items.map((p) => p.name),
    ['Alpha', 'alphabet'],
  );
  for (const query of ['limit=0', 'limit=201', 'limit=x', 'cursor=%00', 'nmae=x', 'cursor=nonsense'])
    assert.equal((await ada.get(`/api/projects?${query}`)).status, 400, query);
  const csv = await ada.get('/api/projects?name=zeta', { accept: 'text/csv' });
  assert.match(csv.type, /^text\/csv/);
  assert.match(csv.text, /^id,name,/);
});

test('an Idempotency-Key makes one project of two requests', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const send = (body) => ada.post('/api/projects', body, { 'idempotency-key': 'a-1' });
  const [first, second] = [await send({ name: 'once' }), await send({ name: 'once' })];
  assert.deepEqual([first.status, second.status, second.json.id], [201, 201, first.json.id]);
  assert.equal((await ada.get('/api/projects')).json.items.length, 1);
});

test('roles do what the table says', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const expected = { admin: [201, 200, 204], developer: [201, 200, 403], reviewer: [403, 403, 403], viewer: [403, 403, 403] };
  for (const [role, statuses] of Object.entries(expected)) {
    const person = await newMember(ada, role);
    const { id } = await ada.must(201, ada.post('/api/projects', { name: `of ${role}` }));
    const got = [
      await person.post('/api/projects', { name: `by ${role}` }),
      await person.patch(`/api/projects/${id}`, { description: role }),
      await person.delete(`/api/projects/${id}`),
    ].map((a) => a.status);
    assert.deepEqual(got, statuses, role);
    assert.equal((await person.get('/api/projects')).status, 200);
  }
  assert.equal((await new Caller(catalyst.origin).get('/api/projects')).status, 401);
});
