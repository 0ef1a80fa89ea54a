// Second factors: signing in with them, and every way around them that is known.

import assert from 'node:assert/strict';
import { Caller, PASSWORD, QUICK_PASSWORDS, newMember, owner } from '../lib/api.mjs';
import { BE, BS, Passkey, UP, UV, base64url, cbor, enrolApp, enrolPasskey, totp, withinAStep } from '../lib/authenticator.mjs';
import { NO_BINARY, startCatalyst } from '../lib/catalyst.mjs';
import { onEngines } from '../lib/postgres.mjs';
import { change, query, sealedLog } from '../lib/rebuild.mjs';

const skip = NO_BINARY;
/* Each person comes from an address of their own, so that failures of one do not hold up another. */
const config = { identity: QUICK_PASSWORDS };
const SHORT = 'vex7 ulmo';
let catalyst, ada, origin;

const browser = () => new Caller(catalyst.origin);

/** Forgets what this address and its people have failed at. */
const relax = () => change(catalyst, 'DELETE FROM sign_in_counters');

const emailOf = (person) => person.user.email;

async function person(role = 'developer') {
  await withinAStep();
  await relax();
  const made = await newMember(ada, role);
  const own = browser();
  await own.signIn(emailOf(made));
  return Object.assign(own, { workspace: ada.workspace });
}

/** The first step of a sign-in. */
async function begin(email, password = PASSWORD, caller = browser()) {
  const answer = await caller.post('/api/auth/login', { email, password });
  assert.equal(answer.status, 200, answer.text);
  return { caller, ...answer.json };
}

/** The second step with whatever is given. */
const finish = (b, what, caller = b.caller) => caller.post('/api/auth/login/factor', { transaction: b.transaction, ...what });
const optionsOf = async (b) => (await b.caller.must(200, b.caller.post('/api/auth/login/factor/options', { transaction: b.transaction }))).options;

async function isSignedIn(caller) {
  return (await caller.get('/api/auth/me')).status === 200;
}

const steps = async (email) =>
  change(catalyst, `UPDATE factors SET last_step = NULL WHERE user_id = (SELECT id FROM users WHERE email = '${email}')`);

