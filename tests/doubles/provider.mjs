// provider.mjs - a double of a model provider: OpenAI's and Anthropic's endpoints on one port, answering from
// hand-written transcripts.
//
// It is as strict as the real ones where that shows whether a gateway does its work: the provider's own key
// must arrive, Anthropic's version field must be there, include_usage is honoured only when it was asked for,
// unknown paths are 404. Everything received is kept in `exchanges`.
//
// What to answer is an "act": {transcript, status, headers, body, deliver, framing, fault, after, gate,
// gzip}. Acts come, in this order, from
//   - the query member `double` of the request's target (the name of a fault, or "transcript:NAME"),
//   - the queue filled by double.next(act, act, ...), one per request,
//   - double.act, for all requests (an object, or a function of the exchange),
//   - the default: a tool call when tools are offered and no result of one is there, else plain text.
//
// raw      bytes to write in place of an answer; the connection is closed behind them unless `keeps` is set
// early    answers when the head has come and reads no body
// deliver  'events' (a write per event, the default), 'whole', 'bytes' (a write per byte), or a number (two
//          writes, split there)
// framing  'chunked', 'length' or 'close'; by default streams are chunked, bodies have a length
// fault    drop, reset      the connection ends before the head, by FIN or by RST
//          stall-head       nothing is answered
//          garbage          something that is no HTTP head
//          cut, reset-mid   the connection ends after `after` writes, by FIN or by RST
//          stall            nothing more after `after` writes
//          short            a proper end of the body after `after` writes
//          slow             a pause of `pause_ms` between writes
//          429, 500, ...    the provider's own error of that status

import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import zlib from 'node:zlib';
import { WireServer } from './wire.mjs';

const FOLDER = new URL('./transcripts/', import.meta.url);
const cache = new Map();

/** The bytes of a transcript. */
export function transcript(file) {
  if (!cache.has(file)) cache.set(file, readFileSync(new URL(file, FOLDER)));
  return cache.get(file);
}

const ROUTES = [
  ['POST', '/chat/completions', 'chat'],
  ['POST', '/responses', 'responses'],
  ['POST', '/embeddings', 'embeddings'],
  ['POST', '/messages/count_tokens', 'count_tokens'],
  ['POST', '/messages', 'messages'],
  ['GET', '/models', 'models'],
];

const OPENAI_ERRORS = {
  400: ['invalid_request_error', null, 'We could not parse the JSON body of your request.'],
  401: [
    'invalid_request_error',
    'invalid_api_key',
    'Incorrect API key provided: sk-wrong**********. You can find your API key at https://platform.openai.com/account/api-keys.',
  ],
  404: [
    'invalid_request_error',
    'model_not_found',
    'The model `gpt-none` does not exist or you do not have access to it.',
  ],
  429: [
    'requests',
    'rate_limit_exceeded',
    'Rate limit reached for gpt-4o-mini in organization org-double on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.',
  ],
  500: ['server_error', null, 'The server had an error while processing your request. Sorry about that!'],
  503: ['server_error', null, 'The engine is currently overloaded, please try again later.'],
  529: ['server_error', null, 'Overloaded'],
};
const ANTHROPIC_ERRORS = {
  400: ['invalid_request_error', 'anthropic-version: header is required'],
  401: ['authentication_error', 'invalid x-api-key'],
  404: ['not_found_error', 'model: claude-none'],
  429: [
    'rate_limit_error',
    "This request would exceed your organization's rate limit of 50 requests per minute.",
  ],
  500: ['api_error', 'Internal server error'],
  503: ['api_error', 'Service unavailable'],
  529: ['overloaded_error', 'Overloaded'],
};

const isAnthropic = (dialect) => dialect === 'messages' || dialect === 'count_tokens';

