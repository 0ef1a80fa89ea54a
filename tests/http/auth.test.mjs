// Signing in and out: sessions, CSRF, lock-out, passwords, and that what has ended stops at the next request.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Caller, PASSWORD, QUICK_PASSWORDS, newMember, owner, setUp } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst } from '../lib/catalyst.mjs';
import { query, sealedLog } from '../lib/rebuild.mjs';

const skip = NO_BINARY;
const config = { identity: QUICK_PASSWORDS };
const EMAIL = 'ada@example.com';
const OTHER = 'granite walrus hums quietly';

test('signing in gives a new session each time, and signing out ends it', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  await setUp(catalyst);
  const a = await new Caller(catalyst.origin).signIn(' ADA@example.com'.trim());
  const b = await new Caller(catalyst.origin).signIn(EMAIL);
  assert.notEqual(a.cookies.cat_session, b.cookies.cat_session);
  assert.notEqual(a.csrf, b.csrf);
  const listed = (await a.get('/api/auth/sessions')).json.items;
  assert.equal(listed.length, 2);
  assert.deepEqual(
    listed.map((s) => s.is_current),
    [false, true],
  );
  assert.equal(listed[0].address, '127.0.0.1');

  const stolen = a.with({});
  const out = await a.post('/api/auth/logout');
  assert.equal(out.status, 204, out.text);
  assert.equal(a.cookies.cat_session, undefined);
  const answer = await stolen.get('/api/auth/me');
  assert.equal(answer.status, 401);
  assert.equal(answer.code, 'unauthenticated');
  assert.equal((await b.get('/api/auth/me')).status, 200);
  assert.equal(answer.headers.get('cache-control'), 'no-store');
});

test('a session that is set before signing in is never promoted', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  await setUp(catalyst);
  const victim = new Caller(catalyst.origin);
  victim.cookies.cat_session = 'f'.repeat(64);
  await victim.signIn(EMAIL);
  assert.notEqual(victim.cookies.cat_session, 'f'.repeat(64));
  const planted = new Caller(catalyst.origin);
  planted.cookies.cat_session = 'f'.repeat(64);
  assert.equal((await planted.get('/api/auth/me')).status, 401);
});

test('a change with a cookie needs its CSRF token and an origin that is ours', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const other = await new Caller(catalyst.origin).signIn(EMAIL);
  let n = 0;
  const make = (headers) => ada.post('/api/projects', { name: `p${++n}` }, headers);
  for (const [headers, status] of [
    [{ 'x-csrf-token': null }, 403],
    [{ 'x-csrf-token': '' }, 403],
    [{ 'x-csrf-token': other.csrf }, 403],
    [{ origin: null }, 403],
    [{ origin: 'https://evil.example' }, 403],
    [{ origin: 'null' }, 403],
    [{ origin: `${catalyst.origin}.evil.example` }, 403],
    [{ 'sec-fetch-site': 'cross-site' }, 403],
    [{ 'sec-fetch-site': 'same-site' }, 403],
    [{ 'sec-fetch-site': 'none' }, 403],
    [{ 'sec-fetch-site': 'same-origin', origin: null }, 201],
    [{}, 201],
    [{ origin: `http://localhost:${catalyst.port}` }, 201],
  ]) {
    const answer = await make(headers);
    assert.equal(answer.status, status, `${JSON.stringify(headers)}: ${answer.text}`);
  }
  const form = await ada.call('POST', '/api/projects', 'name=x', { 'content-type': 'application/x-www-form-urlencoded' });
  assert.equal(form.status, 415);
  assert.equal((await ada.get('/api/projects')).json.items.length, 3);
});

test('whoever asks wrongly gets the same answer: no account, wrong password, disabled', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  await setUp(catalyst);
  const answers = [];
  for (const [email, password] of [
    [EMAIL, 'not the password at all'],
    ['nobody@example.com', PASSWORD],
    ['nobody@example.com', 'x'],
    [EMAIL, `${PASSWORD}\0`],
    [EMAIL, PASSWORD.slice(0, -1)],
  ]) {
    const answer = await new Caller(catalyst.origin).post('/api/auth/login', { email, password });
    answers.push([answer.status, answer.code, answer.json.detail, answer.json.title]);
  }
  for (const answer of answers) assert.deepEqual(answer, answers[0]);
  assert.deepEqual(answers[0].slice(0, 2), [401, 'invalid_credentials']);
});

