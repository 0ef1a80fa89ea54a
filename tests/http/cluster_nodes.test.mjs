// cluster_nodes.test.mjs - who is there: /api/nodes, `catalyst nodes`, /metrics, and what becomes of nodes that go.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, rmSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { promisify } from 'node:util';
import { newMember } from '../lib/api.mjs';
import { BINARY, Catalyst, NO_BINARY, temporaryFolder } from '../lib/catalyst.mjs';
import { bodyOf, call } from '../lib/call.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { NO_POSTGRES } from '../lib/postgres.mjs';
import { sealedLog } from '../lib/rebuild.mjs';
import { until } from '../lib/wait.mjs';

const run = promisify(execFile);
const skip = NO_BINARY || NO_POSTGRES;
const quick = { node: { heartbeat_ms: '200ms', away_ms: '1500ms' } };

const nodes = async (caller) => (await caller.must(200, caller.get('/api/nodes'))).items;
const named = async (caller, name) => (await nodes(caller)).find((n) => n.name === name);
const withState = (caller, name, state) =>
  until(`${name} to be ${state}`, async () => {
    const found = await named(caller, name);
    return found?.state === state && found;
  });
const own = (name, more = {}) => ({ config: { node: { ...quick.node, name }, ...more } });
const metrics = async (node) => (await fetch(`${node.origin}/metrics`)).text();
const eventsOf = async (cluster, id) =>
  (await sealedLog({ databaseUrl: cluster.url })).map((e) => e.event).filter((e) => e.resource.type === 'node' && (!id || e.resource.id === id));

test('each node lists all of them, as they are', { skip, timeout: 60_000 }, async (t) => {
  const cluster = await startCluster(t, { nodes: [own('north'), own('south')] });
  const [atNorth, atSouth] = cluster.callers;
  await withState(atNorth, 'south', 'serving');
  await withState(atSouth, 'north', 'serving');
  const list = await nodes(atNorth);
  assert.deepEqual(list.map((n) => [n.name, n.is_self]), [['north', true], ['south', false]]);
  assert.deepEqual((await nodes(atSouth)).map((n) => [n.name, n.is_self]), [['north', false], ['south', true]]);
  for (const [i, n] of list.entries()) {
    assert.equal(n.address, cluster.nodes[i].origin.replace('http://', ''));
    assert.match(n.version, /^\d+\.\d+\.\d+/);
    assert.ok(n.schema >= 8);
    assert.equal(n.leased_nanousd >= 0, true);
    assert.ok(Date.now() - Date.parse(n.last_seen_at) < 5000);
  }
  await until('the nodes to have followed everything', async () => (await nodes(atNorth)).every((n) => n.log_lag === 0));

  // A call is drained, and the journal is empty again.
  const key = await cluster.newKey();
  await until('the key to hold there', async () => (await call(cluster.scene(1, key), 'chat', bodyOf('chat'))).status === 200);
  await cluster.drained(1);
  await until('nothing to wait', async () => (await nodes(atNorth)).every((n) => n.journal.calls === 0));

  // Only administrators of the instance see them.
  const admin = await newMember(cluster.ada, 'admin', { name: 'Grace' });
  assert.equal((await admin.get('/api/nodes')).status, 403);

  const text = await metrics(cluster.nodes[1]);
  assert.ok(/^catalyst_nodes\{state="serving"\} 2$/m.test(text));
  for (const name of ['log_lag', 'journal_bytes', 'journal_calls', 'leased_usd', 'snapshot_lag', 'id_in_use'])
    assert.ok(new RegExp(`^catalyst_node_${name} `, 'm').test(text), name);

  // The command line, through the socket in the folder.
  const dir = cluster.nodes[1].dataDir;
  const { stdout } = await run(BINARY, ['nodes', '--data', dir]);
  const lines = stdout.trim().split('\n');
  assert.equal(lines.length, 3);
  assert.match(lines[0], /^NAME +STATE +ADDRESS/);
  assert.match(lines[2], /^south +serving .* yes /);
  const shown = JSON.parse((await run(BINARY, ['nodes', '--json', '--data', dir])).stdout);
  assert.deepEqual(shown.map((n) => n.id), list.map((n) => n.id));
});

