// cluster_rates.test.mjs - limits hold over two nodes as they do on one: bursts at once on both, traffic at one alone, parallel calls that move over.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bodyOf, call } from '../lib/call.mjs';
import { NO_BINARY } from '../lib/catalyst.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { NO_POSTGRES } from '../lib/postgres.mjs';
import { gate, until } from '../lib/wait.mjs';

const body = bodyOf('chat', { max_tokens: 10 });

/** A key with limits that both nodes know; the two scenes. */
async function limited(cluster, limits) {
  const key = await cluster.newKey({ limits });
  return [0, 1].map((i) => cluster.scene(i, key));
}

/** Calls as fast as `width` clients at each scene can make them, for so long: what was answered, by status, and each time of a 200. */
async function press(scenes, width, ms) {
  const end = performance.now() + ms;
  const counts = {};
  const taken = [];
  let slowest = 0;
  await Promise.all(
    scenes.flatMap((scene) =>
      Array.from({ length: width }, async () => {
        while (performance.now() < end) {
          const start = performance.now();
          const answer = await call(scene, 'chat', body);
          slowest = Math.max(slowest, performance.now() - start);
          counts[answer.status] = (counts[answer.status] ?? 0) + 1;
          if (answer.status === 200) taken.push(performance.now());
          else await new Promise((resolve) => setTimeout(resolve, 40));
        }
      }),
    ),
  );
  return { counts, taken, slowest };
}

describe('limits over two nodes', { skip: NO_BINARY || NO_POSTGRES }, () => {
  test('requests a minute: both nodes together get what one would, one alone nearly all of it', { timeout: 120_000 }, async (t) => {
    const cluster = await startCluster(t);
    const seconds = 6;
    const allowed = 300 + (300 / 60) * seconds;
    const [both, alone] = await Promise.all([
      limited(cluster, { requests_per_minute: 300 }).then((scenes) => press(scenes, 6, seconds * 1000)),
      limited(cluster, { requests_per_minute: 300 }).then(([one]) => press([one], 8, seconds * 1000)),
    ]);
    for (const [name, { counts, slowest }] of [
      ['both', both],
      ['alone', alone],
    ]) {
      t.diagnostic(`${name}: ${JSON.stringify(counts)} of ${allowed}, slowest answer ${slowest.toFixed(0)} ms`);
      assert.deepEqual(Object.keys(counts).sort(), ['200', '429']);
      assert.ok(counts[200] <= allowed * 1.1, `${name}: ${counts[200]}`);
    }
    assert.ok(alone.counts[200] >= allowed * 0.9, `${alone.counts[200]}`);
    assert.ok(both.counts[200] >= allowed * 0.8, `${both.counts[200]}`);
  });

  test('what is left is told in the fields of both nodes', { timeout: 60_000 }, async (t) => {
    const cluster = await startCluster(t);
    const scenes = await limited(cluster, { requests_per_minute: 100, tokens_per_minute: 100_000 });
    const left = async (scene) => Number((await call(scene, 'chat', body)).header('x-ratelimit-remaining-requests'));
    for (let i = 0; i < 30; i++) await left(scenes[i % 2]);
    for (const scene of scenes)
      await until('each node to tell what both have left', async () => {
        const n = await left(scene);
        return n >= 50 && n <= 80;
      }, { every_ms: 300 });
    const tokens = Number((await call(scenes[0], 'chat', body)).header('x-ratelimit-remaining-tokens'));
    assert.ok(tokens > 80_000 && tokens < 100_000, `${tokens}`);
  });

  test('parallel calls: never more than the limit over both, and places move to where they are needed', { timeout: 60_000 }, async (t) => {
    const cluster = await startCluster(t);
    const scenes = await limited(cluster, { parallel_calls: 6 });
    const hold = gate();
    t.after(() => hold.open());
    let before = cluster.double.exchanges.length;
    const under = () => cluster.double.exchanges.length - before;
    cluster.double.next(...Array.from({ length: 6 }, () => ({ gate: hold })));
    const open = Array.from({ length: 6 }, () => call(scenes[0], 'chat', bodyOf('chat', { stream: true })));
    await until('all places to be taken at the first node', () => under() === 6);
    // It may have begun when it did not know of the other yet.
    await until('the places to be known', async () => (await cluster.query('SELECT COALESCE(SUM(held), 0)::int AS n FROM usage.parallel_leases'))[0].n === 6);
    const refused = await call(scenes[1], 'chat', body);
    assert.equal(refused.status, 429);
    assert.match(refused.json().error.message, /6 parallel calls/);
    hold.open();
    for (const answer of await Promise.all(open)) assert.equal(answer.status, 200);
    await until('a place to be free', async () => (await call(scenes[1], 'chat', body)).status === 200, { every_ms: 50 });
    const again = gate();
    t.after(() => again.open());
    cluster.double.next(...Array.from({ length: 6 }, () => ({ gate: again })));
    before = cluster.double.exchanges.length;
    const at = performance.now();
    const moved = Array.from({ length: 6 }, () => call(scenes[1], 'chat', bodyOf('chat', { stream: true })));
    await until('all of them to be taken at the second', () => under() === 6);
    t.diagnostic(`six places moved in ${(performance.now() - at).toFixed(0)} ms`);
    assert.equal((await call(scenes[0], 'chat', body)).status, 429);
    again.open();
    for (const answer of await Promise.all(moved)) assert.equal(answer.status, 200);
  });
});
