// Who may do what: every endpoint of the program, as its own document lists them, is called by everybody whom the
// table (src/core/rbac.json) tells apart, with things of their workspace and of another one. The expected answers come
// from the table by a reader of its own; the things exist, so that every 403 and 404 is earned. What is refused
// changes nothing in the database and stands in the log.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { Caller, QUICK_PASSWORDS, newMember, owner } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst, startProvider } from '../lib/catalyst.mjs';
import { onEngines } from '../lib/postgres.mjs';
import { sealedLog } from '../lib/rebuild.mjs';
import { requests } from '../lib/resources.mjs';
import { difference, stateOf } from '../lib/state.mjs';
import { until } from '../lib/wait.mjs';

const table = JSON.parse(readFileSync(new URL('../../src/core/rbac.json', import.meta.url), 'utf8'));
const ROLES = table.roles;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

const row = (method, path) => {
  const found = table.endpoints.filter((e) => e.method === method && e.path === path);
  assert.equal(found.length, 1, `${method} ${path} has ${found.length} rows in the table`);
  return found[0];
};

/** [{method, path, name, row, params, inWorkspace}] of the running program's own document. */
async function endpointsOf(origin) {
  const document = (await new Caller(origin).get('/api/openapi.json')).json;
  return Object.entries(document.paths)
    .filter(([path]) => path.startsWith('/api/'))
    .flatMap(([curly, methods]) =>
      Object.entries(methods).map(([verb, operation]) => {
        const path = curly.replaceAll(/\{(\w+)\}/g, ':$1');
        const method = verb.toUpperCase();
        return {
          key: `${method} ${path}`,
          method,
          path,
          name: operation.operationId,
          row: row(method, path),
          params: [...path.matchAll(/:(\w+)/g)].map((m) => m[1]),
          ownsPath: path.startsWith('/api/workspaces/:id'),
          inWorkspace:
            path.startsWith('/api/workspaces/:id') ||
            (operation.parameters ?? []).some((p) => p.$ref === '#/components/parameters/Workspace'),
        };
      }),
    );
}

/** The status that the table wants, or 'allowed'. */
function verdict(endpoint, who, isForeign) {
  const { permission, keys, allow } = endpoint.row;
  const isMember = Boolean(who.role);
  if (permission === '(public)') return 'allowed';
  if (permission === '(set-up token)') return 404;
  if (who.isAnonymous) return table.denials.anonymous;
  if (endpoint.inWorkspace && (!isMember || isForeign)) return table.denials.not_a_member;
  if (who.isKey && !keys) return table.denials.member_without_permission;
  if (permission === '(instance admin)') return table.denials.member_without_permission;
  if (isForeign) return table.denials.not_a_member;
  if (permission === '(any signed-in user)') return 'allowed';
  const may = who.isKey ? who.scopes.has(permission) && allow[who.role] : allow[who.role];
  return may ? 'allowed' : table.denials.member_without_permission;
}

async function start(t, database) {
  const catalyst = await startCatalyst(t, {
    config: { loops: 2, identity: QUICK_PASSWORDS, api: { rate_per_minute: 0, rate_per_address_per_minute: 0 } },
    env: database ? { CATALYST_DATABASE__URL: database } : {},
  });
  catalyst.databaseUrl = database;
  return catalyst;
}

