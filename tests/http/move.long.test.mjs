// move.long.test.mjs - a month of a team: 300,000 calls and 20,000 events moved to PostgreSQL, killed at any moment.

import { test } from 'node:test';
import { NO_BINARY } from '../lib/catalyst.mjs';
import { NO_MONTH } from '../lib/month.mjs';
import { moveMonth } from '../lib/moving.mjs';
import { NO_POSTGRES, startPostgres } from '../lib/postgres.mjs';

test('a month of a team is moved under kills and served by two nodes', { skip: NO_BINARY || NO_MONTH || NO_POSTGRES }, async (t) => {
  await moveMonth(t, await startPostgres(t), {
    month: { calls: Number(process.env.CATALYST_MONTH_CALLS ?? 300_000), workspaces: 4, people: 8, projects: 40, changes: 4500, open: 50, unicodeStep: 1 },
    late: 5000,
    kills: [{ lines: 1 }, { lines: 3 }, { ms: 20 }, { ms: 300 }, { ms: 700 }, { ms: 400 }],
    tell: (text) => t.diagnostic(text),
  });
});
