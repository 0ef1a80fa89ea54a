// rebuild.mjs - reads the log out of the database itself, checks that it is whole, and makes from it alone what every
// resource must look like.
//
// Nothing personal is opened: a personal member is {commitment: "…"} in the log, and differs from event to event.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { promisify } from 'node:util';
import { until } from './wait.mjs';

const run = promisify(execFile);

/** Rows of a query as objects; columns must be named. On SQLite and, with a URL, on PostgreSQL. */
export async function query(catalyst, sql) {
  if (catalyst.databaseUrl) {
    const wrapped = `SELECT coalesce(json_agg(x), '[]') FROM (${sql}) AS x`;
    const { stdout } = await run('psql', ['-X', '-At', '-c', 'SET search_path TO main', '-c', wrapped, catalyst.databaseUrl], {
      maxBuffer: 256 << 20,
    });
    return JSON.parse(stdout.split('\n').filter((l) => l !== 'SET').join('\n'));
  }
  const file = path.join(catalyst.dataDir, 'db', 'main.db');
  const { stdout } = await run('sqlite3', ['-readonly', '-json', '-cmd', '.timeout 5000', file, sql], { maxBuffer: 256 << 20 });
  return stdout.trim() === '' ? [] : JSON.parse(stdout);
}

/** Statements that change the main database beside the server: for what else only time would do. */
export async function change(catalyst, ...statements) {
  const sql = statements.join('; ');
  if (catalyst.databaseUrl) return void (await run('psql', ['-X', '-q', '-c', 'SET search_path TO main', '-c', sql, catalyst.databaseUrl]));
  await run('sqlite3', ['-cmd', '.timeout 5000', path.join(catalyst.dataDir, 'db', 'main.db'), sql]);
}

/** The sealed log: [{number, workspaceNumber, bytes, event}], oldest first. Throws when it has a gap or a wrong hash. */
export async function readLog(catalyst) {
  const hex = catalyst.databaseUrl ? (c) => `encode(${c}, 'hex')` : (c) => `lower(hex(${c}))`;
  const rows = await query(
    catalyst,
    `SELECT number, workspace_number, ${hex('bytes')} AS bytes, ${hex('leaf')} AS leaf FROM events WHERE number IS NOT NULL ORDER BY number`,
  );
  const perWorkspace = new Map();
  return rows.map((row, i) => {
    const bytes = Buffer.from(row.bytes, 'hex');
    const event = JSON.parse(bytes.toString('utf8'));
    if (row.number !== i + 1) throw new Error(`event ${i + 1} of the log has the number ${row.number}`);
    const leaf = createHash('sha256').update(Buffer.concat([Buffer.from([0]), bytes])).digest('hex');
    if (leaf !== row.leaf) throw new Error(`event ${row.number} does not have the hash of its bytes`);
    if (bytes.length > 8192) throw new Error(`event ${row.number} has ${bytes.length} bytes`);
    if (event.workspace === null) {
      if (row.workspace_number !== 0) throw new Error(`event ${row.number} of the instance counts for a workspace`);
    } else {
      const n = (perWorkspace.get(event.workspace) ?? 0) + 1;
      perWorkspace.set(event.workspace, n);
      if (row.workspace_number !== n) throw new Error(`event ${row.number} has the number ${row.workspace_number} in its workspace, not ${n}`);
    }
    return { number: row.number, workspaceNumber: row.workspace_number, bytes, event };
  });
}

/** The log once everything that was written is sealed. */
export async function sealedLog(catalyst) {
  await until('the log to be sealed', async () => (await query(catalyst, 'SELECT COUNT(*) AS n FROM events WHERE number IS NULL'))[0].n == 0);
  return readLog(catalyst);
}

const isCommitment = (v) => v !== null && typeof v === 'object' && !Array.isArray(v) && typeof v.commitment === 'string';

/** Whether two values are the same as far as the log tells: commitments only say that there is one. */
export function isSame(a, b) {
  if (isCommitment(a) || isCommitment(b)) return isCommitment(a) === isCommitment(b) || a === undefined || b === undefined;
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return a === b;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every((k) => isSame(a[k], b[k]));
}

/**
 * What each resource is by the log alone: {type: {id: members}}. Throws where an event says of the state before it what
 * the events before it do not say.
 */
export function rebuild(log) {
  const state = {};
  for (const { number, event } of log) {
    const { before, after, resource } = event;
    if ((before === null && after === null) || event.status !== 'success') continue;
    // A member is one in each workspace; everything else has an id of its own.
    const id = resource.type === 'member' ? `${event.workspace}/${resource.id}` : resource.id;
    const all = (state[resource.type] ??= {});
    const present = all[id];
    const where = `event ${number} (${event.type} of ${id})`;
    if (before === null && present) throw new Error(`${where} creates what is there already`);
    if (before !== null && !present) throw new Error(`${where} changes what is not there`);
    for (const [name, value] of Object.entries(before ?? {}))
      if (!isSame(present[name], value))
        throw new Error(`${where}: ${name} was ${JSON.stringify(present[name])}, not ${JSON.stringify(value)}`);
    if (after === null) delete all[id];
    else all[id] = { ...present, ...after };
  }
  return state;
}

/**
 * Throws unless the resource as the API shows it agrees with the log. Members that the log does not keep (ticking or
 * derived ones) are named in `except`; personal ones are only looked for.
 */
export function mustAgree(shown, rebuilt, except = []) {
  if (!rebuilt) throw new Error(`the log knows nothing of ${JSON.stringify(shown)}`);
  for (const [name, value] of Object.entries(shown)) {
    if (except.includes(name)) continue;
    if (!(name in rebuilt)) throw new Error(`the log does not know ${name} of ${JSON.stringify(shown)}`);
    if (isCommitment(rebuilt[name])) continue;
    if (!isSame(value, rebuilt[name]))
      throw new Error(`${name} is ${JSON.stringify(value)}, by the log ${JSON.stringify(rebuilt[name])}`);
  }
}
