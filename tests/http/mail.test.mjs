// Mail: into the spool folder without a server.

import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { QUICK_PASSWORDS, owner } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst } from '../lib/catalyst.mjs';
import { mailTo } from '../lib/mail.mjs';

const skip = NO_BINARY;

test('without a mail server mails are files that only their owner can read', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config: { identity: QUICK_PASSWORDS } });
  const ada = await owner(catalyst);
  await ada.must(204, ada.post('/api/mail/test'));
  const mail = await mailTo(catalyst, 'ada@example.com', 'A test');
  assert.equal(mail.mode, 0o600);
  assert.equal(statSync(path.join(catalyst.dataDir, 'mail')).mode & 0o777, 0o700);
  assert.equal(mail.headers['auto-submitted'], 'auto-generated');
  assert.match(mail.headers['message-id'], /^<[0-9a-f-]{36}@127\.0\.0\.1>$/);
  assert.match(mail.headers.from, /^"Catalyst" <catalyst@127\.0\.0\.1>$/);
});
