// events.test.mjs - the log and its stream: nothing is missed, nothing is shown to those who may not see it, and the log
// alone tells what everything is.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Caller, newMember, owner, QUICK_PASSWORDS } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst } from '../lib/catalyst.mjs';
import { onEngines } from '../lib/postgres.mjs';
import { mustAgree, query, rebuild, sealedLog } from '../lib/rebuild.mjs';
import { EventStream, openStream } from '../lib/stream.mjs';
import { until } from '../lib/wait.mjs';

const skip = NO_BINARY;

async function start(t, { live = {}, database, ...rest } = {}) {
  const config = { loops: 2, identity: QUICK_PASSWORDS, live, api: { rate_per_minute: 0, rate_per_address_per_minute: 0 } };
  const env = database ? { CATALYST_DATABASE__URL: database } : {};
  const catalyst = await startCatalyst(t, { config, env, ...rest });
  catalyst.databaseUrl = database;
  return catalyst;
}

const project = (caller, name) => caller.must(201, caller.post('/api/projects', { name }));

test('the stream is for members with the right permission', { skip }, async (t) => {
  const catalyst = await start(t);
  const ada = await owner(catalyst);
  const stranger = new Caller(catalyst.origin, { workspace: ada.workspace });
  assert.equal((await stranger.get('/api/events')).status, 401);
  const elsewhere = await ada.must(201, ada.post('/api/workspaces', { name: 'Second' }));
  const member = await newMember(ada, 'viewer');
  assert.equal((await member.with({ workspace: elsewhere.id }).get('/api/events')).status, 404);
  const stream = await openStream(t, member);
  assert.match(stream.headers['content-type'], /^text\/event-stream/);
  assert.match(stream.headers['cache-control'], /no-store/);
  assert.equal((await ada.get('/api/events', { 'last-event-id': 'x' })).status, 400);
  // The workspace may stand in the query, for clients that cannot send fields.
  const byQuery = new EventStream(member.with({ workspace: null }), { path: `/api/events?workspace=${ada.workspace}` });
  t.after(() => byQuery.cut());
  await byQuery.ready();
});

test('an event arrives with who did what to what, and nothing personal', { skip }, async (t) => {
  const catalyst = await start(t);
  const ada = await owner(catalyst);
  const stream = await openStream(t, ada);
  const made = await project(ada, 'Turnips');
  const { id, data } = await stream.frame('project.created', (f) => f.event === 'project.created');
  assert.equal(id, data.number);
  assert.equal(data.type, 'project.created');
  assert.deepEqual(data.resource, { type: 'project', id: made.id });
  assert.deepEqual(data.actor, { kind: 'user', id: ada.user.id });
  assert.equal(data.status, 'success');
  assert.ok(Math.abs(Date.parse(data.at) - Date.now()) < 60_000);
  assert.ok(!JSON.stringify(data).includes('Turnips'));
});

test('other workspaces are not heard, and what is for auditors only by them', { skip }, async (t) => {
  const catalyst = await start(t);
  const ada = await owner(catalyst);
  const viewer = await newMember(ada, 'viewer');
  const second = ada.with({ workspace: (await ada.must(201, ada.post('/api/workspaces', { name: 'Second' }))).id });
  const [own, others, low] = [await openStream(t, ada), await openStream(t, second), await openStream(t, viewer)];
  await project(second, 'hidden');
  await ada.must(201, ada.post('/api/keys', { name: 'k', scopes: ['projects.read'], expires_in_days: 1 }));
  await project(ada, 'seen');
  await others.frame('its own project', (f) => f.event === 'project.created');
  await own.frame('the new project', (f) => f.event === 'project.created');
  await low.frame('the new project', (f) => f.event === 'project.created');
  assert.ok(own.log.some((f) => f.event === 'api_key.created'));
  assert.ok(!low.log.some((f) => f.event.startsWith('api_key.')));
  assert.ok(!others.log.some((f) => f.event === 'api_key.created'));
  assert.equal(own.log.filter((f) => f.event === 'project.created').length, 1);
});

onEngines('a client that is cut off again and again misses nothing and sees nothing twice', { skip, timeout: 120_000 }, async (t, engine) => {
  const catalyst = await start(t, engine);
  const ada = await owner(catalyst);
  const WRITERS = 6;
  const EACH = 40;
  let isDone = false;
  const writing = Promise.all(
    Array.from({ length: WRITERS }, async (_, w) => {
      for (let i = 0; i < EACH; i++) await project(ada, `project ${w} ${i}`);
    }),
  ).finally(() => (isDone = true));
  const heard = [];
  let lastId = 0;
  let cuts = 0;
  for (let isOver = false; !isOver; cuts++) {
    const stream = new EventStream(ada, { lastId });
    await stream.ready();
    const wasDone = isDone;
    const wanted = 1 + Math.floor(Math.random() * 25);
    if (wasDone) {
      const log = await sealedLog(catalyst);
      const last = log.findLast((e) => e.event.workspace === ada.workspace).number;
      await until('the last event', () => (stream.lastId ?? 0) >= last, { deadline_ms: 20_000 });
      isOver = true;
    } else await until('some events', () => isDone || stream.log.length >= wanted, { deadline_ms: 20_000 });
    stream.cut();
    heard.push(...stream.log);
    lastId = stream.lastId;
  }
  await writing;
  assert.ok(cuts >= 5, `cut off ${cuts} times`);
  const log = await sealedLog(catalyst);
  const numbers = log.filter((e) => e.event.workspace === ada.workspace).map((e) => e.number);
  assert.deepEqual(
    heard.map((f) => f.id),
    numbers,
  );
  assert.equal(heard.filter((f) => f.event === 'project.created').length, WRITERS * EACH);
});

