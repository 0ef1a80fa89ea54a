// state.mjs - everything that the main database holds, as text to compare: to prove that a refusal changed nothing.
//
// Left out is what ticks by itself, is made when it is first needed, or counts refusals: the log with its trees and heads, keys to sign
// with, counters of sign-ins, answers kept for Idempotency-Key, times of last use.

import { query } from './rebuild.mjs';

const TABLES_LEFT_OUT = /^(events|event_|audit_(trees|tiles|heads|anchors|breaks)$|signing_keys|sign_in_counters|schema_migrations|idempotency|api_answers|api_idempotency|sqlite_|job_nodes|nodes|leases)/;
const COLUMNS_LEFT_OUT = /^(last_|lease|heartbeat)/;

const composed = new WeakMap();

/** One statement that gives a row of text per table. */
async function compose(catalyst) {
  const isPostgres = Boolean(catalyst.databaseUrl);
  const columns = await query(
    catalyst,
    isPostgres
      ? `SELECT table_name AS t, column_name AS c FROM information_schema.columns WHERE table_schema = 'main' ORDER BY 1, ordinal_position`
      : `SELECT m.name AS t, p.name AS c FROM sqlite_master m JOIN pragma_table_info(m.name) p WHERE m.type = 'table' ORDER BY 1, p.cid`,
  );
  const tables = new Map();
  for (const { t, c } of columns) {
    if (TABLES_LEFT_OUT.test(t)) continue;
    if (!tables.has(t)) tables.set(t, []);
    if (!COLUMNS_LEFT_OUT.test(c)) tables.get(t).push(c);
  }
  return [...tables]
    .map(([t, all]) => {
      const row = isPostgres
        ? `concat_ws(' | ', ${all.map((c) => `coalesce("${c}"::text, 'NULL')`).join(', ')})`
        : all.map((c) => `quote("${c}")`).join(" || ' | ' || ");
      const list = isPostgres ? `string_agg(${row}, E'\\n' ORDER BY ${row})` : `group_concat(${row}, char(10))`;
      return `SELECT '${t}' AS name, (SELECT ${list} FROM "${t}") AS content`;
    })
    .join(' UNION ALL ');
}

/** {table: lines} */
export async function stateOf(catalyst) {
  if (!composed.has(catalyst)) composed.set(catalyst, await compose(catalyst));
  const rows = await query(catalyst, composed.get(catalyst));
  return Object.fromEntries(rows.map((r) => [r.name, (r.content ?? '').split('\n').sort()]));
}

/** What differs, in words; empty when nothing does. */
export function difference(before, after) {
  const words = [];
  for (const table of Object.keys(before)) {
    const [a, b] = [new Set(before[table]), new Set(after[table])];
    for (const row of before[table]) if (!b.has(row)) words.push(`${table}: gone: ${row.slice(0, 300)}`);
    for (const row of after[table]) if (!a.has(row)) words.push(`${table}: new: ${row.slice(0, 300)}`);
  }
  return words.join('\n');
}
