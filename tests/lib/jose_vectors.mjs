// Writes tests/unit/jose_vectors.json: keys and tokens that Node's crypto has made, good ones and every way to be wrong that
// this file knows, for the unit test of core/jose. Run it by hand when a case is added: node tests/lib/jose_vectors.mjs
import crypto from 'node:crypto';
import fs from 'node:fs';

const NOW = 1795500000; // of the test
const b64 = (data) => Buffer.from(data).toString('base64url');
const make = {
  EdDSA: () => crypto.generateKeyPairSync('ed25519'),
  ES256: () => crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ES384: () => crypto.generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  RS256: () => crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }),
  PS256: () => crypto.generateKeyPairSync('rsa', { modulusLength: 3072 }),
};
const sign = (alg, key, text) => {
  const data = Buffer.from(text);
  if (alg === 'EdDSA') return crypto.sign(null, data, key);
  if (alg === 'ES256') return crypto.sign('sha256', data, { key, dsaEncoding: 'ieee-p1363' });
  if (alg === 'ES384') return crypto.sign('sha384', data, { key, dsaEncoding: 'ieee-p1363' });
  if (alg === 'RS256') return crypto.sign('sha256', data, key);
  return crypto.sign('sha256', data, { key, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 });
};
const claims = { iss: 'https://issuer.example', aud: 'https://audience.example', sub: 'somebody', exp: NOW + 600, iat: NOW, nbf: NOW, jti: '1' };
const text = (v) => (typeof v === 'string' ? v : JSON.stringify(v));
const token = (alg, key, head, payload) => {
  const signed = `${b64(text(head))}.${b64(text(payload))}`;
  return `${signed}.${b64(sign(alg, key, signed))}`;
};

const keys = [], cases = [];
const add = (what, token, verdict) => cases.push({ what, token, verdict });
const pairs = {};
for (const alg of Object.keys(make)) {
  const pair = (pairs[alg] = make[alg]());
  keys.push({ ...pair.publicKey.export({ format: 'jwk' }), kid: alg, alg, use: 'sig' });
  const head = { alg, typ: 'at+jwt', kid: alg };
  const good = token(alg, pair.privateKey, head, claims);
  const [h, p, s] = good.split('.');
  add(`${alg}: good`, good, 'ok');
  const length = make[alg].toString().includes('rsa') ? 'wrong' : 'refused'; // an RSA signature is as long as its key
  add(`${alg}: another payload`, `${h}.${b64(JSON.stringify({ ...claims, sub: 'root' }))}.${s}`, 'wrong');
  add(`${alg}: another head`, `${b64(JSON.stringify({ ...head, x: 1 }))}.${p}.${s}`, 'wrong');
  const bent = Buffer.from(s, 'base64url');
  bent[5] ^= 1;
  add(`${alg}: a bent signature`, `${h}.${p}.${b64(bent)}`, 'wrong');
  add(`${alg}: a short signature`, `${h}.${p}.${b64(Buffer.from(s, 'base64url').subarray(0, -1))}`, length);
  add(`${alg}: a long signature`, `${h}.${p}.${b64(Buffer.concat([Buffer.from(s, 'base64url'), Buffer.from([0])]))}`, length);
  add(`${alg}: zeros`, `${h}.${p}.${b64(Buffer.alloc(Buffer.from(s, 'base64url').length))}`, 'wrong');
  add(`${alg}: padding`, `${good}==`, 'refused');
  add(`${alg}: white space`, `${good}\n`, 'refused');
  // The same bytes in another text: the bits that are not used.
  const last = s.at(-1), alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  if (s.length % 4) add(`${alg}: unused bits`, good.slice(0, -1) + alphabet[alphabet.indexOf(last) ^ 1], 'refused');
  for (const other of Object.keys(make).filter((o) => o !== alg)) {
    // The key of this algorithm, by a head that names another one: the key decides.
    add(`${alg}'s key, ${other} in the head`, token(alg, pair.privateKey, { ...head, alg: other }, claims), 'wrong or refused');
  }
  const spki = pair.publicKey.export({ format: 'pem', type: 'spki' });
  for (const secret of [spki, JSON.stringify(pair.publicKey.export({ format: 'jwk' })), '']) {
    const signed = `${b64(JSON.stringify({ ...head, alg: 'HS256' }))}.${p}`;
    add(`${alg}: HS256 with the public key`, `${signed}.${b64(crypto.createHmac('sha256', secret || 'x').update(signed).digest())}`, 'refused');
  }
  for (const none of ['none', 'None', 'NONE', 'nOnE', '']) {
    add(`${alg}: ${none || 'empty'}`, `${b64(JSON.stringify({ ...head, alg: none }))}.${p}.`, 'refused');
    add(`${alg}: ${none || 'empty'}, with a signature`, token(alg, pair.privateKey, { ...head, alg: none }, claims), 'refused');
  }
  const evil = make[alg]();
  const jwk = evil.publicKey.export({ format: 'jwk' });
  for (const [name, value] of Object.entries({ jwk, jku: 'https://evil.example/jwks', x5u: 'https://evil.example/x', x5c: ['MII'] })) {
    add(`${alg}: ${name} of the attacker`, token(alg, evil.privateKey, { ...head, [name]: value }, claims), 'refused');
    add(`${alg}: ${name}, rightly signed`, token(alg, pair.privateKey, { ...head, [name]: value }, claims), 'refused');
  }
  add(`${alg}: the attacker's key under our kid`, token(alg, evil.privateKey, head, claims), 'wrong');
  add(`${alg}: an unknown kid`, token(alg, pair.privateKey, { ...head, kid: '../../etc/passwd' }, claims), 'unknown');
}

