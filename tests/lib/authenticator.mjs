// authenticator.mjs - an authenticator in software: what a browser and its passkey would send, in whatever wrong form a test asks for.
// CBOR by hand, keys by Node's crypto: P-256, RSA and Ed25519. Also the codes that an authenticator app would show.

import { createHash, createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

const sha256 = (data) => createHash('sha256').update(data).digest();
export const base64url = (bytes) => Buffer.from(bytes).toString('base64url');

// --- CBOR, canonical ---

function head(major, n) {
  if (n < 24) return Buffer.from([(major << 5) | n]);
  if (n < 0x100) return Buffer.from([(major << 5) | 24, n]);
  if (n < 0x10000) return Buffer.from([(major << 5) | 25, n >> 8, n & 0xff]);
  return Buffer.from([(major << 5) | 26, n >>> 24, (n >> 16) & 0xff, (n >> 8) & 0xff, n & 0xff]);
}

/** Numbers, texts, Buffers, arrays, Maps (in the order that they have). */
export function cbor(value) {
  if (typeof value === 'number') return value < 0 ? head(1, -1 - value) : head(0, value);
  if (typeof value === 'boolean') return Buffer.from([value ? 0xf5 : 0xf4]);
  if (typeof value === 'string') return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)]);
  if (Buffer.isBuffer(value)) return Buffer.concat([head(2, value.length), value]);
  if (Array.isArray(value)) return Buffer.concat([head(4, value.length), ...value.map(cbor)]);
  return Buffer.concat([head(5, value.size), ...[...value].flatMap(([k, v]) => [cbor(k), cbor(v)])]);
}

// --- keys ---

const bytesOf = (text) => Buffer.from(text, 'base64url');
const kinds = {
  es256: {
    make: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    cose: (jwk) => new Map([[1, 2], [3, -7], [-1, 1], [-2, bytesOf(jwk.x)], [-3, bytesOf(jwk.y)]]), // prettier-ignore
    sign: (data, key) => sign('sha256', data, key),
    alg: -7,
  },
  rs256: {
    make: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
    cose: (jwk) => new Map([[1, 3], [3, -257], [-1, bytesOf(jwk.n)], [-2, bytesOf(jwk.e)]]), // prettier-ignore
    sign: (data, key) => sign('sha256', data, key),
    alg: -257,
  },
  eddsa: {
    make: () => generateKeyPairSync('ed25519'),
    cose: (jwk) => new Map([[1, 1], [3, -8], [-1, 6], [-2, bytesOf(jwk.x)]]), // prettier-ignore
    sign: (data, key) => sign(null, data, key),
    alg: -8,
  },
};

export const UP = 1;
export const UV = 4;
export const BE = 8;
export const BS = 16;
const AT = 64;

export class Passkey {
  /** origin: of the page, as the browser says it. */
  constructor(origin, kind = 'es256') {
    this.origin = origin;
    this.kind = kinds[kind];
    this.pair = this.kind.make();
    this.id = randomBytes(32);
    this.count = 0;
    this.userHandle = null;
  }

  clone() {
    return Object.assign(Object.create(Passkey.prototype), this);
  }

  get cose() {
    return cbor(this.kind.cose(this.pair.publicKey.export({ format: 'jwk' })));
  }

  /** What the page would be told about, with the wrong things that a test wants. */
  clientData(type, challenge, wrong) {
    return Buffer.from(
      JSON.stringify({
        type: wrong.type ?? type,
        challenge: wrong.challenge ?? challenge,
        origin: wrong.origin ?? this.origin,
        crossOrigin: false,
        ...wrong.client,
      }),
    );
  }

  authenticatorData(rpId, flags, wrong, more = Buffer.alloc(0)) {
    const count = Buffer.alloc(4);
    count.writeUInt32BE(wrong.count ?? ++this.count);
    return Buffer.concat([sha256(wrong.rpId ?? rpId), Buffer.from([wrong.flags ?? flags]), count, more]);
  }

  /** RegistrationResponseJSON for PublicKeyCredentialCreationOptionsJSON. */
  register(options, wrong = {}) {
    const id = wrong.id ?? this.id;
    const length = Buffer.from([id.length >> 8, id.length & 0xff]);
    const attested = Buffer.concat([Buffer.alloc(16), length, id, wrong.cose ?? this.cose]);
    const client = this.clientData('webauthn.create', options.challenge, wrong);
    const flags = (wrong.flags ?? (UP | UV)) | AT;
    const authData = this.authenticatorData(options.rp.id, flags, { ...wrong, flags: undefined }, attested);
    const statement = wrong.statement ?? ['none', new Map()];
    const object = cbor(new Map([['fmt', statement[0]], ['attStmt', statement[1]], ['authData', authData]])); // prettier-ignore
    this.userHandle = options.user.id;
    return {
      id: base64url(id),
      rawId: base64url(id),
      type: 'public-key',
      response: { clientDataJSON: base64url(client), attestationObject: base64url(wrong.object ?? object), transports: ['internal'] },
      clientExtensionResults: {},
    };
  }

  /** AuthenticationResponseJSON for PublicKeyCredentialRequestOptionsJSON. */
  assert(options, wrong = {}) {
    const client = this.clientData('webauthn.get', options.challenge, wrong);
    const authData = this.authenticatorData(options.rpId, UP | UV, wrong, wrong.behind);
    const kind = wrong.signedBy ?? this;
    const signature = wrong.signature ?? kind.kind.sign(Buffer.concat([authData, sha256(client)]), kind.pair.privateKey);
    const id = wrong.id ?? this.id;
    return {
      id: base64url(id),
      rawId: base64url(id),
      type: 'public-key',
      response: {
        clientDataJSON: base64url(client),
        authenticatorData: base64url(authData),
        signature: base64url(signature),
        userHandle: wrong.userHandle === undefined ? this.userHandle : wrong.userHandle,
      },
      clientExtensionResults: {},
    };
  }
}

// --- codes by time ---

function base32(text) {
  const bytes = [];
  let bits = 0;
  let n = 0;
  for (const c of text) {
    bits = ((bits << 5) | 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c)) & 0xfff;
    if ((n += 5) >= 8) bytes.push((bits >> (n -= 8)) & 0xff);
  }
  return Buffer.from(bytes);
}

/** The six digits of a step of 30 seconds; 0 is the present one. */
export function totp(secret, offset = 0, now = Date.now()) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(now / 30_000) + offset));
  const mac = createHmac('sha1', base32(secret)).update(counter).digest();
  const at = mac[19] & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

/** Waits for the next step of 30 seconds when this one ends soon: what follows happens within one. */
export async function withinAStep(room_ms = 5000) {
  const left = 30_000 - (Date.now() % 30_000);
  if (left < room_ms) await new Promise((resolve) => setTimeout(resolve, left));
}

// --- enrolling ---

/** A caller (signed in, just now) gets an authenticator app; the step before now's is used up. Gives its secret. */
export async function enrolApp(caller) {
  const { secret, uri } = await caller.must(201, caller.post('/api/auth/mfa/totp', {}));
  await caller.must(201, caller.post('/api/auth/mfa/totp/confirm', { code: totp(secret, -1) }));
  return { secret, uri };
}

/** The caller's new passkey, enrolled. */
export async function enrolPasskey(caller, origin, kind) {
  const passkey = new Passkey(origin, kind);
  const { options } = await caller.must(200, caller.post('/api/auth/mfa/passkeys/options'));
  passkey.factor = await caller.must(201, caller.post('/api/auth/mfa/passkeys', { name: 'Key', credential: passkey.register(options) }));
  return passkey;
}
