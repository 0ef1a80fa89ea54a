// journal.long.test.mjs - the same as the short one, a hundred times.

import { test } from 'node:test';
import { NO_BINARY } from '../lib/catalyst.mjs';
import { killAgainAndAgain } from '../lib/kills.mjs';

test('kill -9 at random moments under load, again and again', { skip: NO_BINARY, timeout: 1_200_000 }, (t) =>
  killAgainAndAgain(t, { kills: Number(process.env.CATALYST_KILLS ?? 100) }),
);
