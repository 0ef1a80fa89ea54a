// cluster_budget.test.mjs - hard budgets over several nodes: the provider's own ledger never says more than the limit, whatever happens to the nodes, and
// nearly all of the money can be spent.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bodyOf, call } from '../lib/call.mjs';
import { NO_BINARY } from '../lib/catalyst.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { NO_POSTGRES } from '../lib/postgres.mjs';
import { until } from '../lib/wait.mjs';

const USD = 1e9;
const PARALLEL = 50; // calls under way at each node

/** Calls at the nodes by turns until n were answered or isOver() holds; the number of answers by status. A node may die: 'gone' then. */
async function spend(cluster, key, { n = 1000, nodes = cluster.nodes.map((_, i) => i), body = { max_tokens: 1500 }, isOver = () => false } = {}) {
  const seen = {};
  let left = n;
  const client = async (i) => {
    while (left-- > 0 && !isOver(seen)) {
      const dialect = left % 2 ? 'chat' : 'messages';
      const answer = await call(cluster.scene(i, key), dialect, bodyOf(dialect, body), { deadline_ms: 20_000 }).catch((error) => ({ status: 'gone', error }));
      seen[answer.status] = (seen[answer.status] ?? 0) + 1;
      if (answer.error) seen.error = `${answer.error.message} ${answer.error.cause ?? ''}`;
      if (answer.status === 'gone') return;
    }
  };
  await Promise.all(nodes.flatMap((i) => Array.from({ length: PARALLEL }, () => client(i))));
  return seen;
}

/** One after the other, so that nothing else is under way, with ever smaller calls: what is left is really nothing. */
async function spendTheRest(cluster, key, nodes = cluster.nodes.map((_, i) => i)) {
  for (const max_tokens of [1500, 1200, 1024])
    for (const i of nodes)
      for (let status = 200; status === 200; ) {
        ({ status } = await call(cluster.scene(i, key), 'chat', bodyOf('chat', { max_tokens })));
        assert.ok([200, 402].includes(status), String(status));
      }
}

const heldOf = (cluster) => cluster.query(`SELECT COALESCE(SUM(GREATEST(held_nanousd, 0)), 0)::bigint AS held FROM usage.budget_leases`).then(([r]) => Number(r.held));

