// postgres.mjs - a private PostgreSQL (tests/lib/postgres.sh) that ends with the test, however that ends; tests on both
// engines.
//
// CATALYST_TEST_ENGINES=sqlite leaves out what is the same test on PostgreSQL, as tests/unit/store_fixture.h does.

import { execFile, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { defer } from './defer.mjs';
import { until, within } from './wait.mjs';

const SCRIPT = fileURLToPath(new URL('postgres.sh', import.meta.url));
const DEBIAN = '/usr/lib/postgresql';

const folders = [
  ...(process.env.PATH ?? '').split(':'),
  ...(existsSync(DEBIAN) ? readdirSync(DEBIAN).map((version) => path.join(DEBIAN, version, 'bin')) : []),
];

/** For node:test's `skip` option. */
export const NO_POSTGRES = folders.some((folder) => existsSync(path.join(folder, 'initdb')))
  ? false
  : 'no PostgreSQL server programs on this machine';

/** [name, why it cannot be, or false]: what a test that holds for any database goes through. */
export const ENGINES = [['SQLite', false], ['PostgreSQL', NO_POSTGRES]].filter(
  ([engine]) => process.env.CATALYST_TEST_ENGINES !== 'sqlite' || engine === 'SQLite',
);

/** The test on each engine: body(t, {database}), a fresh database's URL; undefined with SQLite. */
export function onEngines(name, options, body) {
  for (const [engine, missing] of ENGINES)
    test(`${name} (${engine})`, { ...options, skip: options.skip || missing }, async (t) =>
      body(t, { database: engine === 'PostgreSQL' ? await (await startPostgres(t)).database() : undefined }),
    );
}

/** Runs statements; their output as text, columns separated by |. */
export function sql(url, statements) {
  return new Promise((resolve, reject) => {
    const args = ['--no-psqlrc', '-qAt', '-v', 'ON_ERROR_STOP=1', '-d', url, '-c', statements];
    execFile('psql', args, { timeout: 20_000 }, (error, stdout, stderr) =>
      error ? reject(new Error(`psql: ${stderr}`)) : resolve(stdout.trim()),
    );
  });
}

/** A session of psql: run(statements) gives their output; its transaction stays open until it is told or ended. */
export function openSession(t, url) {
  const child = spawn('psql', ['--no-psqlrc', '-qAt', '-v', 'ON_ERROR_STOP=1', '-d', url], { stdio: ['pipe', 'pipe', 'pipe'] });
  let [out, errors] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (piece) => (out += piece));
  child.stderr.setEncoding('utf8').on('data', (piece) => (errors += piece));
  child.stdin.on('error', () => {});
  const ended = new Promise((resolve) => child.on('close', resolve));
  const end = () => {
    child.stdin.end();
    return within('psql to end', ended);
  };
  defer(t, end);
  let n = 0;
  return {
    end,
    async run(statements) {
      const mark = `--- ${++n} ---`;
      out = '';
      child.stdin.write(`${statements};\n\\echo '${mark}'\n`);
      await Promise.race([until(`psql to run ${statements.slice(0, 60)}`, () => out.includes(mark)), ended]);
      if (!out.includes(mark)) throw new Error(`psql: ${errors}`);
      return out.slice(0, out.indexOf(mark)).trim();
    },
  };
}

/**
 * Starts a server; database() makes a fresh database of it and gives its URL. stop(mode) (fast, smart, immediate) and start()
 * resolve when it is so; after a crash-like end (immediate) start() waits for the recovery.
 */
export async function startPostgres(t) {
  // The server lives until its standard input ends, so it ends with this process, too.
  const child = spawn(SCRIPT, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.on('close', resolve));
  defer(t, async () => {
    child.stdin.end();
    await within('PostgreSQL to stop', ended, 20_000);
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const { value: url } = await within('PostgreSQL to start', lines.next(), 30_000);
  if (!url) throw new Error(`${SCRIPT} ended with ${await ended}`);
  const tell = async (line) => {
    child.stdin.write(`${line}\n`);
    const { value } = await within(`PostgreSQL to ${line}`, lines.next(), 60_000);
    if (value !== line.split(' ')[0]) throw new Error(`${SCRIPT} said ${value} to ${line}`);
  };
  let n = 0;
  return {
    url,
    folder: new URL(url.replace('catalyst@/', 'catalyst@x/')).searchParams.get('host'),
    stop: (mode = 'fast') => tell(`stop ${mode}`),
    start: () => tell('start'),
    async database() {
      const name = `test${++n}`;
      await sql(url, `CREATE DATABASE ${name} TEMPLATE template0`);
      return url.replace('/postgres?', `/${name}?`);
    },
  };
}
