// cluster_jobs.test.mjs - jobs of a node that dies or hangs go on at another, once to the end; they are shared, and cancelled from anywhere.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { NO_BINARY } from '../lib/catalyst.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { watchJobs } from '../lib/cluster_load.mjs';
import { scope } from '../lib/defer.mjs';
import { NO_POSTGRES } from '../lib/postgres.mjs';
import { until } from '../lib/wait.mjs';

const PROJECTS = 150;
const hasEnded = (job) => ['succeeded', 'failed', 'cancelled'].includes(job.state);

describe('jobs of several nodes', { skip: NO_BINARY || NO_POSTGRES }, () => {
  const suite = scope();
  let cluster, ada;
  before(async () => {
    // A page of one row makes exports slow enough to be interrupted.
    const config = { export: { page_rows: 1 }, node: { heartbeat_ms: '200ms', away_ms: '1500ms' }, jobs: { lease_ms: '30s', retry_ms: '50ms' } };
    cluster = await startCluster(suite, { config });
    ada = cluster.ada;
    for (let i = 0; i < PROJECTS; i += 25)
      await Promise.all(Array.from({ length: 25 }, (_, k) => ada.must(201, ada.post('/api/projects', { name: `project ${i + k}` }))));
  });
  after(() => suite.end());

  const begin = async (i, caller = ada) => {
    const at = cluster.at(i, caller);
    return (await at.must(202, at.post(`/api/workspaces/${at.workspace}/export`))).job;
  };
  const row = async (job) =>
    (await cluster.query(`SELECT j.state, j.done, j.tries, j.node_id, n.address FROM jobs j LEFT JOIN nodes n ON n.id = j.node_id WHERE j.id = '${job.id}'`))[0];
  const nodeOf = (address) => cluster.nodes.find((n) => address === `127.0.0.1:${n.port}`);
  /** The node that runs it, once it has come so far. */
  const runner = (job, done = 10) =>
    until('the export to be under way', async () => {
      const now = await row(job);
      assert.ok(!hasEnded(now), `it is ${now.state} already`);
      const { checkpoint } = (await cluster.query(`SELECT checkpoint FROM jobs WHERE id = '${job.id}'`))[0];
      return now.address && checkpoint && JSON.parse(checkpoint).rows >= done && nodeOf(now.address);
    });
  const ended = (job, i, options = {}) =>
    until(
      'the job to end',
      async () => {
        const at = cluster.at(i);
        const now = await at.must(200, at.get(`/api/jobs/${job.id}`));
        return hasEnded(now) && now;
      },
      { deadline_ms: 60_000, every_ms: 20, ...options },
    );
  const isWhole = async (job, i) => {
    const at = cluster.at(i);
    const lines = [];
    for (let part = 1; part <= job.result.parts; part++)
      lines.push(...(await at.get(`/api/workspaces/${at.workspace}/exports/${job.id}/${part}`)).text.split('\n').filter(Boolean));
    assert.equal(lines.length, job.result.rows);
    const records = lines.map((l) => JSON.parse(l));
    const ids = records.filter((r) => r.kind === 'project').map((r) => r.record.id);
    assert.ok(ids.length >= PROJECTS);
    assert.equal(new Set(ids).size, ids.length);
    const events = records.filter((r) => r.kind === 'event').map((r) => r.record.id);
    assert.equal(new Set(events).size, events.length);
  };

  for (const how of ['is killed', 'hangs'])
    test(`an export goes on at the other node when its own ${how}, and is whole at both`, { timeout: 120_000 }, async () => {
      const job = await begin(0);
      const node = await runner(job);
      const other = 1 - node.index;
      if (how === 'hangs') node.freeze();
      else await node.kill();
      await until('the other to take it', async () => (await row(job)).tries === 2, { deadline_ms: 10_000 });
      const done = await ended(job, other);
      assert.equal(done.state, 'succeeded', done.error);
      assert.equal(done.tries, 2);
      if (how === 'hangs') node.thaw();
      else await node.again();
      await until('the node to serve', async () => (await fetch(`${node.origin}/readyz?for=api`)).status === 200);
      await isWhole(done, other);
      await isWhole(done, node.index);
      // What the node wrote after it woke changed nothing.
      const after = await row(job);
      assert.equal(after.state, 'succeeded');
      assert.equal(after.tries, 2);
    });

  test('a node that wakes before the other has ended stops its run', { timeout: 120_000 }, async () => {
    const job = await begin(0);
    const node = await runner(job);
    node.freeze();
    await until('the other to take it', async () => (await row(job)).tries === 2, { deadline_ms: 10_000 });
    node.thaw();
    const done = await ended(job, 1 - node.index);
    assert.equal(done.state, 'succeeded', done.error);
    assert.equal(done.tries, 2);
    await isWhole(done, node.index);
  });

  test('a job is cancelled at any node', async () => {
    // One of its rows takes a second, so that it is surely under way when the other node is asked.
    await cluster.sql(`
      CREATE SCHEMA once;
      CREATE FUNCTION once.save() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        IF (NEW.checkpoint::json->>'rows')::int = 5 THEN PERFORM pg_sleep(1); END IF;
        RETURN NEW;
      END $$;
      CREATE TRIGGER once_save BEFORE UPDATE OF checkpoint ON main.jobs FOR EACH ROW EXECUTE FUNCTION once.save();`);
    const job = await begin(0);
    const node = await runner(job, 3);
    const at = cluster.at(1 - node.index);
    await at.must(200, at.delete(`/api/jobs/${job.id}`));
    const done = await ended(job, node.index, { deadline_ms: 1000 });
    assert.equal(done.state, 'cancelled');
    await cluster.sql('DROP TRIGGER once_save ON main.jobs');
  });

  test('what one node is asked for is shared with the other', { timeout: 120_000 }, async () => {
    const at = cluster.at(0); // it may have been started again, elsewhere
    const made = async () => at.with({ workspace: (await at.must(201, at.post('/api/workspaces', { name: 'One more' }))).id });
    const callers = await Promise.all(Array.from({ length: 8 }, made));
    await watchJobs(cluster);
    const jobs = await Promise.all(callers.map((caller) => begin(0, caller)));
    const ids = jobs.map((job) => `'${job.id}'`);
    await until('all to end', async () => (await cluster.query(`SELECT state FROM jobs WHERE id IN (${ids})`)).every((r) => r.state === 'succeeded'), { deadline_ms: 60_000 });
    const [{ n }] = await cluster.query(`SELECT COUNT(DISTINCT boot_id)::int AS n FROM watch.jobs WHERE state = 'running' AND id IN (${ids})`);
    assert.equal(n, 2, 'both nodes worked');
  });
});