/** The provider's own error answer for a status. */
export function providerError(dialect, status) {
  const requestId = isAnthropic(dialect) ? 'req_011CSHoEeqs5C35K2UUqR7Fy' : 'req_5f2d7c0a9be84e5b8a3d1e6f';
  const headers = [
    ['content-type', 'application/json'],
    [isAnthropic(dialect) ? 'request-id' : 'x-request-id', requestId],
  ];
  let body;
  if (isAnthropic(dialect)) {
    const [type, message] = ANTHROPIC_ERRORS[status];
    body = JSON.stringify({ type: 'error', error: { type, message }, request_id: requestId });
  } else {
    const [type, code, message] = OPENAI_ERRORS[status];
    body = JSON.stringify({ error: { message, type, param: null, code } }, null, 4) + '\n';
  }
  if (status === 429) {
    // The real ones say seconds; a fraction keeps the retries of the SDKs quick.
    headers.push(
      ['retry-after', '1'],
      ['retry-after-ms', '20'],
      ['x-ratelimit-remaining-requests', '0'],
      ['x-ratelimit-reset-requests', '20s'],
    );
  } else if (status >= 500) {
    headers.push(['retry-after-ms', '20']);
  }
  return { status, headers, body: Buffer.from(body) };
}

const REASONS = {
  200: 'OK',
  400: 'Bad Request',
  401: 'Unauthorized',
  404: 'Not Found',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
  529: '',
};

function answerHeaders(dialect, streamed) {
  const common = [
    ['Date', 'Mon, 24 Nov 2025 00:00:00 GMT'],
    [
      'Content-Type',
      streamed
        ? isAnthropic(dialect)
          ? 'text/event-stream; charset=utf-8'
          : 'text/event-stream'
        : 'application/json',
    ],
    ['Connection', 'keep-alive'],
    ['Cache-Control', 'no-cache'],
  ];
  return isAnthropic(dialect)
    ? [
        ...common,
        ['anthropic-ratelimit-requests-limit', '4000'],
        ['anthropic-ratelimit-requests-remaining', '3999'],
        ['request-id', 'req_011CSHoEeqs5C35K2UUqR7Fy'],
        ['anthropic-organization-id', 'c0ffee00-0000-4000-8000-000000000000'],
        ['CF-RAY', '9a3bd0a1b2c3d4e5-ZRH'],
      ]
    : [
        ...common,
        ['openai-organization', 'org-double'],
        ['openai-processing-ms', '412'],
        ['openai-version', '2020-10-01'],
        ['x-ratelimit-remaining-requests', '9999'],
        ['x-request-id', 'req_5f2d7c0a9be84e5b8a3d1e6f'],
        ['strict-transport-security', 'max-age=31536000; includeSubDomains; preload'],
        ['CF-RAY', '9a3bd0a1b2c3d4e5-ZRH'],
      ];
}

/** Splits a stream into its events, each with its empty line. */
export function events(bytes) {
  const text = bytes.toString('latin1');
  const out = [];
  let at = 0;
  for (;;) {
    const end = text.indexOf('\n\n', at);
    if (end < 0) break;
    out.push(bytes.subarray(at, end + 2));
    at = end + 2;
  }
  if (at < bytes.length) out.push(bytes.subarray(at));
  return out;
}

/**
 * A chat stream as the provider sends it: with the usage chunk and the usage:null members when asked, else
 * without both.
 */
export function chatStream(bytes, includesUsage) {
  const out = [];
  for (const event of events(bytes)) {
    const isUsage = event.includes('"choices":[],"usage"');
    if (isUsage && !includesUsage) continue;
    const isChunk = event.includes('"chat.completion.chunk"');
    if (includesUsage && isChunk && !isUsage && bytes.includes('"choices":[],"usage"')) {
      const end = event.lastIndexOf('}\n\n');
      out.push(Buffer.concat([event.subarray(0, end), Buffer.from(',"usage":null}\n\n')]));
    } else {
      out.push(event);
    }
  }
  return Buffer.concat(out);
}

function hasToolResult(dialect, body) {
  if (dialect === 'responses')
    return (
      Array.isArray(body.input) &&
      body.input.some((i) => i.type === 'function_call_output' || i.type === 'custom_tool_call_output')
    );
  const last = body.messages?.at(-1);
  if (dialect === 'chat') return last?.role === 'tool';
  return Array.isArray(last?.content) && last.content.some((b) => b.type === 'tool_result');
}

export class Provider {
  /** key: what must arrive as the credential (null = none is looked at). */
  constructor({ key = null, act = null, tlsOptions = null } = {}) {
    this.key = key;
    this.act = act;
    this.queue = [];
    this.wire = new WireServer({
      onRequest: (x) => this.#answer(x),
      onHead: (x) => this.#answerEarly(x),
      tlsOptions,
    });
    this.scheme = tlsOptions ? 'https' : 'http';
  }

  static async start(options) {
    const p = new Provider(options);
    await p.wire.listen(options?.port ?? 0);
    return p;
  }

