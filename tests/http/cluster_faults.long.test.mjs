// cluster_faults.long.test.mjs - three nodes that come and go for a while under a mixed load: nothing is lost, doubled, overspent, or
// seen by the wrong people. CATALYST_CLUSTER_MS says for how long, CATALYST_CLUSTER_SEED repeats a run's choices.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { newMember } from '../lib/api.mjs';
import { NO_BINARY } from '../lib/catalyst.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { Calls, Changes, assertRanOnce, ended, losesPostgres, nodesDie, sealersEnd, startExport, watchJobs } from '../lib/cluster_load.mjs';
import { NO_NAMESPACES } from '../lib/namespace.mjs';
import { NO_POSTGRES } from '../lib/postgres.mjs';
import { sealedLog } from '../lib/rebuild.mjs';
import { EventStream } from '../lib/stream.mjs';
import { until } from '../lib/wait.mjs';

const skip = NO_BINARY || NO_POSTGRES;
const TIME_MS = Number(process.env.CATALYST_CLUSTER_MS ?? 180_000);
const SEED = Number(process.env.CATALYST_CLUSTER_SEED ?? Date.now() % 1_000_000);

/** mulberry32 */
function randomness(seed) {
  let a = seed >>> 0;
  const next = () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let x = Math.imul(a ^ (a >>> 15), a | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
  return { below: (n) => Math.floor(next() * n), one: (list) => list[Math.floor(next() * list.length)] };
}

for (const how of ['freeze', 'pull'])
  test(`a node loses PostgreSQL without a word (${how})`, { skip: skip || (how === 'pull' && NO_NAMESPACES), timeout: 120_000 }, (t) => losesPostgres(t, how));

test('kill -9 under load, thirty times', { skip, timeout: 300_000 }, (t) => nodesDie(t, 30));

test('the node that numbers the log is killed or hangs, twelve times', { skip, timeout: 300_000 }, (t) =>
  sealersEnd(t, Array.from({ length: 12 }, (_, i) => (i % 3 === 0 ? 'killed' : 'hung'))),
);

/** Follows a workspace's stream at any node that answers, from where it stood, until it is stopped; every frame is kept. */
class Follower {
  constructor(t, cluster, caller) {
    Object.assign(this, { cluster, caller, frames: [], lastId: 0, resumed: 0, isOver: false });
    t.after(() => (this.isOver = true));
    this.running = this.#run();
    this.running.catch(() => {});
  }
  async #run() {
    for (let n = 0; !this.isOver; n++) {
      const stream = new EventStream(this.cluster.at(n % this.cluster.nodes.length, this.caller), { lastId: this.lastId });
      const opened = performance.now();
      // A node that hangs keeps the connection and says nothing: leave it after a while.
      const ends = opened + 3000 + Math.random() * 4000;
      while (!this.isOver && !stream.isEnded && performance.now() < ends) await pause(50);
      if (stream.status === 200) this.resumed++;
      stream.cut();
      this.frames.push(...stream.frames.filter((f) => f.event !== 'ready'));
      this.lastId = stream.log.at(-1)?.id ?? this.lastId;
      if (stream.frames.length === 0) await pause(50);
    }
  }
  get log() {
    return this.frames.filter((f) => f.id !== null);
  }
}