test('composed and decomposed letters are the same password, and NUL is a character', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const password = 'caf\u00e9 au lait pour\u0000 tous';
  const ada = await owner(catalyst);
  const changed = await ada.post('/api/auth/password', { current_password: PASSWORD, new_password: password });
  assert.equal(changed.status, 204, changed.text);
  await new Caller(catalyst.origin).signIn(EMAIL, password);
  await new Caller(catalyst.origin).signIn(EMAIL, password.normalize('NFD'));
  const cut = await new Caller(catalyst.origin).post('/api/auth/login', { email: EMAIL, password: password.split('\0')[0] });
  assert.equal(cut.status, 401);
});

test('after five failures an account waits longer and longer, a known device does not', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  await setUp(catalyst);
  for (const email of [EMAIL, 'nobody@example.com']) {
    const known = email === EMAIL ? await new Caller(catalyst.origin).signIn(EMAIL) : null;
    const stranger = new Caller(catalyst.origin);
    for (let i = 0; i < 5; i++) assert.equal((await stranger.post('/api/auth/login', { email, password: 'wrong' })).status, 401);
    const held = await stranger.post('/api/auth/login', { email, password: PASSWORD });
    assert.equal(held.status, 429, held.text);
    assert.equal(held.headers.get('retry-after'), '1');
    if (known) {
      const again = new Caller(catalyst.origin);
      again.cookies.cat_device = known.cookies.cat_device;
      await again.signIn(EMAIL);
      await stranger.signIn(EMAIL); /* and that has ended the delay for everybody */
    }
  }
});

test('an address has twenty failures in ten minutes, also over a restart', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  await setUp(catalyst);
  const stranger = new Caller(catalyst.origin);
  for (let i = 0; i < 20; i++)
    assert.equal((await stranger.post('/api/auth/login', { email: `n${i}@example.com`, password: 'wrong' })).status, 401);
  const held = await stranger.post('/api/auth/login', { email: EMAIL, password: PASSWORD });
  assert.equal(held.status, 429);
  const wait = Number(held.headers.get('retry-after'));
  assert.ok(wait > 500 && wait <= 600, `${wait}`);
  await catalyst.stop();
  await catalyst.start().ready();
  assert.equal((await new Caller(catalyst.origin).post('/api/auth/login', { email: EMAIL, password: PASSWORD })).status, 429);
});

test('tries side by side do not outrun the count', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  await setUp(catalyst);
  const answers = await Promise.all(
    Array.from({ length: 30 }, () => new Caller(catalyst.origin).post('/api/auth/login', { email: EMAIL, password: 'wrong' })),
  );
  assert.equal(answers.filter((a) => a.status === 401).length, 5);
  assert.equal(answers.filter((a) => a.status === 429).length, 25);
});

test('a new password ends all other sessions and gives this one another cookie', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const elsewhere = await new Caller(catalyst.origin).signIn(EMAIL);
  const before = ada.cookies.cat_session;
  const wrong = await ada.post('/api/auth/password', { current_password: 'wrong', new_password: OTHER });
  assert.deepEqual([wrong.status, wrong.code], [401, 'invalid_credentials']);
  const weak = await ada.post('/api/auth/password', { current_password: PASSWORD, new_password: 'adaadaadaadaada' });
  assert.deepEqual(
    weak.json.errors.map((e) => [e.field, e.code]),
    [['new_password', 'too_common']],
  );
  assert.equal((await ada.post('/api/auth/password', { current_password: PASSWORD, new_password: OTHER })).status, 204);
  assert.notEqual(ada.cookies.cat_session, before);
  assert.equal((await ada.get('/api/auth/me')).status, 200);
  assert.equal((await elsewhere.get('/api/auth/me')).status, 401);
  assert.equal((await ada.with({ cookies: { cat_session: before } }).get('/api/auth/me')).status, 401);
  assert.equal((await new Caller(catalyst.origin).post('/api/auth/login', { email: EMAIL, password: PASSWORD })).status, 401);
  await new Caller(catalyst.origin).signIn(EMAIL, OTHER);
});

test('one ends one of their own sessions, and nobody elses', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const elsewhere = await new Caller(catalyst.origin).signIn(EMAIL);
  const bob = await newMember(ada, 'developer');
  const other = (await elsewhere.get('/api/auth/sessions')).json.items.find((s) => s.is_current).id;
  assert.equal((await bob.delete(`/api/auth/sessions/${other}`)).status, 404);
  assert.equal((await elsewhere.get('/api/auth/me')).status, 200);
  assert.equal((await ada.delete(`/api/auth/sessions/${other}`)).status, 204);
  assert.equal((await elsewhere.get('/api/auth/me')).status, 401);
  assert.equal((await ada.delete(`/api/auth/sessions/${other}`)).status, 404);
  assert.equal((await ada.delete('/api/auth/sessions/nonsense')).status, 404);
});

