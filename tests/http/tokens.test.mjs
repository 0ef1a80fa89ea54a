// Programs that a person has let in: access tokens that nobody can forge or confuse, refresh tokens that are used once, and that
// what has ended stops at the next request.

import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { Caller, PASSWORD, QUICK_PASSWORDS, newMember, owner } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst } from '../lib/catalyst.mjs';
import { scope } from '../lib/defer.mjs';
import { sealedLog } from '../lib/rebuild.mjs';
import { b64, bearer, forge, letIn, read, refresh } from '../lib/token.mjs';

describe('tokens', { skip: NO_BINARY }, () => {
  const suite = scope();
  let catalyst, ada, jwks, tokens;
  before(async () => {
    catalyst = await startCatalyst(suite, { config: { identity: QUICK_PASSWORDS, api: { rate_per_minute: 0, rate_per_address_per_minute: 0 } } });
    ada = await owner(catalyst);
    tokens = await letIn(ada);
    jwks = (await new Caller(catalyst.origin).get('/.well-known/jwks.json')).json;
  });
  after(() => suite.end());
  const me = (token) => bearer(ada, token).get('/api/auth/me');
  const refused = async (token, what, status = 401) => {
    const answer = await me(token);
    assert.equal(answer.status, status, `${what}: ${answer.status} ${answer.text}`);
    if (status === 401) assert.equal(answer.code, 'unauthenticated', what);
  };

  test('an access token is what RFC 9068 says, and others can verify it by the published keys', async () => {
    const { head, claims } = read(tokens.access_token);
    assert.equal(tokens.token_type, 'Bearer');
    assert.equal(tokens.expires_in, 600);
    assert.deepEqual(Object.keys(head).sort(), ['alg', 'kid', 'typ']);
    assert.equal(head.typ, 'at+jwt');
    assert.equal(head.alg, 'EdDSA');
    assert.deepEqual(Object.keys(claims).sort(), ['aud', 'client_id', 'exp', 'iat', 'iss', 'jti', 'nbf', 'scope', 'sid', 'sub', 'wid']);
    assert.equal(claims.sub, ada.user.id);
    assert.equal(claims.wid, ada.workspace);
    assert.equal(claims.exp - claims.iat, 600);
    const jwk = jwks.keys.find((k) => k.kid === head.kid);
    assert.deepEqual(Object.keys(jwk).sort(), ['alg', 'crv', 'kid', 'kty', 'use', 'x']);
    const key = crypto.createPublicKey({ key: jwk, format: 'jwk' });
    const at = tokens.access_token.lastIndexOf('.');
    assert.ok(crypto.verify(null, Buffer.from(tokens.access_token.slice(0, at)), key, Buffer.from(tokens.access_token.slice(at + 1), 'base64url')));
    const answer = await new Caller(catalyst.origin).get('/.well-known/jwks.json');
    assert.equal(answer.type, 'application/jwk-set+json');
    assert.equal(answer.headers.get('cache-control'), 'public, max-age=300');
  });

  test('it acts for its person in one workspace, with its scopes, and never as a person', async () => {
    const mine = (await me(tokens.access_token)).json;
    assert.equal(mine.user.email, 'ada@example.com');
    assert.equal(mine.csrf_token, null);
    assert.equal(mine.key, null);
    assert.equal(mine.token.session_id, tokens.session_id);
    assert.deepEqual(mine.workspaces.map((w) => w.id), [ada.workspace]);
    assert.ok(!mine.workspaces[0].permissions.includes('apikeys.own'));
    const program = bearer(ada, tokens.access_token);
    assert.equal((await program.post('/api/projects', { name: 'by a program' })).status, 201);
    // What is for people: step-up, sessions, keys, the instance.
    for (const [method, path, body] of [
      ['GET', '/api/auth/sessions'], ['DELETE', `/api/auth/sessions/${tokens.session_id}`], ['POST', '/api/auth/logout'],
      ['POST', '/api/auth/token', { workspace_id: ada.workspace }], ['POST', '/api/auth/password', { current_password: PASSWORD, new_password: 'x' }],
      ['POST', '/api/keys', { name: 'k', scopes: ['projects.read'] }], ['POST', '/api/auth/device/BCDF-GHJK', { approve: true }],
      ['GET', '/api/users'], ['POST', '/api/admin/signing-keys/rotate', {}],
    ])
      assert.equal((await program.call(method, path, body)).status, 403, `${method} ${path}`);
    const narrow = bearer(ada, (await letIn(ada, { scopes: ['projects.read'] })).access_token);
    assert.equal((await narrow.get('/api/projects')).status, 200);
    assert.equal((await narrow.post('/api/projects', { name: 'no' })).status, 403);
    const second = await ada.must(201, ada.post('/api/workspaces', { name: 'Second' }));
    const stranger = program.with({ workspace: second.id });
    assert.equal((await stranger.get('/api/projects')).status, 404);
    for (const scopes of [['apikeys.own'], ['nothing.real']])
      assert.equal((await ada.post('/api/auth/token', { workspace_id: ada.workspace, scopes })).status, 400);
    assert.equal((await ada.post('/api/auth/token', { workspace_id: crypto.randomUUID() })).status, 404);
  });

  test('what the person may no more, their program may not either', async () => {
    const bob = await newMember(ada, 'developer');
    const program = bearer(bob, (await letIn(bob)).access_token);
    assert.equal((await program.post('/api/projects', { name: 'bob 1' })).status, 201);
    const at = `/api/workspaces/${ada.workspace}/members/${bob.user.id}`;
    await ada.must(200, ada.put(at, { role: 'viewer' }));
    assert.equal((await program.post('/api/projects', { name: 'bob 2' })).status, 403);
    await ada.must(204, ada.delete(at));
    assert.equal((await program.get('/api/projects')).status, 404);
  });

  test('no token that was forged, changed or meant for something else is taken', async () => {
    const { head, claims } = read(tokens.access_token);
    const [h, p, s] = tokens.access_token.split('.');
    const jwk = jwks.keys.find((k) => k.kid === head.kid);
    const now = Math.floor(Date.now() / 1000);
    const own = crypto.generateKeyPairSync('ed25519');
    const ec = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const hs = (text, key) => crypto.createHmac('sha256', key).update(text).digest();
    const pem = crypto.createPublicKey({ key: jwk, format: 'jwk' }).export({ format: 'pem', type: 'spki' });
    const tokensThatAreNone = {
      'alg none': `${b64(JSON.stringify({ ...head, alg: 'none' }))}.${p}.`,
      'alg none with the signature': `${b64(JSON.stringify({ ...head, alg: 'none' }))}.${p}.${s}`,
      'HS256 by the PEM': forge({ ...head, alg: 'HS256' }, claims, pem, hs),
      'HS256 by the JWK': forge({ ...head, alg: 'HS256' }, claims, JSON.stringify(jwk), hs),
      'HS256 by x': forge({ ...head, alg: 'HS256' }, claims, Buffer.from(jwk.x, 'base64url'), hs),
      'another key under our kid': forge(head, claims, own.privateKey),
      'another algorithm under our kid': forge({ ...head, alg: 'ES256' }, claims, ec.privateKey, (t, key) => crypto.sign('sha256', Buffer.from(t), { key, dsaEncoding: 'ieee-p1363' })),
      'a key that it brings along': forge({ ...head, jwk: own.publicKey.export({ format: 'jwk' }) }, claims, own.privateKey),
      'a jku': forge({ ...head, jku: 'https://evil.example/jwks.json' }, claims, own.privateKey),
      'no kid': forge({ alg: 'EdDSA', typ: 'at+jwt' }, claims, own.privateKey),
      'crit': forge({ ...head, crit: ['exp'] }, claims, own.privateKey),
      'other claims': `${h}.${b64(JSON.stringify({ ...claims, sub: crypto.randomUUID() }))}.${s}`,
      'a longer life': `${h}.${b64(JSON.stringify({ ...claims, exp: now + 86400 }))}.${s}`,
      'padding': `${tokens.access_token}=`, 'a fourth part': `${tokens.access_token}.${s}`, 'two parts': `${h}.${p}`, 'no signature': `${h}.${p}.`,
      'the unused bits of the signature': tokens.access_token.slice(0, -1) + { A: 'B', Q: 'R', g: 'h', w: 'x' }[tokens.access_token.at(-1)],
      'the JSON form': JSON.stringify({ payload: p, protected: h, signature: s }),
      'very long': `${h}.${p}.${'A'.repeat(9000)}`,
    };
    for (const kid of ["' OR 1=1 --", '../../../../dev/null', '0', '', `${head.kid}\u0000`, head.kid.toUpperCase(), 'x'.repeat(43)])
      tokensThatAreNone[`kid ${JSON.stringify(kid)}`] = forge({ ...head, kid }, claims, own.privateKey);
    for (const [what, token] of Object.entries(tokensThatAreNone)) await refused(token, what);
    // Credentials of other kinds.
    await refused(tokens.refresh_token, 'a refresh token as access token');
    await refused(ada.cookies.cat_session, 'a cookie as bearer');
    await refused(ada.csrf, 'a CSRF token as bearer');
    const asCookie = new Caller(catalyst.origin);
    for (const value of [tokens.access_token, tokens.refresh_token, tokens.session_id]) {
      asCookie.cookies.cat_session = value;
      assert.equal((await asCookie.get('/api/auth/me')).status, 401);
    }
    for (const value of [tokens.access_token, ada.cookies.cat_session, ada.made.api_key]) {
      const answer = await refresh(catalyst.origin, value);
      assert.equal(answer.status, value.length > 200 ? 400 : 400, answer.text);
    }
    // The gateway takes virtual keys only.
    const gateway = await bearer(ada, tokens.access_token).post('/v1/chat/completions', { model: 'x', messages: [] });
    assert.equal(gateway.status, 401);
    assert.equal((await me(tokens.access_token)).status, 200);
  });

  test('a token of another instance is none here', async (t) => {
    const other = await startCatalyst(t, { config: { identity: QUICK_PASSWORDS } });
    const theirs = await letIn(await owner(other));
    await refused(theirs.access_token, 'their token');
    assert.equal((await refresh(catalyst.origin, theirs.refresh_token)).json.error, 'invalid_grant');
  });

  test('a refresh token is used once; whoever repeats it at once gets the same successor', async () => {
    const first = await letIn(ada);
    const second = (await refresh(catalyst.origin, first.refresh_token)).json;
    assert.notEqual(second.refresh_token, first.refresh_token);
    assert.equal((await me(second.access_token)).status, 200);
    const again = (await refresh(catalyst.origin, first.refresh_token)).json;
    assert.equal(again.refresh_token, second.refresh_token);
    // Side by side: one successor.
    const answers = await Promise.all(Array.from({ length: 12 }, () => refresh(catalyst.origin, second.refresh_token)));
    assert.deepEqual([...new Set(answers.map((a) => a.status))], [200]);
    assert.equal(new Set(answers.map((a) => a.json.refresh_token)).size, 1);
    assert.equal((await refresh(catalyst.origin, answers[0].json.refresh_token)).status, 200);
  });

  test('a refresh token that comes a second time ends the whole sign-in, and the log tells', async () => {
    const first = await letIn(ada);
    const second = (await refresh(catalyst.origin, first.refresh_token)).json;
    const third = (await refresh(catalyst.origin, second.refresh_token)).json;
    assert.equal((await me(third.access_token)).status, 200);
    const stolen = await refresh(catalyst.origin, first.refresh_token);
    assert.equal(stolen.status, 400);
    assert.equal(stolen.json.error, 'invalid_grant');
    await refused(third.access_token, 'the access token of the family');
    assert.equal((await refresh(catalyst.origin, third.refresh_token)).json.error, 'invalid_grant');
    const sessions = (await ada.get('/api/auth/sessions')).json.items;
    assert.ok(!sessions.some((s) => s.id === first.session_id));
    const log = (await sealedLog(catalyst)).map((x) => x.event);
    assert.ok(log.some((e) => e.type === 'auth.refresh_token_reused' && e.status === 'failure' && e.resource.id === ada.user.id));
  });

  test('a program signs out by its refresh token, and a token that is none says nothing', async () => {
    const mine = await letIn(ada);
    const nobody = new Caller(catalyst.origin);
    for (const token of ['crt_nonsense', `crt_${'A'.repeat(70)}`]) assert.equal((await nobody.post('/api/auth/revoke', { refresh_token: token })).status, 204);
    assert.equal((await nobody.post('/api/auth/revoke', { refresh_token: mine.refresh_token })).status, 204);
    await refused(mine.access_token, 'after signing out');
    assert.equal((await refresh(catalyst.origin, mine.refresh_token)).status, 400);
  });

  test('what a person ends stops at the next request', async () => {
    const mine = await letIn(ada);
    assert.equal((await me(mine.access_token)).status, 200);
    const listed = (await ada.get('/api/auth/sessions')).json.items.find((s) => s.id === mine.session_id);
    assert.equal(listed.kind, 'program');
    assert.equal(listed.client, 'a test');
    assert.equal(listed.workspace_id, ada.workspace);
    await ada.must(204, ada.delete(`/api/auth/sessions/${mine.session_id}`));
    await refused(mine.access_token, 'after its end');
    assert.equal((await refresh(catalyst.origin, mine.refresh_token)).status, 400);
  });

  test('another site cannot use refresh tokens through a browser', async () => {
    const mine = await letIn(ada);
    for (const headers of [{ origin: 'https://evil.example' }, { 'sec-fetch-site': 'cross-site' }, { origin: 'null' }])
      assert.equal((await refresh(catalyst.origin, mine.refresh_token, headers)).status, 403);
  });

  test('keys are replaced, and what a stolen one signed is void at once', async () => {
    const before = (await letIn(ada)).access_token;
    const kid = await ada.must(201, ada.post('/api/admin/signing-keys/rotate', {}));
    assert.equal((await me(before)).status, 200);
    const published = (await ada.get('/.well-known/jwks.json')).json.keys.map((k) => k.kid);
    assert.ok(published.includes(read(before).head.kid) && published.includes(kid.kid));
    const fresh = (await letIn(ada)).access_token;
    assert.equal(read(fresh).head.kid, kid.kid);
    await ada.must(201, ada.post('/api/admin/signing-keys/rotate', { is_compromised: true }));
    await refused(before, 'signed by the stolen key');
    await refused(fresh, 'signed by the stolen key');
    assert.equal((await ada.get('/.well-known/jwks.json')).json.keys.length, 1);
    const bob = await newMember(ada, 'admin');
    assert.equal((await bob.post('/api/admin/signing-keys/rotate', {})).status, 403);
  });
});
