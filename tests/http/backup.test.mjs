// backup.test.mjs - migrate, backup and restore as commands, on both engines, beside a running server.

import assert from 'node:assert/strict';
import { appendFileSync, copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { MODELS, bodyOf, call } from '../lib/call.mjs';
import { NO_BINARY, runCatalyst, startCatalyst, startGateway, temporaryFolder } from '../lib/catalyst.mjs';
import { scope } from '../lib/defer.mjs';
import { ENGINES, sql, startPostgres } from '../lib/postgres.mjs';

const EXIT_CONFLICT = 1;
const EXIT_USAGE = 2;
const EXIT_REFUSED = 4;
const EXIT_TRY_AGAIN = 75;

for (const [engine, skip] of ENGINES) {
  describe(`the databases from the command line: ${engine}`, { skip: NO_BINARY || skip }, () => {
    const suite = scope();
    const isPostgres = engine === 'PostgreSQL';
    let postgres = null;
    before(async () => {
      if (isPostgres) postgres = await startPostgres(suite);
    });
    after(() => suite.end());

    /** A data folder, with a database of its own on PostgreSQL, and what runs commands on it. */
    async function place(t) {
      const dir = temporaryFolder(t);
      const url = isPostgres ? await postgres.database() : null;
      const env = url ? { CATALYST_DATABASE__URL: url } : {};
      return {
        dir,
        url,
        env,
        run: (...args) => runCatalyst([...args, '--data', dir], { env }),
      };
    }

    test('the schema is brought up once, and its state told', async (t) => {
      const p = await place(t);
      if (!isPostgres) {
        const none = await p.run('migrate', 'status');
        assert.equal(none.code, 1);
        assert.match(none.stderr, /no databases in .* yet/);
        assert.ok(!existsSync(path.join(p.dir, 'db')), 'asking makes nothing');
      }
      const up = await p.run('migrate', 'up');
      assert.equal(up.code, 0, up.stderr);
      assert.match(up.stdout, /0001_spine +\d{4}-/);
      const first = JSON.parse((await p.run('migrate', 'status', '--json')).stdout);
      assert.equal(first.engine, isPostgres ? 'postgresql' : 'sqlite');
      assert.ok(first.migrations.length > 0);
      assert.ok(first.migrations.every((m) => m.applied_at !== null && !m.is_changed));
      assert.equal((await p.run('migrate', 'up')).code, 0);
      const second = JSON.parse((await p.run('migrate', 'status', '--json')).stdout);
      assert.deepEqual(second, first);
      assert.ok(!existsSync(path.join(p.dir, 'backups')), 'nothing was changed, so nothing was backed up');
    });

    test('a backup beside a running server holds every finished call', async (t) => {
      const p = await place(t);
      assert.equal((await p.run('migrate', 'up')).code, 0);
      const scene = await startGateway(t, { dataDir: p.dir, env: p.env });
      for (let i = 0; i < 5; i++)
        assert.equal((await call(scene, 'chat', bodyOf('chat', { model: MODELS.chat }))).status, 200);
      const before = await scene.catalyst.requests();
      assert.equal(before.length, 5);

      const folder = path.join(temporaryFolder(t), 'backup');
      const made = await p.run('backup', folder);
      assert.equal(made.code, 0, made.stderr);
      assert.match(made.stdout, /Not in it/);
      const manifest = JSON.parse(readFileSync(path.join(folder, 'manifest.json'), 'utf8'));
      assert.equal(manifest.engine, isPostgres ? 'postgresql' : 'sqlite');
      for (const file of manifest.files) assert.equal(statSync(path.join(folder, file.path)).size, file.size);
      const names = manifest.files.map((f) => f.path);
      assert.ok(names.some((n) => n.startsWith('db/main.')));
      assert.ok(names.some((n) => n.startsWith('journal/')));
      assert.ok(!names.some((n) => /people|catalyst\.yaml|master|lock/.test(n)), names.join(' '));

      const other = await place(t);
      const put = await other.run('restore', folder);
      assert.equal(put.code, 0, put.stderr);
      const restored = await runCatalyst(['requests', '--json', '--data', other.dir], { env: other.env });
      const after = restored.stdout.split('\n').filter(Boolean).map((l) => JSON.parse(l));
      assert.deepEqual(after, before);
      const status = JSON.parse((await other.run('migrate', 'status', '--json')).stdout);
      assert.ok(status.migrations.every((m) => m.applied_at !== null));
      // The master key is kept elsewhere; without it the server refuses what it could not read.
      copyFileSync(path.join(p.dir, 'master.key'), path.join(other.dir, 'master.key'));
      await startCatalyst(t, { dataDir: other.dir, env: other.env });
    });

    test('what cannot be done is refused and says why', async (t) => {
      const p = await place(t);
      const folder = path.join(temporaryFolder(t), 'backup');
      assert.equal((await p.run('backup')).code, EXIT_USAGE);
      assert.equal((await p.run('restore')).code, EXIT_USAGE);
      assert.equal((await p.run('migrate', 'up')).code, 0);
      assert.equal((await p.run('backup', folder)).code, 0);
      const again = await p.run('backup', folder);
      assert.equal(again.code, EXIT_CONFLICT);
      assert.match(again.stderr, /is not empty/);
      const over = await p.run('restore', folder);
      assert.equal(over.code, EXIT_CONFLICT);
      assert.match(over.stderr, /already/);
      assert.equal((await p.run('migrate', 'rollback')).code, 1);

      const other = await place(t);
      await startCatalyst(t, { dataDir: other.dir, env: other.env });
      const held = await other.run('restore', folder);
      assert.equal(held.code, EXIT_TRY_AGAIN);
      assert.match(held.stderr, /in use by another server/);

      const third = await place(t);
      const file = readdirSync(path.join(folder, 'db'))[0];
      appendFileSync(path.join(folder, 'db', file), 'x');
      const damaged = await third.run('restore', folder);
      assert.equal(damaged.code, 1);
      assert.match(damaged.stderr, /SHA-256 differs/);
    });

    // The unit tests do the same on SQLite, whose files no program here can change.
    if (isPostgres) {
      test('a schema of a newer release is refused by the server and kept by a backup', async (t) => {
        const p = await place(t);
        assert.equal((await p.run('migrate', 'up')).code, 0);
        await sql(
          p.url,
          "INSERT INTO main.schema_migrations VALUES (9999, '9999_future', '\\x00', 1764000000000000)",
        );
        const up = await p.run('migrate', 'up');
        assert.equal(up.code, EXIT_USAGE);
        assert.match(up.stderr, /newer release/);
        const folder = path.join(temporaryFolder(t), 'backup');
        assert.equal((await p.run('backup', folder)).code, 0);
      });
    }

    test('a rollback needs a yes and a backup of a migration', async (t) => {
      const p = await place(t);
      assert.equal((await p.run('migrate', 'up')).code, 0);
      const none = await p.run('migrate', 'rollback', '--yes');
      assert.equal(none.code, 1);
      assert.match(none.stderr, /no migration has made a backup/);
      // As if the last start had migrated: what it would have left.
      const folder = path.join(p.dir, 'backups', '20260101T000000Z-before-0002_x');
      mkdirSync(path.join(p.dir, 'backups'));
      assert.equal((await p.run('backup', folder)).code, 0);
      const unasked = await p.run('migrate', 'rollback');
      assert.equal(unasked.code, EXIT_REFUSED);
      assert.match(unasked.stderr, /--yes/);
      const done = await p.run('migrate', 'rollback', '--yes');
      assert.equal(done.code, 0, done.stderr);
      assert.match(done.stdout, /before-rollback/);
      assert.equal((await p.run('migrate', 'status')).code, 0);
    });
  });
}

test('a wrong database URL is told without the password', { skip: NO_BINARY }, async (t) => {
  const dir = temporaryFolder(t);
  for (const url of ['postgresql://u:hunter2@[x', 'postgresql://u:hunter2@/x?host=/nowhere']) {
    const answer = await runCatalyst(['migrate', 'status', '--data', dir], { env: { CATALYST_DATABASE__URL: url } });
    assert.notEqual(answer.code, 0);
    assert.doesNotMatch(answer.stderr + answer.stdout, /hunter2/);
  }
  const shown = await runCatalyst(['config', 'show', '--data', dir], {
    env: { CATALYST_DATABASE__URL: 'postgresql://u:hunter2@h/x' },
  });
  assert.doesNotMatch(shown.stdout, /hunter2/);
});
