// moving.mjs - a month moved from SQLite to PostgreSQL: killed on the way, compared, served from there by two nodes.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { BINARY, runCatalyst, startCatalyst, temporaryFolder } from './catalyst.mjs';
import { answersOf, exportOf, sqlite, startMonth, writeCalls } from './month.mjs';
import { sql } from './postgres.mjs';
import { readLog, sealedLog } from './rebuild.mjs';
import { until } from './wait.mjs';

const EXIT_USAGE = 2;
const EXIT_TRY_AGAIN = 75;

async function hashOf(file) {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

/** Runs the move and kills it when it has said so many lines, or some milliseconds after the first one; whether it was killed. */
function isKilled(dataDir, url, { lines = Infinity, ms }) {
  return new Promise((resolve) => {
    let seen = 0;
    let timer;
    const child = spawn(BINARY, ['migrate', 'to-postgres', '--data', dataDir, '--to', url], { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.on('data', (piece) => {
      seen += piece.toString().split('\n').length - 1;
      if (seen >= lines) child.kill('SIGKILL');
      if (ms !== undefined) timer ??= setTimeout(() => child.kill('SIGKILL'), ms);
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve(signal === 'SIGKILL');
    });
  });
}

/**
 * Makes a month, moves it and holds both sides against each other. kills: {lines} or {ms} of each; tell: what was measured, as texts.
 */
export async function moveMonth(t, postgres, { month: options, kills, late = 250, tell = () => {} }) {
  const began = Date.now();
  const month = await startMonth(t, options);
  tell(`the month was made in ${(Date.now() - began) / 1000} s`);
  const { dataDir, catalyst } = month;
  const wanted = [];
  for (const caller of month.callers) wanted.push({ answers: await answersOf(month, caller), export: await exportOf(caller) });
  const url = await postgres.database();
  const refused = await runCatalyst(['migrate', 'to-postgres', '--data', dataDir, '--to', url]);
  assert.equal(refused.code, EXIT_TRY_AGAIN);
  assert.match(refused.stderr, /in use by another server/);
  await catalyst.stop();
  // What the drain has not seen yet belongs to a workspace whose budgets nobody compares.
  const lateKey = { ...month.keys[0], workspace: '018f0000-0000-7000-8000-000000000001', project: null, user: null, id: 'ab'.repeat(16) };
  await writeCalls(dataDir, { keys: [lateKey], n: late, fromUs: month.toUs + 1e9, toUs: month.toUs + 2e9, open: 2 });
  await sqlite(
    dataDir,
    'usage',
    `INSERT INTO rate_buckets VALUES ('key', zeroblob(16), 'requests', -9223372036854775808), ('key', zeroblob(16), 'tokens', 9223372036854775807)`,
    { writes: true },
  );
  const log = await readLog(catalyst);
  const files = readdirSync(path.join(dataDir, 'db')).filter((f) => f.endsWith('.db'));
  const hashAll = () => Promise.all(files.map((f) => hashOf(path.join(dataDir, 'db', f))));
  const hashes = await hashAll();
  let n = 0;
  for (const kill of kills) {
    if (!(await isKilled(dataDir, url, kill))) break;
    n++;
  }
  tell(`${n} times killed`);
  assert.ok(n === kills.length || kills[n].ms, `${n} kills`); // a fast machine may come to the end before a time has passed

  const move = (...flags) => runCatalyst(['migrate', 'to-postgres', '--data', dataDir, '--to', url, '--json', ...flags], { deadline_ms: 600_000 });
  if (n === kills.length) {
    const half = await runCatalyst(['serve', '--data', dataDir, '--listen', '127.0.0.1:0'], { env: { CATALYST_DATABASE__URL: url } });
    assert.equal(half.code, EXIT_USAGE, half.stderr);
    assert.match(half.stderr, /being filled by a move/);
    const old = await runCatalyst(['serve', '--data', dataDir, '--listen', '127.0.0.1:0']);
    assert.equal(old.code, EXIT_USAGE);
    assert.match(old.stderr, /are being moved to PostgreSQL/);
    const rest = await move();
    assert.equal(rest.code, 0, rest.stderr);
    const { went_on, rows_copied, copy_us } = JSON.parse(rest.stdout);
    assert.ok(went_on);
    tell(`the rest: ${rows_copied} rows in ${copy_us / 1e6} s`);
  }
  const moved = await move('--check-only');
  assert.equal(moved.code, 0, moved.stderr);
  const report = JSON.parse(moved.stdout);
  tell(`${report.rows} rows compared in ${report.compare_us / 1e6} s`);
  assert.equal(report.differences, 0);
  const rows = (name) => report.tables.find((x) => x.table === name).rows;
  assert.equal(rows('calls'), month.calls);
  assert.equal(rows('events'), log.length);
  assert.deepEqual(await hashAll(), hashes, 'the files of SQLite are as they were');
  // What the move found stands in the marker, and is what is found again.
  const marker = JSON.parse(readFileSync(path.join(dataDir, 'MOVED'), 'utf8'));
  assert.equal(marker.state, 'moved');
  assert.deepEqual(
    marker.tables,
    report.tables.map(({ differences: _, ...table }) => table),
  );

  // Without the new URL nothing starts: there are no two truths.
  const forgot = await runCatalyst(['serve', '--data', dataDir, '--listen', '127.0.0.1:0']);
  assert.equal(forgot.code, EXIT_USAGE);
  assert.match(forgot.stderr, /were moved to PostgreSQL .*set database\.url/);
  const elsewhere = await runCatalyst(['serve', '--data', dataDir, '--listen', '127.0.0.1:0'], { env: { CATALYST_DATABASE__URL: await postgres.database() } });
  assert.equal(elsewhere.code, EXIT_USAGE);
  assert.match(elsewhere.stderr, /empty PostgreSQL database, but .*MOVED says/);

  const masterKey = readFileSync(path.join(dataDir, 'master.key'), 'utf8').trim();
  const config = { ...month.config, database: { url } };
  const first = await startCatalyst(t, { dataDir, config });
  const folder = temporaryFolder(t);
  writeFileSync(path.join(folder, 'master.key'), masterKey, { mode: 0o600 });
  const second = await startCatalyst(t, { dataDir: folder, config });
  await until(
    'what the journal had left',
    async () => (await sql(url, 'SELECT COUNT(*) FROM usage.calls')) === String(month.calls + late + 2),
    { deadline_ms: 60_000 },
  );
  tell(`${log.length} events, ${rows('event_boxes')} boxes`);
  const source = { databaseUrl: url };
  const after = (await sealedLog(source)).slice(0, log.length);
  assert.deepEqual(
    after.map((e) => [e.number, e.workspaceNumber, e.bytes.toString('hex')]),
    log.map((e) => [e.number, e.workspaceNumber, e.bytes.toString('hex')]),
    'numbers and bytes of events',
  );
  for (const node of [first, second])
    for (const [i, caller] of month.callers.entries())
      assert.deepEqual(await answersOf(month, caller.with({ origin: node.origin })), wanted[i].answers);
  for (const [i, caller] of month.callers.entries())
    assert.deepEqual(await exportOf(caller.with({ origin: first.origin })), wanted[i].export);
  // And it goes on: a change by either node, a number after the last.
  for (const node of [first, second]) {
    const at = month.ada.with({ origin: node.origin });
    await at.must(201, at.post('/api/projects', { name: `after ${node.port}` }));
  }
  await sealedLog(source);
}
