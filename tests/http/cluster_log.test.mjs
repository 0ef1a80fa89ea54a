// cluster_log.test.mjs - one log written by several nodes: it has no gap, nothing is numbered twice, no reader passes a commit that
// comes late, and it goes on when the node that numbers dies or hangs.

import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { NO_BINARY } from '../lib/catalyst.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { Changes, sealersEnd } from '../lib/cluster_load.mjs';
import { NO_POSTGRES, openSession } from '../lib/postgres.mjs';
import { sealedLog } from '../lib/rebuild.mjs';
import { EventStream } from '../lib/stream.mjs';
import { until } from '../lib/wait.mjs';

const skip = NO_BINARY || NO_POSTGRES;

/** A statement that adds an event of the workspace as the program does, and the event's id. */
function lateEvent(cluster, n) {
  const id = randomUUID();
  const { workspace, user } = cluster.ada;
  const event = {
    id,
    type: 'job.failed',
    version: 1,
    at: new Date().toISOString().replace('Z', '000Z'),
    workspace,
    actor: { kind: 'system', id: null, credential: null },
    client: { address: null, user_agent: null },
    resource: { type: 'job', id: randomUUID() },
    status: 'failure',
    error: 'internal',
    before: null,
    after: null,
    metadata: { kind: `late ${n}`, user: user.id, tries: 1, reason: 'it was late' },
  };
  const bytes = Buffer.from(JSON.stringify(event));
  const leaf = createHash('sha256').update(Buffer.concat([Buffer.from([0]), bytes])).digest('hex');
  const statement = `INSERT INTO main.events (id, workspace_id, at_us, type, resource_type, resource_id, bytes, leaf)
    VALUES ('${id}', '${workspace}', ${Date.now() * 1000}, 'job.failed', 'job', '${event.resource.id}', '\\x${bytes.toString('hex')}', '\\x${leaf}')`;
  return { id, statement: statement.replaceAll('\n', ' ') };
}

/** Reads the stream to the log's end, cut off again and again and resumed at the other node; gives the frames. */
async function readByTurns(cluster, isDone) {
  const heard = [];
  let lastId = 0;
  let cuts = 0;
  for (let isOver = false; !isOver; cuts++) {
    const stream = new EventStream(cluster.at(cuts % cluster.nodes.length), { lastId });
    await stream.ready();
    const wanted = 1 + Math.floor(Math.random() * 40);
    if (isDone()) {
      const log = await sealedLog({ databaseUrl: cluster.url });
      const last = log.findLast((e) => e.event.workspace === cluster.ada.workspace).number;
      await until('the last event', () => (stream.lastId ?? 0) >= last);
      isOver = true;
    } else await until('some events', () => isDone() || stream.log.length >= wanted);
    stream.cut();
    heard.push(...stream.log);
    lastId = stream.lastId;
  }
  return { heard, cuts };
}

test('no number is missing or there twice, and no reader passes a commit that comes late', { skip, timeout: 120_000 }, async (t) => {
  const cluster = await startCluster(t);
  await cluster.forceSerializationFailures(0.1);
  const changes = new Changes(t, cluster, { workers: 6 });
  let isDone = false;
  const reading = readByTurns(cluster, () => isDone);
  reading.catch(() => {});
  const late = [];
  for (let round = 0; round < 3; round++) {
    const session = openSession(t, cluster.url);
    const events = [1, 2].map((n) => lateEvent(cluster, `${round} ${n}`));
    await session.run('BEGIN');
    await session.run(events[0].statement);
    await changes.more(25);
    await session.run(events[1].statement);
    await changes.more(25);
    const [{ head }] = await cluster.query(`SELECT max(number) AS head FROM events`);
    await session.run('COMMIT');
    late.push(...events.map(({ id }) => ({ id, head })));
    await session.end();
  }
  await changes.stop();
  isDone = true;
  const log = await changes.check();
  const { heard, cuts } = await reading;
  const own = log.filter((e) => e.event.workspace === cluster.ada.workspace);
  assert.deepEqual(heard.map((f) => f.id), own.map((e) => e.number));
  const numbers = new Map(log.map((e) => [e.event.id, e.number]));
  for (const { id, head } of late) assert.ok(numbers.get(id) > head, 'what was committed late has a late number');
  // The listener "notifications" has heard each of them, once.
  const causes = () => cluster.query(`SELECT cause_id FROM notifications WHERE kind = 'job.failed'`);
  await until('a notification of each', async () => (await causes()).length >= late.length);
  assert.deepEqual((await causes()).map((r) => r.cause_id).sort(), late.map((l) => l.id).sort());
  t.diagnostic(`${changes.summary}; ${await cluster.failures()} units made to fail; the stream cut off ${cuts} times`);
});

test('when the node that numbers the log is killed or hangs, another takes over within two seconds', { skip, timeout: 120_000 }, (t) =>
  sealersEnd(t, ['killed', 'hung']),
);
