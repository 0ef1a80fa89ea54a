// cluster_backup.test.mjs - a backup of what two nodes share, made at one of them under load; put into another PostgreSQL, and what the other node and one
// that never comes back had not handed over.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { MODELS, bodyOf, call } from '../lib/call.mjs';
import { NO_BINARY, runCatalyst, startCatalyst, temporaryFolder } from '../lib/catalyst.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { NO_POSTGRES, sql } from '../lib/postgres.mjs';
import { until } from '../lib/wait.mjs';

const EXIT_CONFLICT = 1;
const CALLS = 30;

/** Calls at a node, one after another, until stop(); how many were answered. */
function load(scene) {
  let runs = true;
  let n = 0;
  const end = (async () => {
    while (runs) if ((await call(scene, 'chat', bodyOf('chat', { model: MODELS.chat }))).status === 200) n++;
  })();
  return {
    stop: async () => {
      runs = false;
      await end;
      return n;
    },
  };
}

/** Environment and words of programs that write down how they were called, in front of the real ones. */
function watched(t) {
  const folder = temporaryFolder(t);
  for (const name of ['pg_dump', 'pg_restore', 'psql'])
    writeFileSync(
      path.join(folder, name),
      `#!/bin/sh\nprintf '%s ' ${name} "$@" >>${folder}/said; echo >>${folder}/said\nPATH=\${PATH#*:} exec ${name} "$@"\n`,
      { mode: 0o755 },
    );
  return { PATH: `${folder}:${process.env.PATH}`, said: () => readFileSync(path.join(folder, 'said'), 'utf8') };
}

test('a backup at one of two nodes', { skip: NO_BINARY || NO_POSTGRES }, async (t) => {
  const cluster = await startCluster(t, { links: true });
  const key = await cluster.newKey({ budget_usd: '50' });
  const [a, b] = cluster.nodes;
  for (const i of [0, 1])
    for (let n = 0; n < CALLS; n++)
      assert.equal((await call(cluster.scene(i, key), 'chat', bodyOf('chat', { model: MODELS.chat }))).status, 200);
  await cluster.drained(2 * CALLS);
  // From now on the second node's calls stay in its journal. A third one that is gone for good holds a slice of a budget.
  cluster.cutNode(1);
  let late = 0;
  for (; late < 7; late++)
    if ((await call(cluster.scene(1, key), 'chat', bodyOf('chat', { model: MODELS.chat }))).status !== 200) break;
  assert.ok(late > 0, 'a node that is cut off goes on');
  const gone = '11'.repeat(16);
  await cluster.sql(
    `INSERT INTO usage.usage_nodes (node) VALUES ('${gone}');
     INSERT INTO usage.budget_leases (scope, scope_id, period, start_us, node, held_nanousd, wanted_nanousd, wanted_us)
       SELECT 3, '${key.id}', 3, 0, no, 1000000000, 0, 0 FROM usage.usage_nodes WHERE node = '${gone}'`,
  );

  const busy = load(cluster.scene(0, key));
  const folder = path.join(temporaryFolder(t), 'backup');
  const programs = watched(t);
  const url = `${cluster.url}&password=hunter2`; // the test's server asks for none
  const env = { CATALYST_DATABASE__URL: url, CATALYST_SECURITY__MASTER_KEY: cluster.masterKey, PATH: programs.PATH };
  const made = await runCatalyst(['backup', folder, '--data', a.dataDir], { env });
  const n = await busy.stop();
  assert.equal(made.code, 0, made.stderr);
  assert.match(made.stdout, /what 2 other nodes have not drained yet/);
  const manifest = JSON.parse(readFileSync(path.join(folder, 'manifest.json'), 'utf8'));
  const idOf = (node) => readFileSync(path.join(node.dataDir, 'journal', 'node'), 'utf8').trim();
  const plain = (id) => id.replaceAll('-', '');
  assert.equal(plain(manifest.journal_of), idOf(a));
  assert.deepEqual(
    manifest.nodes.map((x) => [plain(x.id), x.has_journal_here]).sort(),
    [[idOf(a), true], [idOf(b), false], [gone, false]].sort(),
  );

  // Not over what the nodes use.
  const over = await runCatalyst(['restore', folder, '--data', temporaryFolder(t)], { env });
  assert.equal(over.code, EXIT_CONFLICT);
  assert.match(over.stderr, /holds the schemas .* already/);

  const other = await cluster.postgres.database();
  const place = temporaryFolder(t);
  const there = { ...env, CATALYST_DATABASE__URL: `${other}&password=hunter2` };
  const put = await runCatalyst(['restore', folder, '--data', place], { env: there });
  assert.equal(put.code, 0, put.stderr);
  assert.doesNotMatch(programs.said() + put.stdout + put.stderr + made.stdout + made.stderr, /hunter2/, 'no password where others read it');
  assert.match(programs.said(), /^pg_dump .*--snapshot=/m);
  const count = async () => Number(await sql(other, 'SELECT COUNT(*) FROM usage.calls'));
  const restored = await startCatalyst(t, { dataDir: place, config: { ...a.config, database: { url: other } }, env: { CATALYST_SECURITY__MASTER_KEY: cluster.masterKey } });
  await until('the journal of the backup', async () => (await count()) >= 2 * CALLS);
  const before = await count();
  assert.ok(before <= 2 * CALLS + n, 'no call twice');
  const once = await sql(other, 'SELECT COUNT(DISTINCT request_id) FROM usage.calls');
  assert.equal(Number(once), before);

  // What the other node had not drained, from its folder; and what the lost one holds, from all that is left of it.
  await b.kill();
  const imported = await runCatalyst(['journal', 'import', b.dataDir, '--data', place, '--json'], { env: there });
  assert.equal(imported.code, 0, imported.stderr);
  assert.equal(JSON.parse(imported.stdout).calls, late);
  assert.equal(await count(), before + late);
  const held = (node) =>
    sql(other, `SELECT COALESCE(SUM(held_nanousd), 0) FROM usage.budget_leases l JOIN usage.usage_nodes n ON n.no = l.node WHERE n.node = '${node}'`);
  assert.equal(await held(gone), '1000000000', 'it counts as spent');
  const lost = path.join(temporaryFolder(t), 'lost');
  mkdirSync(path.join(lost, 'journal'), { recursive: true });
  writeFileSync(path.join(lost, 'journal', 'node'), `${gone}\n`);
  const freed = await runCatalyst(['journal', 'import', lost, '--data', place, '--json'], { env: there });
  assert.equal(freed.code, 0, freed.stderr);
  assert.equal(JSON.parse(freed.stdout).given_back_nanousd, 1_000_000_000);
  assert.equal(await held(gone), '0');
  assert.equal(await held(idOf(b)), '0');
  assert.equal((await call({ catalyst: restored, key: key.key }, 'chat', bodyOf('chat', { model: MODELS.chat }))).status, 200);
});