test('a client that reads slowly gets every event of the log in the end', { skip, timeout: 120_000 }, async (t) => {
  const catalyst = await start(t);
  const ada = await owner(catalyst);
  const stream = await openStream(t, ada, { lastId: 0 });
  stream.response.pause();
  const N = 1500; // more than the ring of a loop holds
  for (let i = 0; i < N; i += 30)
    await Promise.all(Array.from({ length: 30 }, (_, k) => project(ada, `p ${i + k}`)));
  stream.response.resume();
  await until('all projects', () => stream.log.filter((f) => f.event === 'project.created').length === N, { deadline_ms: 30_000 });
  const ids = stream.log.map((f) => f.id);
  assert.deepEqual(ids, [...new Set(ids)].sort((a, b) => a - b));
});

test('an idle stream is kept open by comments', { skip }, async (t) => {
  const catalyst = await start(t, { live: { heartbeat_ms: '50ms' } });
  const ada = await owner(catalyst);
  const stream = await openStream(t, ada);
  await until('three comments', () => stream.comments >= 3);
  assert.equal(stream.isEnded, false);
});

test('a stream ends with its session, key or membership', { skip }, async (t) => {
  const catalyst = await start(t, { live: { recheck_ms: '100ms' } });
  const ada = await owner(catalyst);
  const member = await newMember(ada, 'developer');
  const bySession = await openStream(t, member);
  await member.must(204, member.post('/api/auth/logout'));
  await bySession.ended();

  const other = await newMember(ada, 'developer');
  const byMembership = await openStream(t, other);
  assert.ok([200, 204].includes((await ada.delete(`/api/workspaces/${ada.workspace}/members/${other.user.id}`)).status));
  await byMembership.ended();

  const key = await ada.must(201, ada.post('/api/keys', { name: 'k', scopes: ['chat.read'], expires_in_days: 1 }));
  const byKey = await openStream(t, new Caller(catalyst.origin, { key: key.key }));
  assert.equal(byKey.isEnded, false);
  assert.ok([200, 204].includes((await ada.delete(`/api/keys/${key.id}`)).status));
  await byKey.ended();
});

test('one person can open only so many streams', { skip }, async (t) => {
  const catalyst = await start(t, { live: { connections_per_user: 2 } });
  const ada = await owner(catalyst);
  const first = await openStream(t, ada);
  await openStream(t, ada);
  const third = new EventStream(ada);
  await third.answered;
  assert.equal(third.status, 429);
  third.cut();
  first.cut();
  await until('room again', async () => {
    const next = new EventStream(ada);
    await next.answered;
    next.cut();
    return next.status === 200;
  });
});

test('a stop ends streams at once, and they go on at the next start', { skip }, async (t) => {
  const catalyst = await start(t);
  const ada = await owner(catalyst);
  const stream = await openStream(t, ada);
  await project(ada, 'before');
  await stream.frame('the project', (f) => f.event === 'project.created');
  const began = performance.now();
  await catalyst.stop();
  assert.ok(performance.now() - began < 4000, 'well before the stop deadline');
  await stream.ended();
  assert.ok(stream.isWhole, 'the answer has its last chunk');
  await catalyst.start().ready();
  const again = ada.with({ origin: catalyst.origin });
  await project(again, 'after');
  const next = await openStream(t, again, { lastId: stream.lastId });
  await next.frame('the second project', (f) => f.event === 'project.created');
  assert.equal(next.log.filter((f) => f.event === 'project.created').length, 1);
});

