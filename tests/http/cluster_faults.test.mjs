// cluster_faults.test.mjs - two nodes on one PostgreSQL while conflicts, crashes and silence befall them: what clients were told
// holds, once; what they were refused never happened; and the node that is well goes on.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NO_BINARY } from '../lib/catalyst.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { Calls, Changes, assertRanOnce, ended, jobRow, losesPostgres, nodesDie, spread, startExport, watchJobs } from '../lib/cluster_load.mjs';
import { NO_NAMESPACES } from '../lib/namespace.mjs';
import { NO_POSTGRES } from '../lib/postgres.mjs';
import { until } from '../lib/wait.mjs';

const skip = NO_BINARY || NO_POSTGRES;
const how = NO_NAMESPACES ? 'freeze' : 'pull';

// Two at a time: the one that waits for 30 seconds costs next to nothing meanwhile.
describe('two nodes', { skip, concurrency: 2 }, () => {
  test('a node that hangs for 30 seconds holds nobody up, and does nothing twice when it wakes', { timeout: 180_000 }, async (t) => {
    const cluster = await startCluster(t, {
      config: { export: { page_rows: 25 }, jobs: { lease_ms: '3s' }, api: { rate_per_minute: 0, rate_per_address_per_minute: 0 } },
    });
    await watchJobs(cluster);
    await cluster.slowJobs(0.1);
    const changes = new Changes(t, cluster, { workers: 4, rate: 60 });
    const calls = new Calls(t, cluster, cluster.key, { workers: 2, pause_ms: 50 });
    await changes.more(150);
    changes.rate = 10;
    calls.pause_ms = 250;
    // Freeze the node that runs the job.
    const job = await startExport(cluster, 0);
    const running = await until('the job to be under way', async () => {
      const row = await jobRow(cluster, job);
      assert.notEqual(row.state, 'succeeded', 'it was too quick to be stopped');
      return row.state === 'running' && row.done > 20 && row;
    }, { every_ms: 1 });
    const ids = await cluster.query(`SELECT id, name, address FROM nodes`);
    const frozen = cluster.nodes.find((n) => ids.some((r) => r.id === running.node_id && r.address === n.address));
    assert.ok(frozen, JSON.stringify({ running, ids }));
    const well = 1 - frozen.index;
    frozen.freeze();
    const since = performance.now();
    await cluster.slowJobs(0);
    changes.nodes = calls.nodes = [well];
    const done = await ended(cluster, job, 29_000);
    const tookOver = performance.now() - since;
    assert.equal(done.state, 'succeeded', done.error);
    await until('30 seconds to pass', () => performance.now() - since > 30_000, { deadline_ms: 40_000, every_ms: 100 });
    const until_ = performance.now();
    const during = (list) => spread(list.filter((a) => a.node === well && a.at > since && a.at < until_).map((a) => a.took_ms));
    const [api, gateway] = [during(changes.acknowledged), during([...calls.seen.values()])];
    frozen.thaw();
    changes.nodes = calls.nodes = null;
    changes.rate = 60;
    await changes.more(60);
    await changes.stop();
    await calls.stop();
    await changes.check();
    await calls.check();
    await assertRanOnce(cluster, job);
    t.diagnostic(`the node that was well: changes ${JSON.stringify(api)} ms, calls ${JSON.stringify(gateway)} ms; the job ended there after ${Math.round(tookOver)} ms`);
    assert.ok(api.n > 120 && api.p99 < 1500 && api.most < 6000, `changes at the other node: ${JSON.stringify(api)}`);
    assert.ok(gateway.n > 100 && gateway.p99 < 1000, `calls at the other node: ${JSON.stringify(gateway)}`);
  });

  test('conflicts that PostgreSQL resolves are seen by nobody: each change, call and job is there once', { timeout: 120_000 }, async (t) => {
    const cluster = await startCluster(t, { config: { export: { page_rows: 20 } } });
    await watchJobs(cluster);
    await cluster.forceSerializationFailures(0.3);
    const changes = new Changes(t, cluster, { workers: 8, rate: 150 });
    const calls = new Calls(t, cluster, cluster.key, { workers: 2, pause_ms: 40 });
    await changes.more(60);
    const jobs = [];
    for (const i of [0, 1]) {
      jobs.push(await startExport(cluster, i));
      assert.equal((await ended(cluster, jobs.at(-1))).state, 'succeeded');
    }
    await changes.more(60);
    await changes.stop();
    await calls.stop();
    const forced = await cluster.failures();
    await cluster.forceSerializationFailures(0);
    assert.equal(changes.unknown, 0, `${changes.lastTrouble}`);
    await changes.check();
    await calls.check();
    for (const id of jobs) await assertRanOnce(cluster, id);
    t.diagnostic(`${changes.summary}; ${calls.summary}; ${forced} units made to fail`);
  });

  test('kill -9 under load, again and again: what was acknowledged is there, once', { timeout: 180_000 }, (t) => nodesDie(t, 3));

  test('PostgreSQL is restarted under load: calls go on, changes are told that they must wait, and then all is well', { timeout: 180_000 }, async (t) => {
    const cluster = await startCluster(t, { config: { export: { page_rows: 25 }, jobs: { retry_ms: '500ms' } } });
    await watchJobs(cluster);
    const changes = new Changes(t, cluster, { workers: 4, rate: 60 });
    const calls = new Calls(t, cluster, cluster.key, { workers: 2, pause_ms: 40 });
    await changes.more(80);
    const figures = [];
    const jobs = [];
    for (const mode of ['fast', 'immediate']) {
      await cluster.slowJobs(0.1);
      const id = await startExport(cluster, jobs.length);
      jobs.push(id);
      await until('the job to be under way', async () => (await jobRow(cluster, id)).state !== 'queued', { every_ms: 5 });
      await cluster.postgres.stop(mode);
      const before = calls.n;
      const answer = await cluster.at(0).with({ deadline_ms: 15_000 }).post('/api/projects', { name: 'while it is away' });
      assert.equal(answer.status, 503, answer.text);
      assert.ok(answer.headers.get('retry-after'), 'it says when to try again');
      await calls.more(40);
      assert.ok(calls.n >= before + 40);
      await cluster.postgres.start();
      await cluster.slowJobs(0);
      const since = performance.now();
      for (const caller of cluster.callers)
        await until('the API to be well', async () => (await caller.get('/api/projects?limit=1')).status === 200, { deadline_ms: 10_000, every_ms: 20 });
      figures.push(`${mode} ${Math.round(performance.now() - since)} ms`);
      assert.equal((await ended(cluster, id)).state, 'succeeded');
      await changes.more(40);
    }
    await changes.stop();
    await calls.stop();
    await changes.check();
    await calls.check();
    assert.equal(calls.broken, 0, 'no call broke');
    for (const id of jobs) await assertRanOnce(cluster, id);
    t.diagnostic(`${changes.summary}; ${calls.summary}; well again after a restart: ${figures.join(', ')}`);
  });

  test(`a node that loses PostgreSQL without a word (${how}) goes on with calls, says so, and catches up`, { timeout: 120_000 }, (t) =>
    losesPostgres(t, how),
  );
});
