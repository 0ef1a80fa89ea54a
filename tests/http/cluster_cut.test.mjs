// cluster_cut.test.mjs - a node that is cut off from PostgreSQL: it goes on taking calls, says so, and catches up; nothing is lost, counted twice, or forgotten.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bodyOf, call } from '../lib/call.mjs';
import { NO_BINARY } from '../lib/catalyst.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { NO_POSTGRES } from '../lib/postgres.mjs';
import { until } from '../lib/wait.mjs';

const body = bodyOf('chat', { max_tokens: 10 });
const readyz = async (node) => {
  const answer = await fetch(`${node.origin}/readyz`);
  return { code: answer.status, ...(await answer.json()) };
};

describe('a node that is cut off from the database', { skip: NO_BINARY || NO_POSTGRES }, () => {
  for (const how of ['cut', 'freeze'])
    test(`${how}: it goes on, says so, and catches up`, { timeout: 120_000 }, async (t) => {
      const cluster = await startCluster(t, { nodes: [{}, { links: true }] });
      const node = cluster.nodes[1];
      const [key, lost, limited] = await Promise.all([
        cluster.newKey(),
        cluster.newKey(),
        cluster.newKey({ limits: { requests_per_minute: 60 } }),
      ]);
      let n = 0;
      const count = async (scene) => {
        const { status } = await call(scene, 'chat', body);
        n += status === 200;
        return status;
      };
      assert.equal(await count(cluster.scene(1, key)), 200);
      cluster.cutNode(1, how);
      await until('/readyz to tell', async () => (await readyz(node)).degraded === 'database_unavailable', { every_ms: 50 });
      assert.equal((await readyz(node)).code, 200);
      for (let i = 0; i < 20; i++) assert.equal(await count(cluster.scene(1, key)), 200);
      // A key that is revoked meanwhile is good here until the database is back.
      await cluster.ada.must(204, cluster.ada.delete(`/api/gateway/keys/${lost.id}`));
      assert.equal(await count(cluster.scene(1, lost)), 200);
      assert.equal((await call(cluster.scene(0, lost), 'chat', body)).status, 401);
      // Of a limit it has its part: half of it.
      let passed = 0;
      for (let i = 0; i < 70; i++) passed += (await count(cluster.scene(1, limited))) === 200;
      assert.ok(passed >= 28 && passed <= 34, `${passed} of a limit of 60`);
      cluster.mendNode(1, { drops: how === 'freeze' });
      const at = performance.now();
      await until('the node to know what was revoked', async () => (await call(cluster.scene(1, lost), 'chat', body)).status === 401, { deadline_ms: 30_000, every_ms: 20 });
      t.diagnostic(`${how}: the revoked key was refused ${(performance.now() - at).toFixed(0)} ms after the database was back`);
      await until('/readyz to be well', async () => !(await readyz(node)).degraded, { deadline_ms: 30_000, every_ms: 50 });
      await until('every call to be in the database', async () => {
        const [{ calls, ids, failed }] = await cluster.query(
          `SELECT COUNT(*) FILTER (WHERE status = 200) AS calls, COUNT(DISTINCT request_id) FILTER (WHERE status = 200) AS ids,
           COUNT(*) FILTER (WHERE error = 'crashed') AS failed FROM usage.calls`,
        );
        assert.ok(ids === calls && calls <= cluster.double.exchanges.length && failed === 0, `${calls} ${ids} ${failed}`);
        return calls >= n && calls === cluster.double.exchanges.length;
      }, { deadline_ms: 30_000, every_ms: 100 });
    });

  test('with gateway.stale_max_ms it stops taking calls after that time', { timeout: 60_000 }, async (t) => {
    const cluster = await startCluster(t, { nodes: [{}, { links: true, config: { gateway: { stale_max_ms: 1500 } } }] });
    const key = await cluster.newKey();
    const scene = cluster.scene(1, key);
    assert.equal((await call(scene, 'chat', body)).status, 200);
    cluster.cutNode(1);
    await until('calls to be refused', async () => (await call(scene, 'chat', body)).status === 503, { every_ms: 50 });
    const refused = await call(scene, 'chat', body);
    assert.match(refused.json().error.message, /gateway\.stale_max_ms/);
    const told = await fetch(`${cluster.nodes[1].origin}/readyz`);
    assert.equal(told.status, 503);
    assert.equal((await told.json()).status, 'snapshot_too_old');
    cluster.mendNode(1);
    await until('it to serve again', async () => (await call(scene, 'chat', body)).status === 200, { deadline_ms: 30_000, every_ms: 50 });
  });
});