onEngines('the log alone tells what everything is', { skip, timeout: 120_000 }, async (t, engine) => {
  const catalyst = await start(t, engine);
  const ada = await owner(catalyst);
  const grace = await newMember(ada, 'developer', { name: 'Grace' });
  const leaving = await newMember(ada, 'viewer', { name: 'Leaving' });
  const made = [];
  for (let i = 0; i < 6; i++) made.push(await project(ada, `project ${i}`));
  await ada.must(200, ada.patch(`/api/projects/${made[0].id}`, { description: 'dug', settings: { a: [1, { b: true }] } }));
  await ada.must(200, ada.patch(`/api/projects/${made[0].id}`, { description: '', repository: 'https://example.com/r.git' }));
  await ada.must(200, ada.patch(`/api/projects/${made[0].id}`, { repository: null }));
  await grace.must(200, grace.patch(`/api/projects/${made[1].id}`, { name: 'renamed' }));
  assert.ok([200, 204].includes((await ada.delete(`/api/projects/${made[2].id}`)).status));
  await ada.must(200, ada.put(`/api/workspaces/${ada.workspace}/members/${grace.user.id}`, { role: 'reviewer' }));
  assert.ok([200, 204].includes((await ada.delete(`/api/workspaces/${ada.workspace}/members/${leaving.user.id}`)).status));
  await ada.must(200, ada.patch(`/api/workspaces/${ada.workspace}`, { name: 'Renamed' }));
  const key = await ada.must(201, ada.post('/api/keys', { name: 'k', scopes: ['projects.read'], expires_in_days: 3 }));
  const gone = await ada.must(201, ada.post('/api/keys', { name: 'gone', scopes: ['projects.read'], expires_in_days: 3 }));
  assert.ok([200, 204].includes((await ada.delete(`/api/keys/${gone.id}`)).status));
  await ada.must(201, ada.post(`/api/workspaces/${ada.workspace}/invite`, { email: 'carol@example.com', role: 'viewer' }));

  const state = rebuild(await sealedLog(catalyst));
  const all = async (path) => (await ada.must(200, ada.get(path))).items;
  const projects = await all('/api/projects?limit=200');
  assert.equal(projects.length, 5);
  assert.equal(Object.keys(state.project).length, 5);
  for (const one of projects) mustAgree(one, state.project[one.id], ['version', 'updated_at']);
  const members = await all(`/api/workspaces/${ada.workspace}/members`);
  const known = Object.entries(state.member).filter(([id]) => id.startsWith(ada.workspace));
  assert.equal(known.length, members.length);
  for (const one of members)
    mustAgree(one, state.member[`${ada.workspace}/${one.user_id}`], ['email', 'name', 'last_active_at']);
  const keys = await all('/api/keys');
  assert.equal(Object.keys(state.api_key).length, keys.length);
  assert.ok(keys.some((one) => one.id === key.id));
  for (const one of keys)
    mustAgree(one, state.api_key[one.id], ['last_used_at', 'last_used_address', 'user_name', 'rotated_until']);
  const invitations = await all(`/api/workspaces/${ada.workspace}/invitations`);
  assert.equal(Object.keys(state.invitation).length, invitations.length);
  const workspace = await ada.must(200, ada.get(`/api/workspaces/${ada.workspace}`));
  const ofOthers = ['owner_id', 'members', 'projects', 'billing', 'deletes_at'];
  mustAgree(workspace, state.workspace[ada.workspace], ['role', 'updated_at', 'version', 'permissions', ...ofOthers]);

  // Nothing personal and no secret stands in the bytes.
  const bytes = (await sealedLog(catalyst)).map((e) => e.bytes.toString('utf8')).join('\n');
  for (const secret of ['ada@example.com', 'carol@example.com', 'Grace', '127.0.0.1', key.key, ada.made.api_key])
    assert.ok(!bytes.includes(secret), `${secret} stands in the log`);
});

onEngines('after kill -9 every acknowledged change is there with its event, and no event without its change', { skip, timeout: 180_000 }, async (t, engine) => {
  const catalyst = await start(t, engine);
  const ada = await owner(catalyst);
  const acknowledged = new Set();
  const heard = [];
  let lastId = 0;
  let n = 0;
  for (let kills = 0; kills < 10; kills++) {
    const caller = ada.with({ origin: catalyst.origin });
    const stream = new EventStream(caller, { lastId });
    t.after(() => stream.cut());
    await stream.ready();
    const until_n = acknowledged.size + 5 + Math.floor(Math.random() * 40);
    let isOver = false;
    const writers = Array.from({ length: 8 }, async () => {
      while (!isOver) {
        try {
          const answer = await caller.post('/api/projects', { name: `project ${++n}` });
          if (answer.status === 201) acknowledged.add(answer.json.id);
        } catch {
          return; // killed in the middle of it
        }
      }
    });
    await until('some changes', () => acknowledged.size >= until_n, { deadline_ms: 30_000 });
    await catalyst.kill();
    isOver = true;
    await Promise.all(writers);
    stream.cut();
    heard.push(...stream.log);
    lastId = stream.lastId;
    await catalyst.start().ready();
  }
  const caller = ada.with({ origin: catalyst.origin });
  const log = await sealedLog(catalyst);
  const made = log.filter((e) => e.event.type === 'project.created').map((e) => e.event.resource.id);
  const there = (await query(catalyst, `SELECT ${catalyst.databaseUrl ? "replace(id::text, '-', '')" : 'lower(hex(id))'} AS id FROM projects`)).map((p) => p.id);
  assert.deepEqual(made.map((id) => id.replaceAll('-', '')).sort(), there.sort());
  for (const id of acknowledged) assert.ok(made.includes(id), `${id} was acknowledged`);
  const last = new EventStream(caller, { lastId });
  t.after(() => last.cut());
  await last.ready();
  const numbers = log.filter((e) => e.event.workspace === ada.workspace).map((e) => e.number);
  await until('the rest', () => (last.lastId ?? 0) >= numbers.at(-1));
  heard.push(...last.log);
  assert.deepEqual(heard.map((f) => f.id), numbers);
  rebuild(log);
});
