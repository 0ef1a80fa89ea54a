// call.mjs - a call to the gateway as bytes: one request on a connection of its own, its whole answer.

import { RawConnection, exchange, request } from './raw.mjs';

export const PATHS = {
  chat: '/v1/chat/completions',
  responses: '/v1/responses',
  embeddings: '/v1/embeddings',
  messages: '/v1/messages',
  count_tokens: '/v1/messages/count_tokens',
};
export const MODELS = {
  chat: 'gpt-4o-mini',
  responses: 'gpt-4.1-mini',
  embeddings: 'text-embedding-3-small',
  messages: 'claude-sonnet-4-5-20250929',
  count_tokens: 'claude-sonnet-4-5-20250929',
};
export const DIALECTS = Object.keys(PATHS);
export const isAnthropic = (dialect) => dialect === 'messages' || dialect === 'count_tokens';

/** A small body that is in order, with `more` members. */
export function bodyOf(dialect, more = {}) {
  const text = 'What is the capital of France?';
  const model = MODELS[dialect];
  const message = { role: 'user', content: text };
  const base = {
    chat: { model, messages: [message] },
    responses: { model, input: text },
    embeddings: { model, input: ['one', 'two'] },
    messages: { model, max_tokens: 64, messages: [message] },
    count_tokens: { model, messages: [message] },
  }[dialect];
  return JSON.stringify({ ...base, ...more });
}

/** The bytes of a call. */
export function callBytes(
  scene,
  dialect,
  body = bodyOf(dialect),
  { headers = {}, query = '', method = 'POST' } = {},
) {
  const credential = isAnthropic(dialect)
    ? { 'x-api-key': scene.key, 'anthropic-version': '2023-06-01' }
    : { Authorization: `Bearer ${scene.key}` };
  const fields = Object.fromEntries(
    Object.entries({ 'Content-Type': 'application/json', ...credential, ...headers }).filter(
      ([, v]) => v !== null,
    ),
  );
  return request(method, PATHS[dialect] + query, fields, body);
}

/** Sends it and reads the whole answer; `id` is the record's. */
export async function call(scene, dialect, body, options = {}) {
  const answer = await exchange(scene.catalyst.port, callBytes(scene, dialect, body, options), options);
  answer.id = answer.header('x-catalyst-request-id');
  answer.text = answer.body.toString('utf8');
  return answer;
}

/** Sends it and gives the connection, for tests that look at the answer as it comes. */
export async function startCall(t, scene, dialect, body, options) {
  const c = await RawConnection.open(scene.catalyst.port);
  t.after(() => c.close());
  await c.send(callBytes(scene, dialect, body, options));
  return c;
}

/** The head's fields of what a connection received so far. */
export function headOf(c) {
  const end = c.received.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const lines = c.received.toString('latin1', 0, end).split('\r\n');
  const fields = Object.fromEntries(
    lines.slice(1).map((l) => [l.slice(0, l.indexOf(':')).toLowerCase(), l.slice(l.indexOf(':') + 1).trim()]),
  );
  return { status: Number(lines[0].split(' ')[1]), fields, length: end + 4 };
}