test(`three nodes come and go under a mixed load, seed ${SEED}`, { skip, timeout: TIME_MS + 300_000 }, async (t) => {
  const random = randomness(SEED);
  const cluster = await startCluster(t, {
    nodes: 3,
    links: true,
    config: { export: { page_rows: 50 }, jobs: { lease_ms: '3s', retry_ms: '500ms' }, store: { write_deadline_ms: '5s', read_deadline_ms: '5s' } },
  });
  await watchJobs(cluster);
  const { ada, key, nodes } = cluster;
  const LIMIT_USD = TIME_MS * 5e-7; // gone in the middle
  await ada.must(201, ada.post('/api/gateway/budgets', { scope: 'key', scope_id: key.id, period: 'total', limit_usd: LIMIT_USD.toFixed(9) }));
  const second = ada.with({ workspace: (await ada.must(201, ada.post('/api/workspaces', { name: 'Second' }))).id });
  const bob = await newMember(second, 'admin'); // what is for ada goes to her in any workspace
  await cluster.forceSerializationFailures(0.03);
  const loads = [new Changes(t, cluster, { workers: 4, rate: 40 }), new Changes(t, cluster, { workers: 4, rate: 40, caller: second })];
  const calls = new Calls(t, cluster, key, { workers: 6, pause_ms: 60, others: [402, 503] });
  const followers = [ada, bob].map((caller) => new Follower(t, cluster, caller));
  const jobs = [];
  const done = {};
  const end = performance.now() + TIME_MS;
  const faults = {
    kill: (n) => n.again(),
    replaced: (n) => n.again({ gracefully: true }),
    async away(n) {
      await n.kill();
      await pause(random.below(6000));
      await n.start().ready();
    },
    async hangs(n) {
      n.freeze();
      await pause(random.below(8000));
      n.thaw();
    },
    async reset(n) {
      for (let i = 0; i < 5; i++) {
        n.link.reset();
        await pause(random.below(300));
      }
    },
    async cut(n) {
      cluster.cutNode(n.index, 'cut');
      await pause(random.below(5000));
      cluster.mendNode(n.index);
    },
    async frozen(n) {
      cluster.cutNode(n.index, 'freeze');
      await pause(random.below(9000));
      cluster.mendNode(n.index);
    },
    async half(n) {
      cluster.cutNode(n.index, 'half');
      await pause(random.below(1000));
    },
    async slow(n) {
      n.link.delay_ms = 20;
      await pause(random.below(3000));
      n.link.delay_ms = 0;
    },
    async postgres() {
      await cluster.postgres.stop(random.one(['fast', 'immediate']));
      await pause(random.below(2000));
      await cluster.postgres.start();
    },
  };
  while (performance.now() < end) {
    const name = random.one(Object.keys(faults));
    const node = random.one(nodes);
    const started = Math.round(TIME_MS - (end - performance.now()));
    if (process.env.CATALYST_CLUSTER_TRACE) t.diagnostic(`${started} ms: ${name} ${node.name}`);
    await faults[name](node);
    done[name] = (done[name] ?? 0) + 1;
    const job = await startExport(cluster, random.below(3), random.one([ada, second])).catch(() => null);
    if (job) jobs.push(job);
    await pause(random.below(1500));
    for (const load of [...loads, calls]) if (load.errors.length) throw load.errors[0];
  }
  await cluster.forceSerializationFailures(0);
  for (const load of loads) await load.stop();
  await calls.stop();
  for (const load of loads) await load.check();
  await calls.check();
  const budgets = (await ada.must(200, cluster.at(0).get('/api/gateway/budgets'))).items;
  const budget = budgets.find((b) => b.scope_id === key.id);
  assert.ok(cluster.meter.spent <= LIMIT_USD * 1e9, `${cluster.meter.spent} of ${LIMIT_USD * 1e9} were spent at the provider`);
  for (const id of jobs) {
    await ended(cluster, id);
    await assertRanOnce(cluster, id);
  }
  const log = await sealedLog({ databaseUrl: cluster.url });
  for (const [i, follower] of followers.entries()) {
    const { workspace } = follower.caller;
    const own = log.filter((e) => e.event.workspace === workspace).map((e) => e.number);
    await until('the stream to catch up', () => follower.lastId >= own.at(-1) || (follower.log.at(-1)?.id ?? 0) >= own.at(-1), { deadline_ms: 30_000 });
    follower.isOver = true;
    await follower.running;
    assert.deepEqual(follower.log.map((f) => f.id), own, `the stream of workspace ${i + 1}`);
    const others = new Set(loads[1 - i].projects.map((p) => p.id));
    const strange = follower.frames.filter((f) => JSON.stringify(f.data).includes(followers[1 - i].caller.workspace) || others.has(f.data.resource?.id));
    assert.deepEqual(strange, [], `frames of the other workspace on the stream of workspace ${i + 1}`);
  }
  t.diagnostic(
    `${Object.entries(done).map(([name, n]) => `${name} ${n}`).join(', ')}; ${loads.map((l) => l.summary).join('; ')}; ${calls.summary}; ${jobs.length} jobs; ` +
      `${cluster.meter.spent} nano-USD at the provider of ${LIMIT_USD * 1e9}, ${budget.spent_nanousd} charged; streams resumed ${followers.map((f) => f.resumed)} times`,
  );
});

test('1,000 parallel calls on two nodes that hang, die and lose PostgreSQL never spend more than $1, and nearly all of it can be spent', { skip, timeout: 300_000 }, async (t) => {
  const cluster = await startCluster(t, { links: true, tokens: (body) => (body.messages.length % 2 ? {} : { output: 100 }) });
  const { ada, key, meter, nodes } = cluster;
  const USD = 1e9;
  await ada.must(201, ada.post('/api/gateway/budgets', { scope: 'key', scope_id: key.id, period: 'total', limit_usd: '1' }));
  const known = `SELECT min(snapshot_number) >= (SELECT max(number) FROM events WHERE type LIKE 'budget.%') AS is_known FROM nodes`;
  await until('both nodes to know the budget', async () => (await cluster.query(known))[0].is_known);
  // Calls that cost about a cent when they use what they are allowed.
  const load = new Calls(t, cluster, key, { workers: 1000, body: { max_tokens: 16_000 }, others: [402, 503], pause_ms: 200 });
  const spentSoFar = (part) => until(`${part} of the budget to be spent`, () => load.errors.length || meter.spent > part * USD, { deadline_ms: 120_000 });
  await spentSoFar(0.2);
  nodes[1].freeze();
  await pause(1500);
  nodes[1].thaw();
  await spentSoFar(0.4);
  await nodes[0].again();
  await spentSoFar(0.6);
  cluster.cutNode(1, 'cut');
  await pause(2000);
  cluster.mendNode(1);
  await spentSoFar(0.97);
  await load.stop();
  assert.ok(meter.spent <= USD, `${meter.spent} spent`);
  const rows = await load.check();
  const charged = rows.reduce((sum, r) => sum + Number(r.cost_nanousd ?? 0), 0);
  t.diagnostic(`${load.summary}; ${meter.spent} nano-USD at the provider, ${charged} in the database`);
  assert.ok(charged <= USD, `${charged} charged`);
});