onEngines('second factors', { skip }, async (t, engine) => {
  catalyst = await startCatalyst(t, { config: engine.database ? { ...config, database: { url: engine.database } } : config });
  catalyst.databaseUrl = engine.database;
  ada = await owner(catalyst);
  origin = `http://localhost:${catalyst.port}`;

  await t.test('an account with an app is asked for a code, and gets a session for it only', async () => {
    const bob = await person();
    const before = bob.cookies.cat_session;
    const { secret, uri } = await enrolApp(bob);
    assert.notEqual(bob.cookies.cat_session, before);
    assert.match(secret, /^[A-Z2-7]{32}$/);
    assert.match(uri, /^otpauth:\/\/totp\/Catalyst:developer.*%40example\.com\?secret=[A-Z2-7]{32}&issuer=Catalyst&algorithm=SHA1&digits=6&period=30$/);
    const b = await begin(emailOf(bob));
    assert.deepEqual([b.mfa_required, b.user, b.csrf_token, b.factors], [true, null, null, ['totp']]);
    assert.deepEqual(Object.keys(b.caller.cookies), ['cat_sign_in']);
    assert.equal(await isSignedIn(b.caller), false);
    /* What the half-done sign-in knows is no session and no token. */
    for (const value of [b.caller.cookies.cat_sign_in, b.transaction]) {
      assert.equal(await isSignedIn(browser().with({ cookies: { cat_session: value } })), false);
      assert.equal((await browser().get('/api/auth/me', { authorization: `Bearer ${value}` })).status, 401);
    }
    const done = await finish(b, { code: ` ${totp(secret).slice(0, 3)} ${totp(secret).slice(3)}` });
    assert.equal(done.status, 200, done.text);
    assert.equal(done.json.user.email, emailOf(bob));
    assert.equal(b.caller.cookies.cat_sign_in, undefined);
    assert.ok(await isSignedIn(b.caller));
    const { factors, recovery_codes_left } = (await bob.get('/api/auth/mfa')).json;
    assert.deepEqual([factors.length, factors[0].kind, factors[0].name, recovery_codes_left], [1, 'totp', 'Authenticator app', 0]);
  });

  await t.test('a code is good for one sign-in, also of an earlier or later step', async () => {
    const bob = await person();
    const { secret } = await enrolApp(bob);
    const replayed = totp(secret);
    assert.equal((await finish(await begin(emailOf(bob)), { code: replayed })).status, 200);
    const again = await finish(await begin(emailOf(bob)), { code: replayed });
    assert.deepEqual([again.status, again.code], [401, 'invalid_credentials']);
    assert.equal((await finish(await begin(emailOf(bob)), { code: totp(secret, -1) })).status, 401);
    assert.equal((await finish(await begin(emailOf(bob)), { code: totp(secret, 2) })).status, 401);
    assert.equal((await finish(await begin(emailOf(bob)), { code: totp(secret, 1) })).status, 200);
    assert.equal((await finish(await begin(emailOf(bob)), { code: totp(secret, 1) })).status, 401);
  });

  await t.test('of many who send one code at the same time, one gets a session', async () => {
    const bob = await person();
    const { secret } = await enrolApp(bob);
    for (const isOneSignIn of [true, false]) {
      await steps(emailOf(bob));
      const first = await begin(emailOf(bob));
      const all = isOneSignIn ? Array(4).fill(first) : [first, ...(await Promise.all([1, 2, 3].map(() => begin(emailOf(bob)))))];
      const code = totp(secret);
      const answers = await Promise.all(all.map((b) => finish(b, { code }, b.caller.with({}))));
      assert.equal(answers.filter((a) => a.status === 200).length, 1, answers.map((a) => `${a.status} ${a.text}`).join('\n'));
    }
  });

  await t.test('five wrong codes end the sign-in and lock the app for a quarter of an hour, side by side too', async () => {
    const bob = await person();
    const { secret } = await enrolApp(bob);
    const b = await begin(emailOf(bob));
    const wrong = String((Number(totp(secret)) + 1) % 1_000_000).padStart(6, '0');
    const answers = await Promise.all(Array.from({ length: 8 }, () => finish(b, { code: wrong }, b.caller.with({}))));
    assert.ok(answers.every((a) => [401, 429].includes(a.status)));
    assert.ok(answers.filter((a) => a.status === 401 && /code is wrong/.test(a.text)).length <= 5);
    assert.equal((await finish(b, { code: totp(secret) })).status >= 401, true);
    const later = await begin(emailOf(bob));
    const held = await finish(later, { code: totp(secret) });
    assert.equal(held.status, 429, held.text);
    const [factor] = await query(catalyst, `SELECT locked_until_us, failures FROM factors WHERE user_id = (SELECT id FROM users WHERE email = '${emailOf(bob)}')`);
    const wait = Number(factor.locked_until_us) / 1000 - Date.now();
    assert.ok(wait > 800_000 && wait <= 900_000, `${wait}`);
    const types = (await sealedLog(catalyst)).map((l) => l.event.type);
    assert.ok(types.includes('factor.locked'));
  });

  await t.test('a sign-in belongs to the browser that began it', async () => {
    const bob = await person();
    const { secret } = await enrolApp(bob);
    const eve = browser();
    const b = await begin(emailOf(bob));
    const code = totp(secret);
    assert.equal((await finish(b, { code }, eve)).status, 401);
    assert.equal((await finish(b, { code }, eve.with({ cookies: { cat_sign_in: 'f'.repeat(64) } }))).status, 401);
    const other = await begin(emailOf(bob));
    assert.equal((await finish(b, { code }, other.caller)).status, 401); /* another sign-in's cookie */
    /* A cookie that was planted before is not taken over. */
    const planted = browser().with({ cookies: { cat_sign_in: 'a'.repeat(64), cat_session: 'a'.repeat(64) } });
    const fixed = await begin(emailOf(bob), PASSWORD, planted);
    assert.notEqual(planted.cookies.cat_sign_in, 'a'.repeat(64));
    assert.equal((await finish(fixed, { code }, eve.with({ cookies: { cat_sign_in: 'a'.repeat(64) } }))).status, 401);
    const done = await finish(b, { code });
    assert.equal(done.status, 200, done.text);
    assert.equal((await finish(b, { code: totp(secret, 1) })).status, 401); /* it is over */
    assert.equal((await finish({ ...b, transaction: '01a20fda-9598-78f0-9fbc-ceee2b15ab61' }, { code })).status, 401);
  });

  await t.test('a sign-in ends after five minutes, and with another password', async () => {
    const bob = await person();
    const { secret } = await enrolApp(bob);
    const old = await begin(emailOf(bob));
    assert.ok(Date.parse(old.expires_at) - Date.now() <= 300_000);
    await change(catalyst, 'UPDATE sign_ins SET expires_us = expires_us - 300000000');
    assert.equal((await finish(old, { code: totp(secret) })).status, 401);
    const b = await begin(emailOf(bob));
    assert.equal((await bob.post('/api/auth/password', { current_password: PASSWORD, new_password: SHORT })).status, 204);
    assert.equal((await finish(b, { code: totp(secret) })).status, 401);
    const now = await begin(emailOf(bob), SHORT);
    assert.equal((await finish(now, { code: totp(secret) })).status, 200);
    /* With that password the last factor stays. */
    const [factor] = (await bob.get('/api/auth/mfa')).json.factors;
    const kept = await bob.delete(`/api/auth/mfa/${factor.id}`);
    assert.deepEqual([kept.status, /15 characters/.test(kept.text)], [409, true]);
    assert.equal((await bob.post('/api/auth/password', { current_password: SHORT, new_password: PASSWORD })).status, 204);
    assert.equal((await bob.delete(`/api/auth/mfa/${factor.id}`)).status, 204);
    assert.equal((await begin(emailOf(bob))).mfa_required, false);
    assert.equal((await bob.post('/api/auth/password', { current_password: PASSWORD, new_password: SHORT })).status, 400);
  });

  await t.test('recovery codes work once each, and new ones void the old', async () => {
    const bob = await person();
    assert.equal((await bob.post('/api/auth/mfa/recovery-codes')).status, 409); /* nothing to stand in for */
    await enrolApp(bob);
    const { codes: old } = await bob.must(201, bob.post('/api/auth/mfa/recovery-codes'));
    const { codes } = await bob.must(201, bob.post('/api/auth/mfa/recovery-codes'));
    assert.equal(new Set([...old, ...codes]).size, 20);
    assert.match(codes[0], /^([A-Z2-7]{4}-){5}[A-Z2-7]{4}$/);
    assert.equal((await finish(await begin(emailOf(bob)), { recovery_code: old[0] })).status, 401);
    const b = await begin(emailOf(bob));
    assert.deepEqual(b.factors, ['totp', 'recovery_code']);
    const both = await Promise.all([b, await begin(emailOf(bob))].map((s) => finish(s, { recovery_code: codes[0].toLowerCase().replaceAll('-', ' ') })));
    assert.deepEqual(both.map((a) => a.status).sort(), [200, 401]);
    assert.equal((await finish(await begin(emailOf(bob)), { recovery_code: codes[0] })).status, 401);
    assert.equal((await bob.get('/api/auth/mfa')).json.recovery_codes_left, 9);
    assert.ok((await sealedLog(catalyst)).some((l) => l.event.type === 'recovery_code.used'));
  });

  await t.test('passkeys of all three kinds sign in, as second factor and alone', async () => {
    for (const kind of ['es256', 'rs256', 'eddsa']) {
      const bob = await person();
      const passkey = await enrolPasskey(bob, origin, kind);
      const b = await begin(emailOf(bob));
      assert.deepEqual(b.factors, ['passkey']);
      const options = await optionsOf(b);
      assert.deepEqual(options.allowCredentials, [{ type: 'public-key', id: base64url(passkey.id) }]);
      assert.equal(options.rpId, 'localhost');
      assert.equal(Buffer.from(options.challenge, 'base64url').length, 32);
      const done = await finish(b, { passkey: passkey.assert(options, { flags: UP }) });
      assert.equal(done.status, 200, done.text);
      const { caller, answer } = await alone(passkey);
      assert.equal(answer.status, 200, answer.text);
      assert.equal(answer.json.user.email, emailOf(bob));
      assert.ok(await isSignedIn(caller));
      assert.equal((await bob.get('/api/auth/mfa')).json.factors[0].name, 'Key');
    }
  });

  /** A sign-in by a passkey alone. */
  async function alone(passkey, wrong = {}, caller = browser(), from = caller) {
    const { options } = await caller.must(200, caller.post('/api/auth/login/passkey/options'));
    assert.deepEqual([options.allowCredentials, options.userVerification], [[], 'required']);
    const answer = await from.post('/api/auth/login/passkey', { passkey: passkey.assert(options, wrong) });
    return { caller: from, answer, options };
  }

  await t.test('an assertion that is not what was asked for signs nobody in', async () => {
    const bob = await person();
    const eve = await person();
    const passkey = await enrolPasskey(bob, origin);
    const other = await enrolPasskey(eve, origin, 'eddsa');
    const stranger = new Passkey(origin);
    stranger.userHandle = passkey.userHandle;
    const wrongs = {
      type: { type: 'webauthn.create' },
      'another origin': { origin: 'https://evil.example' },
      'another port': { origin: 'http://localhost:1' },
      'by address': { origin: `http://127.0.0.1:${catalyst.port}` },
      'in a frame': { client: { crossOrigin: true } },
      'another relying party': { rpId: 'evil.example' },
      'nobody present': { flags: UV },
      'not verified': { flags: UP },
      'backed up, though it cannot be': { flags: UP | UV | BS },
      'backup eligible, though it was not': { flags: UP | UV | BE },
      'no user handle': { userHandle: null },
      'another handle': { userHandle: other.userHandle },
      'an unknown credential': { id: stranger.id, signedBy: stranger },
      'signed by a stranger': { signedBy: stranger },
      'signed by another kind of key': { signedBy: other },
      'no signature': { signature: Buffer.alloc(0) },
      'something behind': { behind: Buffer.from('z') },
      'a challenge of its own': { challenge: base64url(Buffer.alloc(32, 7)) },
    };
    for (const [name, wrong] of Object.entries(wrongs)) {
      await relax();
      const { caller, answer } = await alone(passkey, wrong);
      assert.deepEqual([answer.status, answer.code], [401, 'invalid_credentials'], `${name}: ${answer.text}`);
      assert.equal(await isSignedIn(caller), false);
    }
    for (const body of [{}, { passkey: 1 }, { passkey: [] }]) assert.equal((await browser().post('/api/auth/login/passkey', body)).status, 400);
    for (const body of [{ passkey: {} }, { passkey: { ...passkey.assert({ challenge: 'AA', rpId: 'localhost' }), type: 'x' } }])
      assert.equal((await browser().post('/api/auth/login/passkey', body)).status, 401);
    /* Somebody else's passkey is no second factor of bob. */
    const b = await begin(emailOf(bob));
    const foreign = await finish(b, { passkey: other.assert(await optionsOf(b), { userHandle: passkey.userHandle }) });
    assert.equal(foreign.status, 401, foreign.text);
  });

  await t.test('a challenge is good once, for one purpose and one browser', async () => {
    const bob = await person();
    const passkey = await enrolPasskey(bob, origin);
    const { caller, answer, options } = await alone(passkey);
    assert.equal(answer.status, 200, answer.text);
    assert.equal((await caller.post('/api/auth/login/passkey', { passkey: passkey.assert(options) })).status, 401);
    /* Used up also by an answer that was wrong. */
    const wrong = await alone(passkey, { flags: UP });
    assert.equal((await wrong.caller.post('/api/auth/login/passkey', { passkey: passkey.assert(wrong.options) })).status, 401);
    /* Of another browser, of another purpose, too old. */
    assert.equal((await alone(passkey, {}, browser(), browser())).answer.status, 401);
    const b = await begin(emailOf(bob));
    const second = await optionsOf(b);
    assert.equal((await b.caller.post('/api/auth/login/passkey', { passkey: passkey.assert(second) })).status, 401);
    assert.equal((await finish(await begin(emailOf(bob)), { passkey: passkey.assert(second) })).status, 401); /* another sign-in */
    const stepUp = await bob.must(200, bob.post('/api/auth/reauthenticate/options'));
    assert.equal((await finish(b, { passkey: passkey.assert(stepUp.options) })).status, 401);
    const old = await optionsOf(b);
    await change(catalyst, 'UPDATE passkey_challenges SET expires_us = expires_us - 300000000');
    assert.equal((await finish(b, { passkey: passkey.assert(old) })).status, 401);
    const fresh = await optionsOf(b);
    const twice = await Promise.all([1, 2].map(() => finish(b, { passkey: passkey.assert(fresh) }, b.caller.with({}))));
    assert.deepEqual(twice.map((a) => a.status).sort(), [200, 401]);
  });

  await t.test('a passkey whose counter goes back needs another factor beside it', async () => {
    const bob = await person();
    const passkey = await enrolPasskey(bob, origin);
    await bob.must(201, bob.post('/api/auth/mfa/recovery-codes')).then(({ codes }) => (bob.codes = codes));
    const clone = passkey.clone();
    assert.equal((await alone(passkey)).answer.status, 200);
    const caught = await alone(clone);
    assert.deepEqual([caught.answer.status, caught.answer.code], [403, 'reauthentication_required'], caught.answer.text);
    assert.equal(await isSignedIn(caught.caller), false);
    const b = await begin(emailOf(bob));
    clone.count = 0;
    assert.equal((await finish(b, { passkey: clone.assert(await optionsOf(b)) })).status, 403);
    assert.equal((await finish(b, { recovery_code: bob.codes[0] })).status, 200);
    assert.ok((await sealedLog(catalyst)).some((l) => l.event.type === 'factor.suspected'));
    assert.match(catalyst.stderr, /passkey_counter_went_back/);
  });

  await t.test('a registration that is not what was asked for is refused, and nobody registers what is registered', async () => {
    const bob = await person();
    const eve = await person();
    const passkey = new Passkey(origin);
    const optionsFor = async (who) => (await who.must(200, who.post('/api/auth/mfa/passkeys/options'))).options;
    const attempt = async (wrong, who = bob, key = passkey) =>
      who.post('/api/auth/mfa/passkeys', { name: 'k', credential: key.register(await optionsFor(who), wrong) });
    const rsa = new Passkey(origin, 'rs256');
    const map = (entries) => cbor(new Map(entries));
    const jwk = passkey.pair.publicKey.export({ format: 'jwk' });
    const [x, y] = [Buffer.from(jwk.x, 'base64url'), Buffer.from(jwk.y, 'base64url')];
    const wrongs = {
      type: { type: 'webauthn.get' },
      origin: { origin: 'https://evil.example' },
      'relying party': { rpId: 'evil.example' },
      'nobody present': { flags: UV },
      challenge: { challenge: base64url(Buffer.alloc(32)) },
      'a long id': { id: Buffer.alloc(1024) },
      'an algorithm that was not asked for': { cose: map([[1, 2], [3, -35], [-1, 1], [-2, x], [-3, y]]) }, // prettier-ignore
      'algorithms confused': { cose: map([[1, 2], [3, -257], [-1, 1], [-2, x], [-3, y]]) }, // prettier-ignore
      'no point of the curve': { cose: map([[1, 2], [3, -7], [-1, 1], [-2, y], [-3, x]]) }, // prettier-ignore
      'a weak key': { cose: map([[1, 3], [3, -257], [-1, Buffer.alloc(128, 255)], [-2, Buffer.from([1, 0, 1])]]) }, // prettier-ignore
      'an attestation with certificates': { statement: ['packed', new Map([['alg', -7], ['sig', x], ['x5c', [x]]])] }, // prettier-ignore
      'an attestation by another': { statement: ['packed', new Map([['alg', -7], ['sig', x]])] }, // prettier-ignore
      'another format': { statement: ['android-safetynet', new Map()] },
      'no CBOR': { object: Buffer.from('ff', 'hex') },
    };
    for (const [name, wrong] of Object.entries(wrongs)) {
      const answer = await attempt(wrong);
      assert.deepEqual([answer.status, answer.json.errors?.[0].field], [400, 'credential'], `${name}: ${answer.text}`);
    }
    assert.equal((await bob.get('/api/auth/mfa')).json.factors.length, 0);
    const stolen = await optionsFor(eve);
    assert.equal((await bob.post('/api/auth/mfa/passkeys', { credential: passkey.register(stolen) })).status, 400);
    assert.equal((await attempt({})).status, 201);
    assert.equal((await attempt({}, eve, passkey)).status, 409);
    assert.equal((await attempt({}, eve, rsa)).status, 201);
    assert.deepEqual((await optionsFor(bob)).excludeCredentials, [{ type: 'public-key', id: base64url(passkey.id) }]);
  });

  await t.test('changing factors needs a factor that was given within ten minutes', async () => {
    const bob = await person();
    const { secret } = await enrolApp(bob);
    await change(catalyst, 'UPDATE sessions SET factor_us = factor_us - 600000000');
    const [factor] = (await bob.get('/api/auth/mfa')).json.factors;
    const refused = async () => {
      for (const answer of [
        await bob.delete(`/api/auth/mfa/${factor.id}`),
        await bob.post('/api/auth/mfa/totp', {}),
        await bob.post('/api/auth/mfa/passkeys/options'),
        await bob.post('/api/auth/mfa/recovery-codes'),
        await bob.post('/api/keys', { name: 'k', scopes: ['projects.read'] }),
      ])
        assert.deepEqual([answer.status, answer.code], [403, 'reauthentication_required'], answer.text);
    };
    await refused();
    /* The password alone is not enough any more. */
    assert.equal((await bob.post('/api/auth/reauthenticate', { password: PASSWORD })).status, 403);
    assert.equal((await bob.post('/api/auth/reauthenticate', { code: '000000' })).status, 401);
    assert.equal((await bob.post('/api/auth/reauthenticate', {})).status, 400);
    assert.equal((await bob.post('/api/auth/reauthenticate', { code: totp(secret), password: PASSWORD })).status, 400);
    await refused();
    const before = bob.cookies.cat_session;
    assert.equal((await bob.post('/api/auth/reauthenticate', { code: totp(secret) })).status, 204);
    assert.notEqual(bob.cookies.cat_session, before);
    assert.equal(await isSignedIn(bob.with({ cookies: { cat_session: before } })), false);
    assert.equal((await bob.post('/api/keys', { name: 'k', scopes: ['projects.read'] })).status, 201);
    const passkey = await enrolPasskey(bob, origin);
    await change(catalyst, 'UPDATE sessions SET factor_us = factor_us - 600000000');
    const { options } = await bob.must(200, bob.post('/api/auth/reauthenticate/options'));
    const given = await bob.post('/api/auth/reauthenticate', { passkey: passkey.assert(options) });
    assert.equal(given.status, 204, given.text);
    const named = await bob.must(200, bob.patch(`/api/auth/mfa/${factor.id}`, { name: 'Phone' }));
    assert.equal(named.name, 'Phone');
    assert.equal((await bob.delete(`/api/auth/mfa/${factor.id}`)).status, 204);
    const types = (await sealedLog(catalyst)).map((l) => l.event.type);
    for (const type of ['factor.added', 'factor.removed', 'factor.renamed', 'recovery_codes.made', 'auth.sign_in_begun']) assert.ok(types.includes(type), type);
    const eve = await person();
    assert.equal((await eve.delete(`/api/auth/mfa/${passkey.factor.id}`)).status, 404);
    assert.equal((await eve.patch(`/api/auth/mfa/${passkey.factor.id}`, { name: 'x' })).status, 404);
  });

  await t.test('administrators reset the factors of who belongs to them alone, never of who may more', async () => {
    const bob = await person();
    const admin = await person('admin');
    await enrolApp(bob);
    const path = `/api/workspaces/${ada.workspace}/members/${bob.user.id}/factors`;
    const viewer = await person('viewer');
    assert.equal((await viewer.delete(path)).status, 403);
    assert.equal((await admin.delete(`/api/workspaces/${ada.workspace}/members/${ada.user.id}/factors`)).status, 403);
    await change(catalyst, `UPDATE sessions SET authenticated_us = authenticated_us - 600000000`);
    assert.deepEqual((await admin.delete(path)).code, 'reauthentication_required');
    assert.equal((await admin.post('/api/auth/reauthenticate', { password: PASSWORD })).status, 204);
    const reset = await admin.delete(path);
    assert.equal(reset.status, 204, reset.text);
    assert.equal(await isSignedIn(bob), false);
    const b = await begin(emailOf(bob));
    assert.equal(b.mfa_required, false);
    assert.ok((await sealedLog(catalyst)).some((l) => l.event.type === 'factors.reset'));
    /* Of two workspaces: neither resets them. */
    const carol = await person();
    await carol.must(201, carol.post('/api/workspaces', { name: 'Own' }));
    await enrolApp(carol);
    assert.equal((await admin.delete(`/api/workspaces/${ada.workspace}/members/${carol.user.id}/factors`)).status, 409);
  });

  await t.test('a workspace asks for factors, and for passkeys, and nobody gets around it', async () => {
    const carol = await person();
    const { id } = await carol.must(201, carol.post('/api/workspaces', { name: 'Strict' }));
    const inStrict = carol.with({ workspace: id });
    const { secret } = await enrolApp(carol);
    inStrict.cookies = carol.cookies;
    const put = (settings) => inStrict.patch(`/api/workspaces/${id}`, { settings });
    const set = await put({ mfa_required: 'all' });
    assert.equal(set.status, 200, set.text);
    assert.equal((await inStrict.get('/api/projects')).status, 200);
    const dave = await newMember(inStrict, 'developer');
    const without = await dave.get('/api/projects');
    assert.deepEqual([without.status, without.code], [403, 'factor_required'], without.text);
    assert.equal((await dave.get('/api/auth/me')).status, 200);
    assert.equal((await dave.post('/api/projects', { name: 'x' })).status, 403);
    await enrolApp(dave);
    assert.equal((await dave.get('/api/projects')).status, 200);
    await change(catalyst, 'UPDATE sessions SET factor_us = factor_us - 86400000000');
    assert.equal((await dave.get('/api/projects')).code, 'reauthentication_required');
    assert.equal((await inStrict.post('/api/auth/reauthenticate', { code: totp(secret) })).status, 204);
    const passkey = await enrolPasskey(inStrict, origin);
    const strict = await put({ passkey_roles: ['developer', 'owner'] });
    assert.equal(strict.status, 200, strict.text);
    assert.equal((await inStrict.get('/api/projects')).status, 200);
    const b = await begin(emailOf(carol));
    assert.equal((await finish(b, { code: totp(secret, 1) })).status, 200);
    const byCode = await b.caller.get('/api/projects', { 'x-catalyst-workspace': id });
    assert.deepEqual([byCode.status, byCode.code], [403, 'reauthentication_required'], byCode.text);
    const { caller } = await alone(passkey);
    assert.equal((await caller.get('/api/projects', { 'x-catalyst-workspace': id })).status, 200);
  });

  await t.test('no secret of a factor stands in the log or on the disk', async () => {
    const bob = await person();
    const { secret } = await enrolApp(bob);
    const { codes } = await bob.must(201, bob.post('/api/auth/mfa/recovery-codes'));
    const b = await begin(emailOf(bob));
    await finish(b, { code: totp(secret) });
    const text = (await sealedLog(catalyst)).map((l) => l.bytes.toString('utf8')).join('\n');
    for (const planted of [secret, codes[0], codes[0].replaceAll('-', ''), totp(secret), b.caller.cookies.cat_session, 'Authenticator app'])
      assert.ok(!text.includes(planted), planted);
    assert.ok(!catalyst.stderr.includes(secret));
    const [row] = await query(catalyst, `SELECT length(seed) AS n FROM factors WHERE user_id = (SELECT id FROM users WHERE email = '${emailOf(bob)}')`);
    assert.equal(row.n, 20 + 33);
  });
});