test('a session ends when nobody uses it, and in the end in any case', { skip }, async (t) => {
  const short = { identity: { ...QUICK_PASSWORDS, session_idle_ms: '60s', session_max_ms: '60s' } };
  const catalyst = await startCatalyst(t, { config: short });
  await setUp(catalyst);
  const ada = await new Caller(catalyst.origin).signIn(EMAIL);
  const [session] = (await ada.get('/api/auth/sessions')).json.items;
  assert.equal(Date.parse(session.expires_at) - Date.parse(session.created_at), 60_000);
});

test('giving the password again refreshes it, and a wrong one does not', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const first = (await ada.get('/api/auth/me')).json.authenticated_at;
  assert.equal((await ada.post('/api/auth/reauthenticate', { password: 'wrong' })).status, 401);
  assert.equal((await ada.get('/api/auth/me')).json.authenticated_at, first);
  assert.equal((await ada.post('/api/auth/reauthenticate', { password: PASSWORD })).status, 204);
  assert.ok((await ada.get('/api/auth/me')).json.authenticated_at > first);
});

test('a hash of lower parameters is made anew at the next sign-in', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  await setUp(catalyst);
  const stored = async () => (await query(catalyst, 'SELECT password FROM users'))[0].password;
  const before = await stored();
  assert.match(before, /^\$argon2id\$v=19\$m=8,t=1,p=1\$/);
  await new Caller(catalyst.origin).signIn(EMAIL);
  assert.equal(await stored(), before);
  await catalyst.stop();
  catalyst.args = ['--set', 'identity.argon2_memory=16KiB'];
  await catalyst.start().ready();
  await new Caller(catalyst.origin).signIn(EMAIL);
  assert.match(await stored(), /^\$argon2id\$v=19\$m=16,t=1,p=1\$/);
  await new Caller(catalyst.origin).signIn(EMAIL);
});

test('by default a password takes 19 MiB and two passes', { skip }, async (t) => {
  const catalyst = await startCatalyst(t);
  await setUp(catalyst);
  const [{ password }] = await query(catalyst, 'SELECT password FROM users');
  assert.match(password, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
});

test('every way of signing in and out stands in the log, without a secret', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const stranger = new Caller(catalyst.origin);
  await stranger.post('/api/auth/login', { email: EMAIL, password: 'planted wrong password' });
  await ada.post('/api/auth/reauthenticate', { password: PASSWORD });
  await new Caller(catalyst.origin).signIn(EMAIL);
  await ada.post('/api/auth/password', { current_password: PASSWORD, new_password: OTHER });
  const session = ada.cookies.cat_session;
  await ada.post('/api/auth/logout');
  const log = await sealedLog(catalyst);
  const told = log.map(({ event: e }) => [e.type, e.status]).filter(([type]) => type.startsWith('auth.'));
  assert.deepEqual(told, [
    ['auth.signed_in', 'success'],
    ['auth.signed_in', 'failure'],
    ['auth.reauthenticated', 'success'],
    ['auth.signed_in', 'success'],
    ['auth.sessions_ended', 'success'],
    ['auth.password_changed', 'success'],
    ['auth.signed_out', 'success'],
  ]);
  const text = log.map((l) => l.bytes.toString('utf8')).join('\n');
  for (const secret of [PASSWORD, OTHER, 'planted wrong password', session, ada.csrf, EMAIL, '127.0.0.1'])
    assert.ok(!text.includes(secret), secret);
});

test('what is stored is no password, no cookie and no key', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const ada = await owner(catalyst);
  const key = (await ada.must(201, ada.post('/api/keys', { name: 'k', scopes: ['projects.read'] }))).key;
  const { link } = await ada.must(201, ada.post(`/api/workspaces/${ada.workspace}/invite`, { email: 'b@example.com', role: 'viewer' }));
  await catalyst.stop();
  const { execFileSync } = await import('node:child_process');
  for (const secret of [PASSWORD, ada.cookies.cat_session, key, ada.made.api_key, link.split('#')[1]]) {
    const found = execFileSync('sh', ['-c', `grep -rlaF -- "$SECRET" "$DIR" || true`], {
      env: { ...process.env, SECRET: secret, DIR: catalyst.dataDir },
      encoding: 'utf8',
    });
    assert.equal(found, '', `${secret.slice(0, 6)}… stands in ${found}`);
    assert.ok(!catalyst.stderr.includes(secret));
  }
});
