// jobs.test.mjs - background work through the server: the export of a workspace, seen, cancelled, and taken up again after
// kill -9.

import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Caller, newMember, owner, QUICK_PASSWORDS } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst } from '../lib/catalyst.mjs';
import { onEngines } from '../lib/postgres.mjs';
import { query, sealedLog } from '../lib/rebuild.mjs';
import { EventStream, openStream } from '../lib/stream.mjs';
import { until } from '../lib/wait.mjs';

const skip = NO_BINARY;

async function start(t, { database, config = {} } = {}) {
  const catalyst = await startCatalyst(t, {
    config: { loops: 2, identity: QUICK_PASSWORDS, api: { rate_per_minute: 0, rate_per_address_per_minute: 0 }, ...config },
    env: database ? { CATALYST_DATABASE__URL: database } : {},
  });
  catalyst.databaseUrl = database;
  return catalyst;
}

const projects = async (caller, n) => {
  for (let i = 0; i < n; i += 20)
    await Promise.all(
      Array.from({ length: Math.min(20, n - i) }, (_, k) =>
        caller.must(201, caller.post('/api/projects', { name: `project ${i + k}`, description: 'x'.repeat(200) })),
      ),
    );
};

const startExport = async (caller) => (await caller.must(202, caller.post(`/api/workspaces/${caller.workspace}/export`))).job;
const job = (caller, id) => caller.must(200, caller.get(`/api/jobs/${id}`));
const ended = (caller, id) =>
  until(
    'the job to end',
    async () => {
      const now = await job(caller, id);
      return ['succeeded', 'failed', 'cancelled'].includes(now.state) && now;
    },
    { deadline_ms: 60_000, every_ms: 20 },
  );

/** All lines of a finished export. */
async function lines(caller, done) {
  const all = [];
  for (let part = 1; part <= done.result.parts; part++) {
    const answer = await caller.get(`/api/workspaces/${caller.workspace}/exports/${done.id}/${part}`);
    assert.equal(answer.status, 200);
    assert.match(answer.type, /^application\/x-ndjson/);
    all.push(...answer.text.split('\n').filter((l) => l !== '').map((l) => JSON.parse(l)));
  }
  return all;
}

onEngines('an export holds every record once, and the exact bytes of the log', { skip }, async (t, engine) => {
  const catalyst = await start(t, engine);
  const ada = await owner(catalyst);
  await newMember(ada, 'viewer', { name: 'Bob' });
  await projects(ada, 25);
  await ada.must(201, ada.post('/api/keys', { name: 'k', scopes: ['projects.read'], expires_in_days: 3 }));
  const log = await sealedLog(catalyst);
  const answer = await ada.post(`/api/workspaces/${ada.workspace}/export`);
  assert.equal(answer.status, 202);
  const { job: begun } = answer.json;
  assert.equal(answer.headers.get('location'), `/api/jobs/${begun.id}`);
  assert.equal(begun.kind, 'workspace.export');
  const done = await ended(ada, begun.id);
  assert.equal(done.state, 'succeeded', done.error);
  assert.equal(done.tries, 1);
  assert.equal(done.user_id, ada.user.id);
  const all = await lines(ada, done);
  assert.equal(all.length, done.result.rows);
  const of = (kind) => all.filter((l) => l.kind === kind).map((l) => l.record);
  assert.equal(new Set(of('project').map((p) => p.id)).size, 25);
  assert.equal(of('workspace').length, 1);
  assert.deepEqual(of('member').map((m) => m.name).sort(), ['Ada', 'Bob']);
  assert.ok(of('member').some((m) => m.email === 'bob@example.com'));
  assert.ok(of('api_key').some((k) => k.name === 'k' && k.scopes.includes('projects.read')));
  // What was in the log when the job began is in the export, as it was hashed.
  const text = JSON.stringify(of('event'));
  for (const { event } of log.filter((e) => e.event.workspace === ada.workspace)) assert.ok(text.includes(event.id));
  assert.ok(!JSON.stringify(all).includes(ada.made.api_key));
  const missing = await ada.get(`/api/workspaces/${ada.workspace}/exports/${done.id}/9`);
  assert.equal(missing.status, 404);
  assert.ok((await sealedLog(catalyst)).some((e) => e.event.type === 'workspace.export_started'));
});

test('an export is for those who may read the log, and a workspace has one at a time', { skip }, async (t) => {
  const catalyst = await start(t, { config: { export: { page_rows: 1 } } });
  const ada = await owner(catalyst);
  const developer = await newMember(ada, 'developer');
  const refused = await developer.post(`/api/workspaces/${ada.workspace}/export`);
  assert.equal(refused.status, 403);
  assert.equal(refused.json.permission, 'audit.export');
  await projects(ada, 100);
  const begun = await startExport(ada);
  assert.equal((await ada.post(`/api/workspaces/${ada.workspace}/export`)).status, 409);
  const done = await ended(ada, begun.id);
  assert.equal(done.state, 'succeeded');
  assert.equal((await developer.get(`/api/workspaces/${ada.workspace}/exports/${done.id}/1`)).status, 403);
  const second = ada.with({ workspace: (await ada.must(201, ada.post('/api/workspaces', { name: 'Second' }))).id });
  assert.equal((await second.get(`/api/workspaces/${second.workspace}/exports/${done.id}/1`)).status, 404);
  await startExport(ada);
});