describe('budgets over nodes', { skip: NO_BINARY || NO_POSTGRES }, () => {
  for (const nodes of [2, 3])
    test(`1,000 parallel calls over ${nodes} nodes against $1 never spend more than $1, and nearly all of it`, { timeout: 120_000 }, async (t) => {
      const cluster = await startCluster(t, { nodes, tokens: () => ({}) });
      const key = await cluster.newKey({ budget_usd: '1' });
      const seen = await spend(cluster, key);
      assert.ok(seen[402] > 0 && !seen[503] && !seen.gone, JSON.stringify(seen));
      await spendTheRest(cluster, key);
      assert.ok(cluster.meter.spent <= USD, `${cluster.meter.spent} nano-dollars were spent`);
      assert.ok(cluster.meter.spent > 0.99 * USD, `${cluster.meter.spent} of ${USD} nano-dollars could be spent`);
      // Every node says what the provider says.
      for (const caller of cluster.callers)
        await until('the same sum at each node', async () => {
          const { budget } = await caller.must(200, caller.get(`/api/gateway/keys/${key.id}`));
          return budget.spent_nanousd === cluster.meter.spent && budget.reserved_nanousd === 0;
        });
    });

  test('what a node does not use others can spend', { timeout: 120_000 }, async (t) => {
    const cluster = await startCluster(t, { nodes: 2, tokens: () => ({}) });
    const key = await cluster.newKey({ budget_usd: '0.5' });
    assert.deepEqual(await spend(cluster, key, { n: 20 }), { 200: 20 });
    await spend(cluster, key, { nodes: [1], isOver: (seen) => seen[402] });
    await spendTheRest(cluster, key, [1]);
    assert.ok(cluster.meter.spent <= 0.5 * USD && cluster.meter.spent > 0.495 * USD, `${cluster.meter.spent}`);
  });

  test('kill -9 and a node that hangs: what they hold counts as spent until their journal is drained', { timeout: 180_000 }, async (t) => {
    const cluster = await startCluster(t, { nodes: 2, tokens: () => ({}) });
    const key = await cluster.newKey({ budget_usd: '1' });
    const [first, second] = cluster.nodes;
    const load = spend(cluster, key, { n: 400 });
    await until('load', () => cluster.meter.spent > 0.1 * USD);
    first.freeze();
    await until('the other goes on', () => cluster.meter.spent > 0.2 * USD);
    first.thaw();
    await second.kill();
    await load;
    await spend(cluster, key, { nodes: [0], isOver: (seen) => seen[402] });
    assert.ok(cluster.meter.spent <= USD, `${cluster.meter.spent}`);
    await second.again();
    await spendTheRest(cluster, key);
    assert.ok(cluster.meter.spent <= USD, `${cluster.meter.spent}`);
    // What was charged for calls that died with the node is not the provider's to know: only the two together are the whole.
    const [{ charged }] = await cluster.drained(1).then(() => cluster.query(`SELECT SUM(charged_nanousd)::bigint AS charged FROM usage.calls`));
    assert.ok(Number(charged) >= cluster.meter.spent && Number(charged) <= USD, `${charged} charged`);
    assert.ok(Number(charged) > 0.985 * USD, `${charged} of the budget could be used`);
  });

  test('units that fail by 40001 and a PostgreSQL that restarts give no money away', { timeout: 180_000 }, async (t) => {
    const cluster = await startCluster(t, { nodes: 2, tokens: () => ({}) });
    const key = await cluster.newKey({ budget_usd: '1' });
    await cluster.forceSerializationFailures(0.3);
    const load = spend(cluster, key, { n: 600 });
    await until('load', () => cluster.meter.spent > 0.2 * USD);
    await cluster.restartPostgres('immediate');
    await load;
    await cluster.forceSerializationFailures(0);
    await until('the rest can be spent', async () => {
      await spendTheRest(cluster, key).catch(() => {}); // 503 while the database comes back
      return cluster.meter.spent > 0.99 * USD;
    }, { deadline_ms: 60_000, every_ms: 500 });
    assert.ok(cluster.meter.spent <= USD, `${cluster.meter.spent}`);
  });

  test('without the database a node goes on with what it has leased, then says that it does not know', { timeout: 120_000 }, async (t) => {
    const cluster = await startCluster(t, { nodes: 2, links: true, tokens: () => ({}), config: { budgets: { lease_wait_ms: 500 } } });
    const key = await cluster.newKey({ budget_usd: '1' });
    assert.deepEqual(await spend(cluster, key, { n: 20, nodes: [1] }), { 200: 20 });
    cluster.cutNode(1);
    const before = cluster.meter.spent;
    const seen = await spend(cluster, key, { nodes: [1], isOver: (s) => s[503] });
    assert.ok(seen[200] > 0 && seen[503] > 0 && !seen[402], JSON.stringify(seen));
    assert.ok(cluster.meter.spent > before);
    cluster.mendNode(1);
    await until('it knows again', async () => (await call(cluster.scene(1, key), 'chat', bodyOf('chat', { max_tokens: 1500 }))).status === 200, { deadline_ms: 30_000, every_ms: 200 });
    await spendTheRest(cluster, key);
    assert.ok(cluster.meter.spent <= USD && cluster.meter.spent > 0.99 * USD, `${cluster.meter.spent}`);
  });

  test('a node that stops gives back what it holds, and a lower limit holds at once', { timeout: 120_000 }, async (t) => {
    const cluster = await startCluster(t, { nodes: 2, tokens: () => ({}) });
    const key = await cluster.newKey({ budget_usd: '1' });
    for (const i of [0, 1]) assert.deepEqual(await spend(cluster, key, { n: 4, nodes: [i] }), { 200: 4 });
    assert.ok((await heldOf(cluster)) > 0);
    await cluster.ada.must(200, cluster.ada.patch(`/api/gateway/budgets/${key.budget.id}`, { limit_usd: '0.2' }));
    await until('both nodes to divide what there is anew', async () => (await heldOf(cluster)) + cluster.meter.spent <= 0.2 * USD);
    await spend(cluster, key, { isOver: (seen) => seen[402] });
    await spendTheRest(cluster, key);
    assert.ok(cluster.meter.spent <= 0.2 * USD && cluster.meter.spent > 0.19 * USD, `${cluster.meter.spent}`);
    await Promise.all(cluster.nodes.map((node) => node.stop()));
    assert.equal(await heldOf(cluster), 0);
  });

  test('when the answer to a change is there it holds at every node', { timeout: 60_000 }, async (t) => {
    const cluster = await startCluster(t, { nodes: 2, tokens: () => ({}) });
    const slow = [];
    for (let n = 0; n < 20; n++) {
      const maker = cluster.at(n % 2);
      const key = await maker.must(201, maker.post('/api/gateway/keys', { name: `key ${n}` }));
      const other = cluster.scene((n + 1) % 2, key);
      assert.equal((await call(other, 'chat', bodyOf('chat', { max_tokens: 1500 }))).status, 200);
      const start = performance.now();
      await maker.must(201, maker.post('/api/gateway/budgets', { scope: 'key', scope_id: key.id, period: 'total', limit_usd: '0.000001', is_hard: true }));
      slow.push(performance.now() - start);
      assert.equal((await call(other, 'chat', bodyOf('chat', { max_tokens: 1500 }))).status, 402, `budget ${n}`);
      await maker.must(204, maker.delete(`/api/gateway/keys/${key.id}`));
      assert.equal((await call(other, 'chat', bodyOf('chat', { max_tokens: 1500 }))).status, 401, `key ${n}`);
    }
    slow.sort((a, b) => a - b);
    t.diagnostic(`an answer came after ${slow[10].toFixed(0)} ms (median), ${slow[19].toFixed(0)} ms (most)`);
  });
});