/** Two workspaces with things in them, and everybody who may ask. */
async function populate(catalyst) {
  const ada = await owner(catalyst);
  const a = { id: ada.workspace, owner: ada };
  const bea = await newMember(ada, 'viewer', { name: 'Bea' });
  const made = await bea.must(201, bea.post('/api/workspaces', { name: 'Second' }));
  const b = { id: made.id, owner: bea.with({ workspace: made.id }) };
  const nora = await newMember(b.owner, 'developer', { name: 'Nora' });
  const remy = await newMember(ada, 'admin', { name: 'Remy' });
  for (const [boss, person] of [[ada, bea], [b.owner, nora], [ada, remy]])
    await boss.must(204, boss.delete(`/api/workspaces/${boss.workspace}/members/${person.user.id}`));
  for (const world of [a, b])
    world.project = (await world.owner.must(201, world.owner.post('/api/projects', { name: 'Common' }))).id;

  const principals = [{ name: 'nobody', isAnonymous: true, caller: new Caller(catalyst.origin, { workspace: a.id }) }];
  for (const role of ROLES) {
    const caller = await newMember(ada, role);
    principals.push({ name: role, role, caller, email: caller.user.email });
  }
  const outside = (name, person) => ({ name, caller: person.with({ workspace: a.id }), email: person.user.email });
  principals.push(outside('owner of another workspace', bea), outside('member of none', nora), outside('removed member', remy));
  const keeper = await newMember(ada, 'owner', { name: 'Keeper' });
  const forKeys = table.permissions.filter((p) => p.keys).map((p) => p.name);
  for (const [name, scopes] of [['narrow key', ['workspace.read', 'projects.read', 'projects.update']], ['wide key', forKeys]]) {
    const { key } = await keeper.must(201, keeper.post('/api/keys', { name, scopes }));
    const caller = new Caller(catalyst.origin, { key, workspace: a.id });
    principals.push({ name, role: 'owner', isKey: true, scopes: new Set(scopes), caller: Object.assign(caller, { user: keeper.user }) });
  }
  return {
    worlds: { a, b },
    principals,
    bea,
    other: (world) => (world === a ? b : a),
    /** The same person in a session of its own. */
    again: async (who) => (who.email ? who.caller.with({ cookies: {} }).signIn(who.email) : who.caller),
  };
}

const fill = (endpoint, values) => endpoint.path.replaceAll(/:(\w+)/g, (_, name) => values[name]);

/** What one principal asks of one endpoint: the plain request and every way to name something foreign in it. */
async function casesOf(scene, endpoint, who) {
  const { a, b } = scene.worlds;
  const build = requests[endpoint.key];
  const own = await build({ world: a, who, scene });
  const base = { endpoint, who, caller: own.as ?? who.caller, body: own.body, isStream: own.isStream };
  const plain = verdict(endpoint, who, false);
  const cases = [
    {
      ...base,
      what: 'own',
      path: fill(endpoint, own.params ?? {}),
      status: own.expect !== undefined && plain === 'allowed' ? own.expect : plain,
      ok: own.ok ?? 200,
    },
  ];
  const swappable = endpoint.params.filter((name) => UUID.test(own.params[name]));
  const strange = swappable.length ? await build({ world: b, who, scene }) : null;
  const refused = verdict(endpoint, who, true);
  const foreign = (what, values, headers) =>
    refused !== 'allowed' && cases.push({ ...base, what, path: fill(endpoint, values), headers, status: own.isLate && plain === 403 && !headers ? 403 : refused });
  const isBea = who.caller.user?.id === scene.bea.user.id; /* to whom the other workspace is her own */
  for (const name of swappable)
    if (!(isBea && endpoint.ownsPath && swappable.length === 1))
      foreign(`${name} of another workspace`, { ...own.params, [name]: strange.params[name] });
  if (swappable.length > 1 && !isBea) foreign('all ids of another workspace', { ...own.params, ...strange.params });
  if (endpoint.inWorkspace && !endpoint.ownsPath && !who.isAnonymous) {
    if (!isBea || swappable.length) foreign('another workspace in the field', own.params ?? {}, { 'x-catalyst-workspace': b.id });
    if (!isBea && swappable.length) foreign('all of another workspace', strange.params, { 'x-catalyst-workspace': b.id });
    if (!isBea && endpoint.method === 'GET')
      cases.push({
        ...base,
        what: 'another workspace in the query',
        path: `${fill(endpoint, own.params ?? {})}?workspace=${b.id}`,
        headers: { 'x-catalyst-workspace': null },
        status: 404,
      });
  }
  if (plain === 'allowed')
    for (const { body, status } of own.strange ?? [])
      cases.push({ ...base, what: 'a foreign id in the body', path: fill(endpoint, own.params ?? {}), body, status, isRefused: true });
  return cases;
}

