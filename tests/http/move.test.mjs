// move.test.mjs - a SQLite installation moved to PostgreSQL by the command, killed on the way, compared, and served from there.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, after, describe, test } from 'node:test';
import { BINARY, NO_BINARY, runCatalyst, startCatalyst, temporaryFolder } from '../lib/catalyst.mjs';
import { scope } from '../lib/defer.mjs';
import { NO_MONTH, answersOf, exportOf, sqlite, startMonth, writeCalls } from '../lib/month.mjs';
import { NO_POSTGRES, sql, startPostgres } from '../lib/postgres.mjs';
import { readLog, sealedLog } from '../lib/rebuild.mjs';
import { until } from '../lib/wait.mjs';

const EXIT_USAGE = 2;
const EXIT_TRY_AGAIN = 75;
const EXIT_FAILED = 1;
const EXIT_LIMIT = 5;

const hashOf = (file) => createHash('sha256').update(readFileSync(file)).digest('hex');

/** Runs the move and kills it when it has said so many lines; whether it was killed. */
function killedAfter(dataDir, url, lines) {
  return new Promise((resolve) => {
    let seen = 0;
    const child = spawn(BINARY, ['migrate', 'to-postgres', '--data', dataDir, '--to', url], { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.on('data', (piece) => {
      seen += piece.toString().split('\n').length - 1;
      if (seen >= lines) child.kill('SIGKILL');
    });
    child.on('close', (code, signal) => resolve(signal === 'SIGKILL'));
  });
}

describe('catalyst migrate to-postgres', { skip: NO_BINARY || NO_MONTH || NO_POSTGRES }, () => {
  const suite = scope();
  let postgres;
  before(async () => {
    postgres = await startPostgres(suite);
  });
  after(() => suite.end());

  test('a small month is moved under kills and served by two nodes', async (t) => {
    const month = await startMonth(t, { calls: 3000, workspaces: 2, people: 2, projects: 6, changes: 30 });
    const { dataDir, catalyst } = month;
    const wanted = [];
    for (const caller of month.callers) wanted.push({ answers: await answersOf(month, caller), export: await exportOf(caller) });
    const url = await postgres.database();
    const refused = await runCatalyst(['migrate', 'to-postgres', '--data', dataDir, '--to', url]);
    assert.equal(refused.code, EXIT_TRY_AGAIN);
    assert.match(refused.stderr, /in use by another server/);
    await catalyst.stop();
    // What the drain has not seen yet belongs to a workspace whose budgets nobody compares.
    const late = { ...month.keys[0], workspace: '018f0000-0000-7000-8000-000000000001', project: null, user: null, id: 'ab'.repeat(16) };
    await writeCalls(dataDir, { keys: [late], n: 250, fromUs: month.toUs + 1e9, toUs: month.toUs + 2e9, open: 2 });
    await sqlite(
      dataDir,
      'usage',
      `INSERT INTO rate_buckets VALUES ('key', zeroblob(16), 'requests', -9223372036854775808), ('key', zeroblob(16), 'tokens', 9223372036854775807)`,
      { writes: true },
    );
    const log = await readLog(catalyst);
    const files = readdirSync(path.join(dataDir, 'db')).filter((f) => f.endsWith('.db'));
    const hashes = files.map((f) => hashOf(path.join(dataDir, 'db', f)));
    let kills = 0;
    for (const lines of [1, 3, 8, 8]) kills += await killedAfter(dataDir, url, lines);
    assert.equal(kills, 4);

    const half = await runCatalyst(['serve', '--data', dataDir], { env: { CATALYST_DATABASE__URL: url } });
    assert.equal(half.code, EXIT_USAGE);
    assert.match(half.stderr, /being filled by a move/);
    const old = await runCatalyst(['serve', '--data', dataDir]);
    assert.equal(old.code, EXIT_USAGE);
    assert.match(old.stderr, /are being moved to PostgreSQL/);

    const moved = await runCatalyst(['migrate', 'to-postgres', '--data', dataDir, '--to', url, '--json']);
    assert.equal(moved.code, 0, moved.stderr);
    const report = JSON.parse(moved.stdout);
    assert.equal(report.differences, 0);
    assert.equal(report.went_on, true);
    const rows = (name) => report.tables.find((x) => x.table === name).rows;
    assert.equal(rows('calls'), month.calls);
    assert.equal(rows('events'), log.length);
    assert.deepEqual(files.map((f) => hashOf(path.join(dataDir, 'db', f))), hashes, 'the files of SQLite are as they were');
    const again = await runCatalyst(['migrate', 'to-postgres', '--data', dataDir, '--to', url, '--check-only', '--json']);
    assert.deepEqual(JSON.parse(again.stdout).tables, report.tables);

    // Without the new URL nothing starts: there are no two truths.
    const forgot = await runCatalyst(['serve', '--data', dataDir]);
    assert.equal(forgot.code, EXIT_USAGE);
    assert.match(forgot.stderr, /were moved to PostgreSQL .*set database\.url/);
    const elsewhere = await runCatalyst(['serve', '--data', dataDir], { env: { CATALYST_DATABASE__URL: await postgres.database() } });
    assert.equal(elsewhere.code, EXIT_USAGE);
    assert.match(elsewhere.stderr, /empty PostgreSQL database, but .*MOVED says/);

    const masterKey = readFileSync(path.join(dataDir, 'master.key'), 'utf8').trim();
    const config = { ...month.config, database: { url } };
    const first = await startCatalyst(t, { dataDir, config });
    const folder = temporaryFolder(t);
    writeFileSync(path.join(folder, 'master.key'), masterKey, { mode: 0o600 });
    const second = await startCatalyst(t, { dataDir: folder, config });
    await until('what the journal had left', async () => (await sql(url, 'SELECT COUNT(*) FROM usage.calls')) === String(month.calls + 252));
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
  });

  test('what cannot be moved is refused in words', async (t) => {
    const dir = temporaryFolder(t);
    const none = await runCatalyst(['migrate', 'to-postgres', '--data', dir, '--to', 'postgresql://u@/x']);
    assert.equal(none.code, EXIT_FAILED);
    assert.match(none.stderr, /no databases in/);
    assert.deepEqual(readdirSync(dir), []);
    assert.equal((await runCatalyst(['migrate', 'up', '--data', dir])).code, 0);
    const where = await runCatalyst(['migrate', 'to-postgres', '--data', dir]);
    assert.equal(where.code, EXIT_USAGE);
    assert.match(where.stderr, /say where to/);
    const secret = await runCatalyst(['migrate', 'to-postgres', '--data', dir, '--to', 'postgresql://u:hunter2@/x']);
    assert.equal(secret.code, EXIT_USAGE);
    assert.doesNotMatch(secret.stderr, /hunter2/);
    const nobody = await runCatalyst(['migrate', 'to-postgres', '--data', dir], {
      env: { CATALYST_DATABASE__URL: 'postgresql://u:hunter2@/x?host=/nowhere' },
    });
    assert.equal(nobody.code, EXIT_TRY_AGAIN);
    assert.doesNotMatch(nobody.stderr, /hunter2/);
    assert.ok(!existsSync(path.join(dir, 'MOVED')), 'nothing has begun');
    const url = await postgres.database();
    await sql(
      url,
      `CREATE FUNCTION full() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no space' USING ERRCODE = '53100'; END $$;
       CREATE EVENT TRIGGER full_disk ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION full()`,
    );
    const full = await runCatalyst(['migrate', 'to-postgres', '--data', dir, '--to', url]);
    assert.equal(full.code, EXIT_LIMIT);
    assert.match(full.stderr, /the disk of PostgreSQL is full/);
    await sql(url, 'DROP EVENT TRIGGER full_disk');
    assert.equal((await runCatalyst(['migrate', 'to-postgres', '--data', dir, '--to', url])).code, 0);
    rmSync(path.join(dir, 'MOVED'));
    assert.equal((await runCatalyst(['migrate', 'status', '--data', dir])).code, 0, 'SQLite was gone back to');
    const twice = await runCatalyst(['migrate', 'to-postgres', '--data', dir, '--to', url]);
    assert.equal(twice.code, EXIT_FAILED);
    assert.match(twice.stderr, /is not empty/);
  });
});