test('nodes come and go: stopped, away, back again, forgotten', { skip, timeout: 90_000 }, async (t) => {
  const cluster = await startCluster(t, { nodes: [own('north'), own('south')] });
  const [ada] = cluster.callers;
  const south = cluster.nodes[1];
  const { id } = await withState(ada, 'south', 'serving');

  // While it lives it is not forgotten.
  const refused = await ada.delete(`/api/nodes/${id}`);
  assert.equal(refused.status, 409, refused.text);
  assert.match(refused.json.detail, /serving/);

  // It hangs.
  south.freeze();
  await withState(ada, 'south', 'away');
  await until('the row to say so', async () => (await cluster.query(`SELECT 1 AS n FROM nodes WHERE state = 'away'`)).length === 1);
  await until('the metric to say so', async () => /^catalyst_nodes\{state="away"\} 1$/m.test(await metrics(cluster.nodes[0])));
  south.thaw();
  await withState(ada, 'south', 'serving');

  // It ends in order, and starts again.
  await south.stop();
  await withState(ada, 'south', 'stopped');
  await south.again();
  const again = await withState(ada, 'south', 'serving');
  assert.equal(again.id, id);

  // It is killed: its row says so soon, and it starts again at once all the same.
  await south.kill();
  const before = Date.now();
  await south.again();
  assert.ok(Date.now() - before < 10_000);
  await withState(ada, 'south', 'serving');
  await south.kill();
  await withState(ada, 'south', 'away');
  const missing = await ada.delete('/api/nodes/00000000-0000-7000-8000-000000000000');
  assert.equal(missing.status, 404);
  const forgotten = await ada.delete(`/api/nodes/${id}?lost=true`);
  assert.equal(forgotten.status, 204, forgotten.text);
  assert.equal(await named(ada, 'south'), undefined);

  // On a busy machine it may be missed, too, before it is back from the kill.
  const types = (await eventsOf(cluster, id)).map((e) => e.type.replace('node.', '')).join(' ');
  assert.match(types, /^started away returned stopped started (away )?started away forgotten$/);

  // Whoever was forgotten may come back.
  await south.again();
  await withState(ada, 'south', 'serving');
});

test('a node that is cut off from PostgreSQL goes on, says so once, and comes back', { skip, timeout: 60_000 }, async (t) => {
  const cluster = await startCluster(t, { nodes: [own('north'), own('south')], links: true });
  const [north, south] = cluster.nodes;
  const key = await cluster.newKey();
  await withState(cluster.ada, 'south', 'serving');
  cluster.cutNode(1);
  await withState(cluster.ada, 'south', 'away');
  await until('it to count its failures', async () => /^catalyst_node_heartbeats_total\{result="failed"\} ([3-9]|\d\d)/m.test(await metrics(south)));
  assert.equal((await call(cluster.scene(1, key), 'chat', bodyOf('chat'))).status, 200);
  assert.match(await metrics(south), /^catalyst_nodes\{state="serving"\} 2$/m); // it judges nobody
  cluster.mendNode(1);
  await withState(cluster.ada, 'south', 'serving');
  await cluster.drained(1);
  assert.equal(south.stderr.match(/"node_cut_off"/g)?.length, 1);
  await until('it to say that it is back', () => /"node_connected_again"/.test(south.stderr));
  assert.doesNotMatch(south.stderr, /"node_away"/);
  assert.equal(north.stderr.match(/"node_away"/g)?.length, 1);
});

test('a copied data folder is refused while the node that it was copied from lives', { skip, timeout: 60_000 }, async (t) => {
  const cluster = await startCluster(t, { nodes: [own('north'), own('south')] });
  const south = cluster.nodes[1];
  await withState(cluster.ada, 'south', 'serving');
  const copyDir = path.join(temporaryFolder(t, 'catalyst-copy-'), 'data');
  cpSync(south.dataDir, copyDir, { recursive: true, filter: (file) => !file.endsWith('.sock') });
  const copy = new Catalyst({ dataDir: copyDir, config: south.config, env: { CATALYST_SECURITY__MASTER_KEY: cluster.masterKey } });
  t.after(() => copy.exit || copy.kill());
  copy.start();
  await until('the copy to give up', () => copy.exit);
  assert.match(copy.stderr, /another server \(127\.0\.0\.1:\d+\) runs as node [0-9a-f]{8}: a copied data folder\?/);
  assert.equal((await named(cluster.ada, 'south')).state, 'serving');

  // When the original has stopped, its copy may take its place.
  await south.stop();
  await copy.start().ready();
  await withState(cluster.ada, 'south', 'serving');
  assert.equal((await copy.stop()).code, 0);
  rmSync(copyDir, { recursive: true });
});