/** The status alone, of an answer that does not end. */
async function openStream(caller, path, headers) {
  const stop = new AbortController();
  const response = await fetch(caller.origin + path, { headers: caller.headers('GET', headers), signal: stop.signal });
  const text = response.status === 200 ? '' : await response.text();
  stop.abort();
  return { status: response.status, text };
}

const ask = (c) =>
  c.isStream ? openStream(c.caller, c.path, c.headers) : c.caller.call(c.endpoint.method, c.path, c.body, c.headers);

/** Nothing follows the log or works in the background any more. */
async function quiet(catalyst) {
  let last = JSON.stringify(await stateOf(catalyst));
  await until(
    'the database to be quiet',
    async () => {
      const now = JSON.stringify(await stateOf(catalyst));
      const isSame = now === last;
      last = now;
      return isSame;
    },
    { deadline_ms: 20_000, every_ms: 250 },
  );
}

async function matrix(t, database) {
  const catalyst = await start(t, database);
  const scene = Object.assign(await populate(catalyst), { provider: await startProvider(t) });
  const endpoints = await endpointsOf(catalyst.origin);
  const missing = endpoints.filter((e) => !requests[e.key]).map((e) => e.key);
  assert.deepEqual(missing, [], 'endpoints without a request in tests/lib/resources.mjs');

  const cases = [];
  for (const endpoint of endpoints) for (const who of scene.principals) cases.push(...(await casesOf(scene, endpoint, who)));
  const isRefusal = (c) => c.isRefused || [401, 403, 404].includes(c.status);
  const refusals = cases.filter(isRefusal);
  const wrong = [];
  const judge = (c, answer, expected) => {
    if (![expected].flat().includes(answer.status))
      wrong.push(`${c.endpoint.key}, ${c.who.name}, ${c.what}: wanted ${expected}, got ${answer.status} ${answer.text.slice(0, 300)}`);
  };

  await quiet(catalyst);
  const since = (await sealedLog(catalyst)).length;
  let before = await stateOf(catalyst);
  for (const endpoint of endpoints) {
    const waiting = refusals.filter((r) => r.endpoint === endpoint);
    const some = async () => {
      for (let c = waiting.shift(); c; c = waiting.shift()) judge(c, await ask(c), c.status);
    };
    await Promise.all(Array.from({ length: 6 }, some));
    const after = await stateOf(catalyst);
    const changed = difference(before, after);
    if (changed) wrong.push(`${endpoint.key}: what was refused has changed the database:\n${changed}`);
    before = after;
  }

  // Each 403 and 404 is an event. More than ten a minute by one caller of one route are counted in one, later.
  const log = (await sealedLog(catalyst)).slice(since).map((x) => x.event);
  const told = (actor, route) =>
    log
      .filter((e) => e.type === 'access.denied' && e.status === 'failure' && e.metadata.route === route && (e.actor.id ?? null) === actor)
      .reduce((sum, e) => sum + e.metadata.count, 0);
  const groups = Map.groupBy(
    refusals.filter((c) => [403, 404].includes(c.status)),
    (c) => `${(!(c.who.isKey && c.endpoint.row.permission.startsWith('(set-up')) && c.caller.user?.id) || ''} ${c.endpoint.name}`,
  );
  for (const [key, group] of groups) {
    const [actor, route] = key.split(' ');
    const n = told(actor || null, route);
    if (n < Math.min(group.length, 10)) wrong.push(`${route}: of ${group.length} refusals of ${group[0].who.name} the log tells ${n}`);
  }

  for (const c of cases) if (!isRefusal(c)) judge(c, await ask(c), c.status === 'allowed' ? c.ok : c.status);
  if (wrong.length) assert.fail(`${wrong.length} things are wrong in ${cases.length} cases:\n${wrong.slice(0, 40).join('\n')}`);
  t.diagnostic(`${endpoints.length} endpoints, ${cases.length} requests, ${refusals.length} of them refused`);
  assert.ok(refusals.length > 400);
}