  get origin() {
    return `${this.scheme}://127.0.0.1:${this.wire.port}`;
  }

  /** Base URL as OpenAI's SDK and `base_url` of such providers take it. */
  get openaiUrl() {
    return `${this.origin}/v1`;
  }

  get exchanges() {
    return this.wire.exchanges;
  }

  get last() {
    return this.wire.exchanges.at(-1);
  }

  next(...acts) {
    this.queue.push(...acts);
    return this;
  }

  async close() {
    await this.wire.close();
    if (this.wire.failures.length > 0) throw this.wire.failures[0];
  }

  #choose(x, dialect, body) {
    const named = new URLSearchParams(x.query).get('double');
    if (named?.startsWith('transcript:')) return { transcript: named.slice(11) };
    if (named) return { fault: named };
    if (this.queue.length > 0) return this.queue.shift();
    const act = typeof this.act === 'function' ? this.act(x, dialect, body) : this.act;
    return act ?? {};
  }

  #answerEarly(x) {
    if (!this.queue[0]?.early) return false;
    const { raw } = this.queue.shift();
    x.socket.end(raw);
    return true;
  }

  async #answer(x) {
    const route = ROUTES.find(([method, path]) => method === x.method && x.path.endsWith(path));
    const dialect = route?.[2] ?? (x.header('anthropic-version') ? 'messages' : 'chat');
    x.dialect = dialect;
    if (!route) return this.#send(x, dialect, providerError(dialect, 404), {});
    if (this.key !== null) {
      // Anthropic takes its key in either field: older SDKs send x-api-key, newer ones a Bearer token.
      const bearer = /^Bearer (.*)$/.exec(x.header('authorization') ?? '')?.[1];
      const asAnthropic = isAnthropic(dialect) || (dialect === 'models' && x.header('anthropic-version'));
      const given = asAnthropic ? (x.header('x-api-key') ?? bearer) : bearer;
      if (given !== this.key) return this.#send(x, dialect, providerError(dialect, 401), {});
    }
    if (isAnthropic(dialect) && !x.header('anthropic-version'))
      return this.#send(x, dialect, providerError(dialect, 400), {});

    let body = {};
    if (x.method === 'POST') {
      try {
        body = x.json();
      } catch {
        return this.#send(x, dialect, providerError(dialect, 400), {});
      }
    }
    const act = this.#choose(x, dialect, body);
    x.act = act;
    if (act.raw !== undefined) return (x.socket.write(act.raw), act.keeps === true);
    const fault = act.fault === undefined ? undefined : String(act.fault);
    if (fault === 'drop') return (x.socket.destroy(), false);
    if (fault === 'reset') return (x.socket.resetAndDestroy(), false);
    if (fault === 'stall-head') return (await x.closed, false);
    if (fault === 'garbage') return (x.socket.write('\x16\x03\x01 this is no HTTP\r\n\r\n'), false);
    if (/^\d{3}$/.test(fault ?? '')) {
      const error = providerError(dialect, Number(fault));
      return this.#send(x, dialect, { ...error, headers: [...error.headers, ...(act.headers ?? [])] }, {});
    }
    return this.#send(x, dialect, this.#script(x, dialect, body, act), act);
  }

  #script(x, dialect, body, act) {
    const streamed = body.stream === true;
    const headers = [...answerHeaders(dialect, streamed && act.body === undefined), ...(act.headers ?? [])];
    const status = act.status ?? 200;
    if (act.body !== undefined) {
      const bytes = Buffer.isBuffer(act.body)
        ? act.body
        : Buffer.from(typeof act.body === 'string' ? act.body : JSON.stringify(act.body));
      return { status, headers, body: bytes, isStream: false };
    }
    if (act.sse !== undefined) return { status, headers, body: Buffer.from(act.sse), isStream: true };
    if (dialect === 'models')
      return {
        status,
        headers,
        body: transcript(x.header('anthropic-version') ? 'models-anthropic.json' : 'models-openai.json'),
      };
    if (dialect === 'count_tokens') return { status, headers, body: transcript('count-tokens.json') };
    if (dialect === 'embeddings') return { status, headers, body: embeddings(body) };
    const name =
      act.transcript ??
      `${dialect}-${body.tools?.length > 0 && !hasToolResult(dialect, body) ? 'tools' : 'plain'}`;
    let bytes = transcript(`${name}.${streamed ? 'sse' : 'json'}`);
    if (streamed && dialect === 'chat')
      bytes = chatStream(bytes, body.stream_options?.include_usage === true);
    return { status, headers, body: bytes, isStream: streamed };
  }

  async #send(x, dialect, answer, act) {
    const { socket } = x;
    let { body } = answer;
    const headers = [...answer.headers];
    if (act.gzip) {
      body = zlib.gzipSync(body);
      headers.push(['Content-Encoding', 'gzip']);
    }
    const framing = act.framing ?? (answer.isStream ? 'chunked' : 'length');
    if (framing === 'chunked') headers.push(['Transfer-Encoding', 'chunked']);
    else if (framing === 'length') headers.push(['Content-Length', String(body.length)]);
    else
      headers.splice(
        headers.findIndex(([n]) => n === 'Connection'),
        1,
        ['Connection', 'close'],
      );
    const head = `HTTP/1.1 ${answer.status} ${REASONS[answer.status] ?? ''}\r\n${headers.map(([n, v]) => `${n}: ${v}\r\n`).join('')}\r\n`;

    const deliver = act.deliver ?? (answer.isStream ? 'events' : 'whole');
    let pieces;
    if (deliver === 'bytes') pieces = Array.from(body, (_, i) => body.subarray(i, i + 1));
    else if (typeof deliver === 'number')
      pieces = [body.subarray(0, deliver), body.subarray(deliver)].filter((p) => p.length > 0);
    else if (deliver === 'events' && answer.isStream) pieces = events(body);
    else pieces = body.length > 0 ? [body] : [];

    const isMidFault = ['stall', 'cut', 'reset-mid', 'short'].includes(act.fault);
    // A body of one piece is halved, so that "in the middle" means something.
    if ((isMidFault || act.gate) && pieces.length === 1)
      pieces = [body.subarray(0, body.length >> 1), body.subarray(body.length >> 1)];
    const after = act.after ?? pieces.length >> 1;

    socket.write(head);
    x.headSentAt = performance.now();
    for (let i = 0; i < pieces.length; i++) {
      if (x.isClosed) return false;
      if (isMidFault && i === after) {
        // What was written before must be on its way, or the test would not see where it broke.
        await drained(socket);
        if (act.fault === 'stall') return (await x.closed, false);
        if (act.fault === 'cut') return (await fin(socket), false);
        if (act.fault === 'reset-mid') return (await turn(), await turn(), socket.resetAndDestroy(), false);
        if (act.fault === 'short' && framing === 'length') return false;
        if (act.fault === 'short') break;
      }
      if (act.gate && i === after) await Promise.race([act.gate, x.closed]);
      socket.write(
        framing === 'chunked'
          ? Buffer.concat([
              Buffer.from(`${pieces[i].length.toString(16)}\r\n`),
              pieces[i],
              Buffer.from('\r\n'),
            ])
          : pieces[i],
      );
      if (act.fault === 'slow') await pause(act.pause_ms ?? 5);
      else if (deliver !== 'whole') await turn();
      if (socket.writableNeedDrain) await Promise.race([drained(socket), x.closed]);
    }
    if (framing === 'chunked') socket.write('0\r\n\r\n');
    await Promise.race([drained(socket), x.closed]);
    x.isAnswered = true;
    return framing !== 'close';
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

function drained(socket) {
  if (socket.destroyed || socket.writableLength === 0) return Promise.resolve();
  return new Promise((resolve) => socket.write('', () => resolve()));
}

/** Ends the connection in the middle: what was written goes out, then FIN, no last chunk. */
function fin(socket) {
  return new Promise((resolve) => {
    socket.end(resolve);
    socket.once('error', resolve);
  });
}

/** Vectors for each input, as floats or, as the SDKs ask, in base64. */
function embeddings(body) {
  const told = JSON.parse(transcript('embeddings.json').toString('utf8'));
  const inputs = Array.isArray(body.input) ? body.input : [body.input];
  const data = inputs.map((_, index) => {
    const vector = told.data[index % told.data.length].embedding;
    const embedding =
      body.encoding_format === 'base64'
        ? Buffer.from(new Float32Array(vector).buffer).toString('base64')
        : vector;
    return { object: 'embedding', index, embedding };
  });
  return Buffer.from(JSON.stringify({ ...told, data }, null, 2) + '\n');
}
