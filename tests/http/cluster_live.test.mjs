// cluster_live.test.mjs - the live stream over two nodes: what happens at one is seen at the other, and a stream goes on at either.

import assert from 'node:assert/strict';
import test from 'node:test';
import { newMember } from '../lib/api.mjs';
import { NO_BINARY } from '../lib/catalyst.mjs';
import { bodyOf, call } from '../lib/call.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { NO_POSTGRES } from '../lib/postgres.mjs';
import { openStream } from '../lib/stream.mjs';
import { until } from '../lib/wait.mjs';

const skip = NO_BINARY || NO_POSTGRES;

/** The value of a metric without labels, or with exactly these. */
async function metric(node, name) {
  const text = await (await fetch(`${node.origin}/metrics`)).text();
  const line = text.split('\n').find((l) => l.startsWith(`${name} `));
  return line === undefined ? null : Number(line.slice(name.length + 1));
}

const SENT = 'catalyst_live_bus_frames_total{direction="sent"}';

test('what happens at one node is seen in a stream at the other, and nothing travels when nobody listens', { skip, timeout: 60_000 }, async (t) => {
  const cluster = await startCluster(t);
  const [a, b] = cluster.nodes;
  const [ada, adaAtB] = cluster.callers;
  const key = await cluster.newKey();
  await until('the nodes to know each other', async () => (await metric(a, 'catalyst_nodes{state="serving"}')) === 2);

  // Nobody listens anywhere: a call, and no row for it.
  assert.equal((await call(cluster.scene(0, key), 'chat', bodyOf('chat'))).status, 200);
  await cluster.drained(1);
  assert.equal(await metric(a, SENT), 0);

  const stream = await openStream(t, adaAtB);
  await until('the first node to know that the second has a listener', async () => {
    const [row] = await cluster.query(`SELECT COUNT(*) AS n FROM nodes WHERE streams > 0`);
    return row.n === 1;
  });
  await until('frames to travel', async () => {
    await call(cluster.scene(0, key), 'chat', bodyOf('chat'));
    return (await metric(a, SENT)) > 0;
  });

  // A call as it ends.
  const began = Date.now();
  const answer = await call(cluster.scene(0, key), 'chat', bodyOf('chat'), { headers: { 'x-catalyst-task': 'across' } });
  assert.equal(answer.status, 200);
  const frame = await stream.frame('the call', (f) => f.event === 'call.finished' && f.data.task === 'across', { every_ms: 5 });
  assert.ok(Date.now() - began < 1500, `it took ${Date.now() - began} ms`);
  assert.equal(frame.id, null);
  assert.equal(frame.data.key_id, key.id);

  // Progress of jobs, at whichever node they run: until one has run at the first.
  await until('a job to run at the first node', async () => {
    const { job } = await ada.must(202, ada.post(`/api/workspaces/${ada.workspace}/export`));
    await stream.frame('the end of the job', (f) => f.event === 'job.progress' && f.data.id === job.id && f.data.state === 'succeeded');
    return (await metric(a, 'catalyst_jobs_ended_total{outcome="succeeded"}')) > 0;
  });

  // A notification: of the log's follower, which is active at one of the nodes.
  await newMember(ada, 'viewer', { name: 'Vi' });
  await stream.frame('the notification', (f) => f.event === 'notification' && f.data.kind === 'invitation.accepted');

  // A budget as it is spent.
  const budget = await adaAtB.must(
    201,
    adaAtB.post('/api/gateway/budgets', { scope: 'key', scope_id: key.id, period: 'monthly', limit_usd: '5' }),
  );
  await until('spending to be shown', async () => {
    await call(cluster.scene(0, key), 'chat', bodyOf('chat'));
    return stream.frames.some((f) => f.event === 'budget.spent' && f.data.id === budget.id && f.data.spent_nanousd > 0);
  });

  // Each frame once.
  const calls = stream.frames.filter((f) => f.event === 'call.finished').map((f) => f.data.id ?? f.data.request_id);
  assert.equal(new Set(calls).size, calls.length);
  assert.equal(b.exit, null);
});

test('a stream that is cut goes on at the other node without a gap', { skip, timeout: 60_000 }, async (t) => {
  const cluster = await startCluster(t);
  const callers = cluster.callers;
  const seen = [];
  let lastId = 0;
  const names = [];
  for (let round = 0; round < 4; round++) {
    const stream = await openStream(t, callers[round % 2], { lastId });
    const before = names.length;
    await Promise.all(
      Array.from({ length: 10 }, async (_, i) => {
        const name = `round ${round} project ${i}`;
        const made = await callers[i % 2].must(201, callers[i % 2].post('/api/projects', { name }));
        names.push(made.id);
      }),
    );
    // It is cut in the middle of things: somewhere behind the first of them.
    await stream.frame('one of them', (f) => f.event === 'project.created' && names.indexOf(f.data.resource.id) >= before);
    stream.cut();
    lastId = stream.lastId;
    seen.push(...stream.log);
  }
  const last = await openStream(t, callers[0], { lastId });
  const all = () => [...seen, ...last.log];
  const made = () => all().filter((f) => f.event === 'project.created' && names.includes(f.data.resource.id)).map((f) => f.data.resource.id);
  await until('all of them', () => made().length >= names.length);
  const numbers = all().map((f) => f.id);
  assert.deepEqual(numbers, [...new Set(numbers)].sort((x, y) => x - y), 'in order, none twice');
  assert.deepEqual(made().sort(), [...names].sort());
});