onEngines('everybody may do what the table says', { skip: NO_BINARY }, (t, { database }) => matrix(t, database));

test('what one workspace holds shows nowhere in another', { skip: NO_BINARY }, async (t) => {
  const catalyst = await start(t);
  const scene = Object.assign(await populate(catalyst), { provider: await startProvider(t) });
  const { a, b } = scene.worlds;
  const marker = 'zq7marker';
  const bea = { name: 'owner of another workspace', role: 'owner', caller: b.owner, email: b.owner.user.email };
  const endpoints = await endpointsOf(catalyst.origin);

  // Every request that makes or changes something, with the marker in each text that it may hold.
  // A provider's name has no spaces.
  const marked = (body) => {
    const space = body.kind ? '-' : ' ';
    const texts = Object.entries(body).filter(([k]) => ['name', 'description'].includes(k));
    return { ...body, ...Object.fromEntries(texts.map(([k, v]) => [k, `${v}${space}${marker}`])) };
  };
  const ada = { name: 'owner', role: 'owner', caller: a.owner, email: a.owner.user.email };
  let n_marked = 0;
  for (const e of endpoints.filter((x) => x.inWorkspace && ['POST', 'PUT', 'PATCH'].includes(x.method))) {
    const { params = {}, body, ok = 200 } = await requests[e.key]({ world: a, who: ada, scene });
    if (!body || JSON.stringify(marked(body)) === JSON.stringify(body)) continue;
    const answer = await a.owner.call(e.method, fill(e, params), marked(body));
    assert.ok([ok].flat().includes(answer.status), `${e.key}: ${answer.status} ${answer.text}`);
    n_marked++;
  }
  await a.owner.must(200, a.owner.patch(`/api/workspaces/${a.id}`, { settings: { default_llm_provider: marker } }));
  await a.owner.must(201, a.owner.post(`/api/workspaces/${a.id}/invite`, { email: `${marker}@example.com`, role: 'viewer' }));
  assert.ok(n_marked >= 5, `${n_marked}`);

  let n_searched = 0;
  for (const e of endpoints.filter((x) => x.method === 'GET' && !x.row.permission.startsWith('(instance'))) {
    const request = await requests[e.key]({ world: b, who: bea, scene });
    if (request.isStream) continue;
    const path = fill(e, request.params ?? {});
    for (const [caller, where] of [[b.owner, path], [b.owner.with({ workspace: null }), path]]) {
      const answer = await caller.get(where);
      assert.ok(!answer.text.includes(marker), `${e.key} shows what is in another workspace: ${answer.text.slice(0, 500)}`);
      n_searched++;
    }
  }
  const seen = await a.owner.get('/api/projects');
  assert.ok(seen.text.includes(marker));
  t.diagnostic(`${n_marked} marked requests, ${n_searched} answers searched`);
});

test('the table is whole: one row an endpoint, roles that follow from permissions', () => {
  const names = new Map(table.permissions.map((p) => [p.name, p]));
  assert.equal(names.size, table.permissions.length);
  const keys = table.endpoints.map((e) => `${e.method} ${e.path}`);
  assert.equal(new Set(keys).size, keys.length);
  for (const e of table.endpoints) {
    const p = names.get(e.permission);
    if (!p) assert.match(e.permission, /^\(.*\)$/, `${e.method} ${e.path}`);
    for (const role of ROLES) if (p) assert.equal(e.allow[role], role in p.roles, `${e.method} ${e.path}, ${role}`);
    if (p && !p.keys) assert.equal(e.keys, false, `${e.method} ${e.path} takes keys`);
  }
});