const { privateKey } = pairs.EdDSA;
const head = { alg: 'EdDSA', typ: 'at+jwt', kid: 'EdDSA' };
const withHead = (what, h, verdict) => add(what, token('EdDSA', privateKey, h, claims), verdict);
const withClaims = (what, c, verdict) => add(what, token('EdDSA', privateKey, head, c), verdict);
for (const extra of [{ crit: ['exp'], exp: 1 }, { crit: [] }, { crit: ['b64'], b64: false }, { b64: false }, { b64: true }, { zip: 'DEF' }, { enc: 'A256GCM' }])
  withHead(`head with ${JSON.stringify(extra)}`, { ...head, ...extra }, 'refused');
withHead('alg twice', '{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"EdDSA"}', 'refused');
withHead('alg twice, one escaped', '{"alg":"EdDSA","\\u0061lg":"none","typ":"at+jwt","kid":"EdDSA"}', 'refused');
withHead('alg as a number', { ...head, alg: 1 }, 'refused');
withHead('alg as a list', { ...head, alg: ['EdDSA'] }, 'refused');
withHead('alg in small letters', { ...head, alg: 'eddsa' }, 'refused');
withHead('alg with a NUL', '{"alg":"EdDSA\\u0000","typ":"at+jwt","kid":"EdDSA"}', 'refused');
withHead('no alg', { typ: 'at+jwt', kid: 'EdDSA' }, 'refused');
withHead('kid as a number', { ...head, kid: 1 }, 'refused');
withHead('kid as an object', { ...head, kid: { $gt: '' } }, 'refused');
withHead('an empty kid', { ...head, kid: '' }, 'refused');
withHead('a head that is a list', '["alg"]', 'refused');
withHead('a head with something behind it', '{"alg":"EdDSA","typ":"at+jwt","kid":"EdDSA"} x', 'refused');
withHead('a head with a byte order mark', '\ufeff{"alg":"EdDSA","typ":"at+jwt","kid":"EdDSA"}', 'refused');
withHead('a deep head', { ...head, a: { b: { c: { d: 1 } } } }, 'refused');
withHead('an unknown member', { ...head, x5t: 'abc', more: 1 }, 'ok');
withHead('typ with its prefix', { ...head, typ: 'application/at+jwt' }, 'ok');
for (const typ of ['JWT', 'jwt', 'refresh+jwt', 'mfa+jwt', 'dpop+jwt', 'logout+jwt', 'at+jwt2', 'application/application/at+jwt'])
  withHead(`typ ${typ}`, { ...head, typ }, 'wrong');
