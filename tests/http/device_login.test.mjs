// Device login (RFC 8628): a program without a browser is let in by a person who types its code; nobody guesses codes, and nobody
// gets what another was let in for.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Caller, QUICK_PASSWORDS, newMember, owner } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst } from '../lib/catalyst.mjs';
import { scope } from '../lib/defer.mjs';
import { query, sealedLog } from '../lib/rebuild.mjs';
import { bearer, refresh } from '../lib/token.mjs';

describe('device login', { skip: NO_BINARY }, () => {
  const suite = scope();
  let catalyst, ada, nobody;
  before(async () => {
    catalyst = await startCatalyst(suite, { config: { identity: QUICK_PASSWORDS, api: { rate_per_minute: 0, rate_per_address_per_minute: 0 } } });
    ada = await owner(catalyst);
    nobody = new Caller(catalyst.origin);
  });
  after(() => suite.end());
  /** As if time had passed. */
  const change = (sql) => execFileSync('sqlite3', ['-cmd', '.timeout 5000', path.join(catalyst.dataDir, 'db', 'main.db'), sql]);
  const begin = (body = {}) => nobody.must(200, nobody.post('/api/auth/device', { client: 'catalyst on box', ...body }));
  const poll = (d, more = {}) => nobody.post('/api/auth/device/token', { device_code: d.device_code, ...more });
  const at = (d) => `/api/auth/device/${d.user_code}`;
  const approve = (person, d, more = {}) => person.post(at(d), { approve: true, workspace_id: person.workspace, ...more });

  test('a device shows a code, a person lets it in, and it gets tokens once', async () => {
    const d = await begin();
    assert.match(d.user_code, /^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
    assert.equal(d.verification_uri, `${catalyst.origin}/device`);
    assert.equal(d.verification_uri_complete, undefined);
    const waiting = await poll(d);
    assert.equal(waiting.status, 400);
    assert.ok(['authorization_pending', 'slow_down'].includes(waiting.json.error), waiting.text);
    assert.equal((await poll(d)).json.error, 'slow_down');
    // However it is typed.
    const seen = await ada.must(200, ada.get(`/api/auth/device/${d.user_code.toLowerCase().replace('-', '')}`));
    assert.equal(seen.client, 'catalyst on box');
    assert.equal(seen.is_your_address, true);
    assert.match(seen.warning, /sent you the code/);
    await ada.must(204, approve(ada, d));
    const tokens = (await poll(d)).json;
    assert.equal((await bearer(ada, tokens.access_token).get('/api/auth/me')).json.user.id, ada.user.id);
    assert.equal((await poll(d)).json.error, 'invalid_grant');
    assert.equal((await refresh(catalyst.origin, tokens.refresh_token)).status, 200);
    const session = (await ada.get('/api/auth/sessions')).json.items.find((s) => s.id === tokens.session_id);
    assert.equal(session.kind, 'device');
    assert.equal(session.client, 'catalyst on box');
    const log = (await sealedLog(catalyst)).map((x) => x.event);
    for (const type of ['auth.device_approved', 'auth.signed_in']) assert.ok(log.some((e) => e.type === type && e.workspace === ada.workspace), type);
    // A code works once.
    assert.equal((await ada.get(at(d))).status, 404);
  });

  test('two polls at once get one sign-in', async () => {
    const d = await begin();
    await ada.must(204, approve(ada, d));
    const answers = await Promise.all(Array.from({ length: 8 }, () => poll(d)));
    assert.equal(answers.filter((a) => a.status === 200).length, 1);
  });

  test('a person can say no, and nobody can say yes after that', async () => {
    const d = await begin();
    await ada.must(204, ada.post(at(d), { approve: false }));
    assert.equal((await poll(d)).json.error, 'access_denied');
    assert.equal((await approve(ada, d)).status, 404);
  });

  test('a device gets what it asked for and was given, in a workspace of who let it in', async () => {
    const d = await begin({ scopes: ['projects.read', 'chat.read'] });
    assert.equal((await approve(ada, d, { scopes: ['projects.create'] })).status, 400);
    assert.equal((await approve(ada, d, { scopes: ['apikeys.own'] })).status, 400);
    assert.equal((await approve(ada, d, { workspace_id: crypto.randomUUID() })).status, 404);
    assert.equal((await ada.post(at(d), { approve: true })).status, 400);
    await ada.must(204, approve(ada, d, { scopes: ['projects.read'] }));
    const program = bearer(ada, (await poll(d)).json.access_token);
    assert.equal((await program.get('/api/projects')).status, 200);
    assert.equal((await program.post('/api/projects', { name: 'x' })).status, 403);
    assert.equal((await nobody.post('/api/auth/device', { scopes: ['members.remove.all'] })).status, 400);
  });

  test('what one device was let in for another cannot fetch', async () => {
    const mine = await begin(), theirs = await begin({ client: 'somebody else' });
    await ada.must(204, approve(ada, mine));
    assert.notEqual((await poll(theirs)).status, 200);
    // The code that a person types is no device's code, and the other way round.
    assert.equal((await poll({ device_code: mine.user_code })).json.error, 'invalid_grant');
    assert.equal((await ada.get(`/api/auth/device/${mine.device_code}`)).status, 404);
    assert.equal((await poll(mine)).status, 200);
  });

  test('only a person decides, who has just proved who they are', async () => {
    const d = await begin();
    const program = new Caller(catalyst.origin, { key: ada.made.api_key });
    assert.equal((await approve(program, d, { workspace_id: ada.workspace })).status, 403);
    assert.equal((await approve(nobody, d, { workspace_id: ada.workspace })).status, 401);
    assert.equal((await ada.post(at(d), { approve: true, workspace_id: ada.workspace }, { 'x-csrf-token': null })).status, 403);
    assert.equal((await ada.post(at(d), { approve: true, workspace_id: ada.workspace }, { origin: 'https://evil.example' })).status, 403);
    change('UPDATE sessions SET authenticated_us = 1');
    assert.equal((await approve(ada, d)).code, 'reauthentication_required');
    await ada.post('/api/auth/reauthenticate', { password: 'hollow turnip engraves cobalt' });
    await ada.must(204, approve(ada, d));
  });

  test('who has left the workspace meanwhile lets nobody in', async () => {
    const bob = await newMember(ada, 'developer');
    const d = await begin();
    await bob.must(204, approve(bob, d));
    await ada.must(204, ada.delete(`/api/workspaces/${ada.workspace}/members/${bob.user.id}`));
    assert.equal((await poll(d)).json.error, 'access_denied');
  });

  test('no code is stored that somebody could read there, and codes expire', async () => {
    const d = await begin();
    const rows = await query(catalyst, 'SELECT * FROM device_logins');
    assert.ok(!JSON.stringify(rows).includes(d.user_code.replace('-', '')) && !JSON.stringify(rows).includes(d.device_code));
    change('UPDATE device_logins SET expires_us = 1');
    assert.equal((await poll(d)).json.error, 'expired_token');
    assert.equal((await ada.get(at(d))).status, 404);
  });

  test('codes cannot be guessed: wrong ones hold up the person and the address', async () => {
    const eve = await newMember(ada, 'viewer');
    let n = 0;
    for (; n < 40; n++) {
      const answer = await eve.get(`/api/auth/device/${'BCDF'}${'BCDFGHJKLMNPQRSTVWXZ'[n % 20].repeat(4)}`);
      if (answer.status === 429) {
        assert.ok(Number(answer.headers.get('retry-after')) > 0);
        break;
      }
      assert.equal(answer.status, 404);
    }
    assert.ok(n < 21, `${n} guesses`);
    for (n = 0; n < 40 && (await poll({ device_code: crypto.randomBytes(32).toString('hex') })).status !== 429; n++);
    assert.ok(n < 21, `${n} guesses of device codes`);
  });

  test('an address cannot fill the table with devices that wait', async () => {
    let status = 200;
    for (let n = 0; n < 30 && status === 200; n++) status = (await nobody.post('/api/auth/device', {})).status;
    assert.equal(status, 429);
  });
});
