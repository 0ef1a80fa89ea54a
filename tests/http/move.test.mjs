// move.test.mjs - a SQLite installation moved to PostgreSQL by the command, killed on the way, compared, and served from there.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { NO_BINARY, runCatalyst, temporaryFolder } from '../lib/catalyst.mjs';
import { scope } from '../lib/defer.mjs';
import { NO_MONTH } from '../lib/month.mjs';
import { moveMonth } from '../lib/moving.mjs';
import { NO_POSTGRES, sql, startPostgres } from '../lib/postgres.mjs';

const EXIT_USAGE = 2;
const EXIT_TRY_AGAIN = 75;
const EXIT_FAILED = 1;
const EXIT_LIMIT = 5;

describe('catalyst migrate to-postgres', { skip: NO_BINARY || NO_MONTH || NO_POSTGRES }, () => {
  const suite = scope();
  let postgres;
  before(async () => {
    postgres = await startPostgres(suite);
  });
  after(() => suite.end());

  test('a small month is moved under kills and served by two nodes', async (t) => {
    await moveMonth(t, postgres, {
      month: { calls: 3000, workspaces: 2, people: 2, projects: 6, changes: 30 },
      kills: [{ lines: 1 }, { lines: 3 }, { lines: 8 }, { lines: 8 }],
    });
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
