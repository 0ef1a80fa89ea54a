// token.mjs - programs that have signed in: their tokens, and forged ones.

import crypto from 'node:crypto';
import { Caller } from './api.mjs';

export const b64 = (data) => Buffer.from(data).toString('base64url');
const json = (part) => JSON.parse(Buffer.from(part, 'base64url').toString());

/** Head and claims of a token. */
export function read(token) {
  const [head, claims] = token.split('.');
  return { head: json(head), claims: json(claims) };
}

/** A token by a key of ours. */
export function forge(head, claims, privateKey = crypto.generateKeyPairSync('ed25519').privateKey, sign = (text, key) => crypto.sign(null, Buffer.from(text), key)) {
  const text = `${b64(JSON.stringify(head))}.${b64(JSON.stringify(claims))}`;
  return `${text}.${b64(sign(text, privateKey))}`;
}

/** Tokens of a program that this person lets in by the page. */
export function letIn(person, more = {}) {
  return person.must(201, person.post('/api/auth/token', { workspace_id: person.workspace, client: 'a test', ...more }));
}

/** Who calls with an access token. */
export const bearer = (person, token, more = {}) => new Caller(person.origin, { key: token, name: 'program', ...more });

export function refresh(origin, refresh_token, headers = {}) {
  return new Caller(origin).post('/api/auth/refresh', { refresh_token }, headers);
}