test('jobs are seen by who started them and by auditors, and do not exist for others', { skip }, async (t) => {
  const catalyst = await start(t);
  const ada = await owner(catalyst);
  const admin = await newMember(ada, 'admin');
  const viewer = await newMember(ada, 'viewer');
  const begun = await startExport(admin);
  await ended(admin, begun.id);
  const ids = async (caller, path = '/api/jobs') => (await caller.must(200, caller.get(path))).items.map((j) => j.id);
  assert.deepEqual(await ids(admin), [begun.id]);
  assert.deepEqual(await ids(ada), [begun.id]);
  assert.deepEqual(await ids(ada, '/api/jobs?mine=true'), []);
  assert.deepEqual(await ids(ada, '/api/jobs?state=failed'), []);
  assert.deepEqual(await ids(ada, '/api/jobs?kind=workspace.export&state=succeeded'), [begun.id]);
  assert.deepEqual(await ids(viewer), []);
  assert.equal((await viewer.get(`/api/jobs/${begun.id}`)).status, 404);
  assert.equal((await viewer.delete(`/api/jobs/${begun.id}`)).status, 404);
  const second = ada.with({ workspace: (await ada.must(201, ada.post('/api/workspaces', { name: 'Second' }))).id });
  assert.equal((await second.get(`/api/jobs/${begun.id}`)).status, 404);
  assert.equal((await second.delete(`/api/jobs/${begun.id}`)).status, 404);
  assert.deepEqual(await ids(second), []);
  assert.equal((await new Caller(catalyst.origin).get(`/api/jobs/${begun.id}`)).status, 401);
  const over = await admin.delete(`/api/jobs/${begun.id}`);
  assert.equal(over.status, 409);
});

test('a running job is cancelled, and the stream tells how it goes', { skip, timeout: 180_000 }, async (t) => {
  const catalyst = await start(t, { config: { export: { page_rows: 1 } } });
  const ada = await owner(catalyst);
  const viewer = await newMember(ada, 'viewer');
  await projects(ada, 300);
  const [stream, other] = [await openStream(t, ada), await openStream(t, viewer)];
  const begun = await startExport(ada);
  await stream.frame('progress', (f) => f.event === 'job.progress' && f.data.id === begun.id && f.data.progress.done > 5, {
    deadline_ms: 30_000,
  });
  const asked = await ada.delete(`/api/jobs/${begun.id}`);
  assert.equal(asked.status, 200);
  const done = await ended(ada, begun.id);
  assert.equal(done.state, 'cancelled');
  assert.ok(done.progress.done < 300);
  await stream.frame('the end', (f) => f.event === 'job.progress' && f.data.state === 'cancelled');
  assert.ok(!other.frames.some((f) => f.event === 'job.progress'), 'it is not the viewer\'s job');
  assert.ok((await sealedLog(catalyst)).some((e) => e.event.type === 'job.cancelled' && e.event.resource.id === begun.id));
});

onEngines('after kill -9 a job goes on from its checkpoint and loses and repeats nothing', { skip, timeout: 180_000 }, async (t, engine) => {
  const catalyst = await start(t, { ...engine, config: { export: { page_rows: 1 } } });
  const ada = await owner(catalyst);
  await projects(ada, 400);
  const stream = await openStream(t, ada);
  const begun = await startExport(ada);
  let kills = 0;
  let caller = ada;
  let reached = 0;
  let watch = stream;
  for (let goal = 30; kills < 10; goal += 45) {
    const isFar = (f) => f.event === 'job.progress' && f.data.id === begun.id && f.data.progress.done >= goal;
    const hasEnded = async () => ['succeeded', 'failed'].includes((await job(caller, begun.id)).state);
    await until('more progress, or the end', async () => watch.frames.some(isFar) || hasEnded(), {
      deadline_ms: 60_000,
      every_ms: 20,
    });
    if (await hasEnded()) break; // a quick machine may be done before the stream is open again
    await catalyst.kill();
    kills++;
    const stored = JSON.parse((await query(catalyst, 'SELECT checkpoint FROM jobs'))[0].checkpoint);
    assert.ok(stored.rows >= reached, 'the checkpoint never goes back');
    reached = stored.rows;
    await catalyst.start().ready();
    caller = ada.with({ origin: catalyst.origin });
    watch = new EventStream(caller);
    t.after(() => watch.cut());
    await watch.ready();
  }
  assert.ok(kills >= 2, `only ${kills} kills`);
  const done = await ended(caller, begun.id);
  assert.equal(done.state, 'succeeded', done.error);
  assert.equal(done.id, begun.id);
  assert.ok(done.tries > 1);
  const all = await lines(caller, done);
  assert.equal(all.length, done.result.rows);
  const ids = all.filter((l) => l.kind === 'project').map((l) => l.record.id);
  assert.equal(ids.length, 400);
  assert.equal(new Set(ids).size, 400);
  const numbers = all.filter((l) => l.kind === 'event').map((l) => l.record.id);
  assert.equal(new Set(numbers).size, numbers.length);
  const folder = path.join(catalyst.dataDir, 'exports');
  // With PostgreSQL its parts are rows, so that every node has them.
  if (engine.database) assert.ok(!existsSync(folder));
  else assert.deepEqual(readdirSync(folder), [begun.id]);
});