withHead('no typ', { alg: 'EdDSA', kid: 'EdDSA' }, 'wrong');
withHead('typ as a list', { ...head, typ: ['at+jwt'] }, 'refused');
withHead('a token within', { ...head, cty: 'JWT' }, 'wrong');

withClaims('a list as audience', { ...claims, aud: ['https://other.example', claims.aud] }, 'ok');
for (const aud of [undefined, null, 1, '', [], ['https://other.example'], [[claims.aud]], { 0: claims.aud }, `${claims.aud}/`, claims.aud.toUpperCase(), [claims.aud, 1]])
  withClaims(`aud ${JSON.stringify(aud)}`, { ...claims, aud }, 'wrong');
for (const iss of [undefined, null, 1, '', `${claims.iss}/`, claims.iss.toUpperCase(), [claims.iss], `${claims.iss}\u0000`])
  withClaims(`iss ${JSON.stringify(iss)}`, { ...claims, iss }, 'wrong');
for (const exp of [undefined, null, `${NOW + 600}`, NOW + 0.5, -1, true, NOW - 30, NOW - 3600, 0, Number.MAX_VALUE, [NOW + 600]])
  withClaims(`exp ${JSON.stringify(exp)}`, { ...claims, exp }, 'wrong');
withClaims('exp with an exponent', JSON.stringify(claims).replace(`${NOW + 600}`, '2e9'), 'wrong');
withClaims('exp twice', JSON.stringify(claims).replace('"exp"', '"exp":9999999999,"exp"'), 'wrong');
withClaims('exp beyond 64 bits', JSON.stringify(claims).replace(`${NOW + 600}`, '99999999999999999999'), 'wrong');
withClaims('expired within the skew', { ...claims, exp: NOW - 29 }, 'ok');
for (const name of ['nbf', 'iat']) {
  withClaims(`${name} within the skew`, { ...claims, [name]: NOW + 30 }, 'ok');
  withClaims(`no ${name}`, { ...claims, [name]: undefined }, 'ok');
  for (const value of [NOW + 31, NOW + 3600, 'now', null, NOW + 0.5]) withClaims(`${name} ${JSON.stringify(value)}`, { ...claims, [name]: value }, 'wrong');
}
withClaims('claims that are a list', '[]', 'wrong');
withClaims('claims that are a text', '"x"', 'wrong');
withClaims('claims that are no JSON', '{"exp":', 'wrong');
withClaims('claims that are not UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]).toString('latin1'), 'wrong');
withClaims('deep claims', { ...claims, a: { b: { c: { d: { e: { f: { g: { h: { i: 1 } } } } } } } } }, 'wrong');
withClaims('a large token', { ...claims, x: 'x'.repeat(8192) }, 'refused');

const good = token('EdDSA', privateKey, head, claims), [h, p, s] = good.split('.');
const shapes = {
  'nothing': '', 'a dot': '.', 'two dots': '..', 'two parts': `${h}.${p}`, 'four parts': `${good}.${s}`, 'five parts of a JWE': `${h}.${p}.${s}.${s}.${s}`,
  'no head': `.${p}.${s}`, 'no payload': `${h}..${s}`, 'no signature': `${h}.${p}.`, 'white space in front': ` ${good}`,
  'the general JSON form': JSON.stringify({ payload: p, signatures: [{ protected: h, signature: s }] }),
  'the flattened JSON form': JSON.stringify({ payload: p, protected: h, signature: s }),
  'the standard alphabet': `${h}.${p}.${s.slice(0, 3)}+${s.slice(4)}`, 'a line break within': `${h}.${p}.\n${s}`, 'percent signs': `${h}.${p}.${s.slice(0, -3)}%3D`,
};
for (const [what, t] of Object.entries(shapes)) add(what, t, 'refused');

fs.writeFileSync(new URL('../unit/jose_vectors.json', import.meta.url), `${JSON.stringify({ keys, cases }, null, 0).replaceAll('{"what"', '\n{"what"').replaceAll('{"kty"', '\n{"kty"').replaceAll('{"crv"', '\n{"crv"')}\n`);
