// gateway.test.mjs - who may call, where a call goes, and that its bytes arrive as they were sent, in both
// directions.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { chatStream, events, providerError, transcript } from '../doubles/provider.mjs';
import {
  DIALECTS,
  MODELS,
  PATHS,
  bodyOf,
  call,
  callBytes,
  headOf,
  isAnthropic,
  startCall,
} from '../lib/call.mjs';
import { NO_BINARY, startGateway, startProvider } from '../lib/catalyst.mjs';
import { scope } from '../lib/defer.mjs';
import { makeKey, sha256, withTypo } from '../lib/keys.mjs';
import { RawConnection, chunked, exchange, freePort, request } from '../lib/raw.mjs';
import { gate, until } from '../lib/wait.mjs';

const upstream = (scene, dialect) => scene.double[isAnthropic(dialect) ? 'anthropic' : 'openai'];

/** Whether an error is in the shape of the dialect, and what it says. */
function errorOf(answer, dialect) {
  const body = answer.json();
  assert.match(answer.header('content-type'), /^application\/json/);
  assert.ok(answer.id, 'x-catalyst-request-id');
  if (isAnthropic(dialect)) {
    assert.equal(body.type, 'error');
    assert.equal(typeof body.error.type, 'string');
    assert.equal(body.request_id, answer.id);
  } else {
    assert.deepEqual(Object.keys(body.error).sort(), ['code', 'message', 'param', 'type']);
  }
  assert.equal(typeof body.error.message, 'string');
  return body.error;
}

describe('keys', { skip: NO_BINARY }, () => {
  const suite = scope();
  const hashed = makeKey();
  let scene;
  before(async () => {
    scene = await startGateway(suite, {
      config: ({ standard }) => ({
        ...standard,
        keys: [...standard.keys, { name: 'bob', key_sha256: sha256(hashed) }],
      }),
    });
  });
  after(suite.end);

  const bearer = (key) => ({ Authorization: `Bearer ${key}`, 'x-api-key': null });
  const apiKey = (key) => ({ Authorization: null, 'x-api-key': key });

  for (const dialect of DIALECTS) {
    test(`${dialect}: Bearer and x-api-key serve, and the key never goes on`, async () => {
      const double = upstream(scene, dialect);
      for (const key of [scene.key, hashed]) {
        for (const headers of [
          bearer(key),
          apiKey(key),
          { ...bearer(key), Authorization: `bearer ${key}` },
        ]) {
          const answer = await call(scene, dialect, undefined, { headers });
          assert.equal(answer.status, 200, answer.text);
          const { head } = double.last;
          assert.ok(!head.includes(key), "the client's key went to the provider");
          assert.equal(
            head.toString('latin1').split(double.key).length,
            2,
            "the provider's key stands there once",
          );
        }
      }
    });

    test(`${dialect}: other credentials are 401 and go nowhere`, async () => {
      const double = upstream(scene, dialect);
      const before = double.wire.heads.length;
      const messages = new Map();
      const refused = {
        none: bearer(''),
        absent: { Authorization: null, 'x-api-key': null },
        unknown: bearer(makeKey()),
        mistyped: bearer(withTypo(scene.key)),
        mistyped_x_api_key: apiKey(withTypo(scene.key)),
        short: apiKey(scene.key.slice(0, -1)),
        "the provider's": bearer(double.key),
        basic: {
          Authorization: `Basic ${Buffer.from(`x:${scene.key}`).toString('base64')}`,
          'x-api-key': null,
        },
        long: bearer('cvk_' + 'x'.repeat(4000)),
      };
      for (const [name, headers] of Object.entries(refused)) {
        const answer = await call(scene, dialect, undefined, { headers });
        assert.equal(answer.status, 401, `${name}: ${answer.text}`);
        const error = errorOf(answer, dialect);
        messages.set(name, error.message);
        if (isAnthropic(dialect)) assert.equal(error.type, 'authentication_error');
        else assert.equal(error.code, 'invalid_api_key');
        assert.ok(!answer.text.includes(scene.key), 'an error does not repeat the key');
      }
      assert.notEqual(
        messages.get('mistyped'),
        messages.get('unknown'),
        'a slip of the pen is told from a wrong key',
      );
      assert.equal(double.wire.heads.length, before);
    });

    test(`${dialect}: a management key is refused by name`, async () => {
      const answer = await call(scene, dialect, undefined, { headers: bearer(makeKey('cat')) });
      assert.ok([401, 403].includes(answer.status), answer.text);
      assert.match(errorOf(answer, dialect).message, /cvk_/);
    });
  }
});

describe('routing', { skip: NO_BINARY }, () => {
  const suite = scope();
  let scene;
  before(async () => {
    scene = await startGateway(suite, {
      config: ({ standard }) => ({
        ...standard,
        aliases: { fast: 'gpt-4o-mini', smart: 'anthropic/claude-opus-4-5' },
      }),
    });
  });
  after(suite.end);

  test('models go where their names say', async () => {
    for (const dialect of DIALECTS) {
      assert.equal((await call(scene, dialect)).status, 200);
      const { last } = upstream(scene, dialect);
      assert.equal(last.path, PATHS[dialect]);
      assert.equal(last.method, 'POST');
      assert.equal(last.json().model, MODELS[dialect]);
    }
  });

  test('an alias is put in for the model and nothing else moves', async () => {
    const odd = '{ "messages" : [ ] ,\n\t"model" :  "NAME"  , "n":1}';
    for (const [dialect, alias, model] of [
      ['chat', 'fast', 'gpt-4o-mini'],
      ['responses', 'fast', 'gpt-4o-mini'],
      ['messages', 'smart', 'claude-opus-4-5'],
    ]) {
      const answer = await call(scene, dialect, odd.replace('NAME', alias));
      assert.equal(answer.status, 200, answer.text);
      assert.equal(upstream(scene, dialect).last.body.toString(), odd.replace('NAME', model));
      const record = await scene.catalyst.record(answer.id);
      assert.equal(record.model_asked, alias);
      assert.equal(record.model, model);
    }
  });

  test('a name that no rule knows goes to the only provider that could serve it', async () => {
    const answer = await call(scene, 'chat', bodyOf('chat', { model: 'mystery-7b' }));
    assert.equal(answer.status, 200, answer.text);
    assert.equal(scene.double.openai.last.json().model, 'mystery-7b');
  });

  test('a model in a dialect that its provider does not speak is 400 and names the right endpoint', async () => {
    for (const [dialect, model, right] of [
      ['chat', 'claude-opus-4-5', /\/v1\/messages/],
      ['responses', 'claude-opus-4-5', /\/v1\/messages/],
      ['messages', 'gpt-4o-mini', /\/v1\/(chat\/completions|responses)/],
      ['embeddings', 'claude-opus-4-5', /\/v1\/messages/],
    ]) {
      const answer = await call(scene, dialect, bodyOf(dialect, { model }));
      assert.equal(answer.status, 400, `${dialect} ${model}: ${answer.text}`);
      assert.match(errorOf(answer, dialect).message, right);
    }
  });

  test('an unknown model is 404 and lists the known ones', async (t) => {
    const { double, catalyst, key } = await startGateway(t, {
      config: ({ standard, double: d }) => ({
        ...standard,
        providers: [
          {
            name: 'one',
            kind: 'compatible',
            base_url: d.openai.openaiUrl,
            api_key: 'a',
            models: ['alpha-*'],
          },
          { name: 'two', kind: 'compatible', base_url: d.openai.openaiUrl, api_key: 'b', models: ['beta-1'] },
        ],
      }),
    });
    const answer = await call({ catalyst, key }, 'chat', bodyOf('chat', { model: 'gamma' }));
    assert.equal(answer.status, 404, answer.text);
    const error = errorOf(answer, 'chat');
    assert.equal(error.code, 'model_not_found');
    assert.match(error.message, /gamma/);
    assert.match(error.message, /alpha-\*/);
    assert.match(error.message, /beta-1/);
    assert.equal(double.openai.wire.heads.length, 0);
  });

  test('compatible servers: a path in base_url, no key where none is configured', async (t) => {
    const local = await startProvider(t, {});
    const it = await startGateway(t, {
      config: ({ standard }) => ({
        ...standard,
        providers: [{ name: 'local', kind: 'ollama', base_url: `${local.origin}/deep/er/v1/` }],
      }),
    });
    const answer = await call(it, 'chat', bodyOf('chat', { model: 'llama3.2:3b' }));
    assert.equal(answer.status, 200, answer.text);
    assert.equal(local.last.path, '/deep/er/v1/chat/completions');
    assert.equal(local.last.header('authorization'), undefined);
    assert.ok(!local.last.head.includes(it.key));
  });
});

describe('bodies', { skip: NO_BINARY }, () => {
  const suite = scope();
  let scene;
  before(async () => {
    scene = await startGateway(suite);
  });
  after(suite.end);

  const WRONG = {
    empty: '',
    blank: ' \n',
    'no JSON': 'model=gpt-4o-mini',
    'an array': '[{"model":"gpt-4o-mini"}]',
    'a string': '"gpt-4o-mini"',
    'no model': '{"messages":[]}',
    'a model that is null': '{"model":null}',
    'a model that is a number': '{"model":4}',
    'an empty model': '{"model":""}',
    'two models': '{"model":"gpt-4o-mini","model":"gpt-4o"}',
    'two models, one escaped': '{"model":"gpt-4o-mini","mod\\u0065l":"gpt-4o"}',
    'two streams': '{"model":"gpt-4o-mini","stream":false,"stream":true}',
    'a stream that is a word': '{"model":"gpt-4o-mini","stream":"yes"}',
    'an open object': '{"model":"gpt-4o-mini"',
    'a comma at the end': '{"model":"gpt-4o-mini",}',
    'something behind it': '{"model":"gpt-4o-mini"} x',
    'two values': '{"model":"gpt-4o-mini"}{"model":"gpt-4o-mini"}',
    'a comment': '{"model":"gpt-4o-mini"/* */}',
    'single quotes': "{'model':'gpt-4o-mini'}",
    'no quotes': '{model:"gpt-4o-mini"}',
    NaN: '{"model":"gpt-4o-mini","x":NaN}',
    Infinity: '{"model":"gpt-4o-mini","x":-Infinity}',
    'a leading zero': '{"model":"gpt-4o-mini","x":01}',
    'a bare point': '{"model":"gpt-4o-mini","x":1.}',
    'a plus': '{"model":"gpt-4o-mini","x":+1}',
    'a hexadecimal number': '{"model":"gpt-4o-mini","x":0x10}',
    'a raw newline in a string': '{"model":"gpt-4o-mini","x":"a\nb"}',
    'a raw NUL in a string': '{"model":"gpt-4o-mini","x":"a\0b"}',
    'an unknown escape': '{"model":"gpt-4o-mini","x":"\\x41"}',
    'half an escape': '{"model":"gpt-4o-mini","x":"\\u00"}',
    'a lone high surrogate': '{"model":"gpt-4o-mini","x":"\\ud83d"}',
    'a lone low surrogate': '{"model":"gpt-4o-mini","x":"\\ude00"}',
    'surrogates the wrong way round': '{"model":"gpt-4o-mini","x":"\\ude00\\ud83d"}',
    'a depth bomb': `{"model":"gpt-4o-mini","x":${'['.repeat(100_000)}`,
    'a closed depth bomb': `{"model":"gpt-4o-mini","x":${'['.repeat(2000)}${']'.repeat(2000)}}`,
    'a depth bomb of objects': `{"model":"gpt-4o-mini","x":${'{"a":'.repeat(2000)}1${'}'.repeat(2001)}`,
    'wrong brackets': '{"model":"gpt-4o-mini","x":[}',
    'overlong UTF-8': Buffer.from('{"model":"gpt-4o-mini","x":"\xc0\xaf"}', 'latin1'),
    'a surrogate in UTF-8': Buffer.from('{"model":"gpt-4o-mini","x":"\xed\xa0\x80"}', 'latin1'),
    'a code point beyond Unicode': Buffer.from('{"model":"gpt-4o-mini","x":"\xf4\x90\x80\x80"}', 'latin1'),
    'half a character': Buffer.from('{"model":"gpt-4o-mini","x":"\xe2\x82"}', 'latin1'),
    'a lone continuation byte': Buffer.from('{"model":"gpt-4o-mini","x":"\x80"}', 'latin1'),
    Latin1: Buffer.from('{"model":"gpt-4o-mini","x":"\xe9"}', 'latin1'),
    'UTF-16': Buffer.from('{"model":"gpt-4o-mini"}', 'utf16le'),
    "a model's name of 10 kB": `{"model":"${'m'.repeat(10_000)}"}`,
  };

  test("what is no request is 400 in the dialect's shape, and goes nowhere", async () => {
    const double = scene.double.openai;
    const before = double.wire.heads.length;
    for (const [name, body] of Object.entries(WRONG)) {
      const answer = await call(scene, 'chat', body);
      assert.ok([400, 413].includes(answer.status), `${name}: ${answer.status} ${answer.text}`);
      assert.equal(errorOf(answer, 'chat').type, 'invalid_request_error', name);
    }
    for (const dialect of ['responses', 'embeddings', 'messages', 'count_tokens']) {
      for (const body of ['', '{', '{"model":1}', '[]']) {
        const answer = await call(scene, dialect, body);
        assert.equal(answer.status, 400, `${dialect} ${body}: ${answer.text}`);
        errorOf(answer, dialect);
      }
    }
    assert.equal(double.wire.heads.length, before);
  });

  test('an error in JSON says where', async () => {
    const answer = await call(scene, 'chat', '{"model":"gpt-4o-mini","x":NaN}');
    assert.match(answer.json().error.message, /27/);
    assert.equal((await call(scene, 'chat', '{"messages":[]}')).json().error.param, 'model');
  });

  const UNUSUAL = {
    formatting: '\t{ "model"\r\n:"gpt-4o-mini" , "messages" : [\n] }\n ',
    numbers:
      '{"model":"gpt-4o-mini","seed":123456789012345678901234567890,"a":1.0,"b":-0.0,"c":1E400,"d":1e-7,"e":[0.1e+1]}',
    'duplicates of unknown members': '{"x":1,"model":"gpt-4o-mini","x":2,"metadata":{"a":1,"a":2}}',
    escapes: '{"model":"gpt-4o-mini","x":"\\u0041\\/\\b\\f\\ud83d\\ude00 é 😀 \\u0000","\\u0079":"y"}',
    'an escaped name': '{"mod\\u0065l":"gpt-4o-mini"}',
    'an escaped value': '{"model":"gpt\\u002d4o-mini"}',
    'a model further down':
      '{"metadata":{"model":"other","stream":true},"messages":[{"model":"x"}],"model":"gpt-4o-mini"}',
    'line separators': '{"model":"gpt-4o-mini","x":"\u2028\u2029\ufeff\u007f"}',
    'nested to the limit': `{"model":"gpt-4o-mini","x":${'['.repeat(100)}${']'.repeat(100)}}`,
    'an empty name': '{"":{"":[]},"model":"gpt-4o-mini"}',
    'false stream': '{"model":"gpt-4o-mini","stream":false,"stream_options":null}',
  };

  test('what is merely unusual arrives byte for byte', async () => {
    for (const [name, body] of Object.entries(UNUSUAL)) {
      const answer = await call(scene, 'chat', body);
      assert.equal(answer.status, 200, `${name}: ${answer.text}`);
      assert.equal(scene.double.openai.last.body.toString(), body, name);
      assert.equal(scene.double.openai.last.header('content-length'), String(Buffer.byteLength(body)));
    }
    for (const dialect of ['responses', 'messages', 'embeddings', 'count_tokens']) {
      const body = ` ${bodyOf(dialect, { stream: dialect === 'messages' || dialect === 'responses', extra: { big: 1, n: [1, 2] } })}\n`;
      assert.equal((await call(scene, dialect, body)).status, 200, dialect);
      assert.equal(upstream(scene, dialect).last.body.toString(), body, dialect);
    }
  });

  test('a chunked request arrives whole', async () => {
    const body = bodyOf('chat');
    const answer = await call(scene, 'chat', chunked(...body.match(/.{1,9}/gs)), {
      headers: { 'Transfer-Encoding': 'chunked' },
    });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(scene.double.openai.last.body.toString(), body);
  });

  test('8 MB arrive byte for byte', async () => {
    const body = bodyOf('chat', { x: 'é'.repeat(4 << 20) });
    const answer = await call(scene, 'chat', body, { deadline_ms: 20_000 });
    assert.equal(answer.status, 200);
    assert.ok(scene.double.openai.last.body.equals(Buffer.from(body)));
  });

  test('a streamed chat asks for usage, and nothing else changes', async () => {
    const cases = [
      ['{"model":"gpt-4o-mini", "stream" : true ,"x":[1 ]}', { include_usage: true }],
      [
        '{"stream":true,"model":"gpt-4o-mini","stream_options":{"include_usage":false}}',
        { include_usage: true },
      ],
      [
        '{"stream":true,"model":"gpt-4o-mini","stream_options":{ "include_obfuscation" : false }}',
        { include_usage: true, include_obfuscation: false },
      ],
      ['{"stream":true,"model":"gpt-4o-mini","stream_options":{}}', { include_usage: true }],
      ['{"stream":true,"model":"gpt-4o-mini","stream_options":null}', { include_usage: true }],
      [
        '{"stream":true,"model":"gpt-4o-mini","stream_options":{"include_usage":null}}',
        { include_usage: true },
      ],
    ];
    for (const [body, options] of cases) {
      const answer = await call(scene, 'chat', body);
      assert.equal(answer.status, 200, body);
      const sent = scene.double.openai.last.body.toString();
      assert.deepEqual(JSON.parse(sent), { ...JSON.parse(body), stream_options: options }, body);
      // Without what was put in or replaced, the text is what it was.
      const bare = (text) =>
        text.replace(/\s*"stream_options"\s*:\s*(\{[^}]*\}|null)\s*,?/, '').replace(/,(\s*)\}$/, '$1}');
      assert.equal(bare(sent), bare(body));
      assert.ok(!answer.text.includes('"choices":[]'), 'the chunk that was not asked for is gone');
      assert.ok(answer.text.endsWith('data: [DONE]\n\n'));
    }
    const asked = '{"stream":true,"model":"gpt-4o-mini","stream_options":{"include_usage" :true}}';
    const answer = await call(scene, 'chat', asked);
    assert.equal(scene.double.openai.last.body.toString(), asked);
    assert.equal(answer.text, chatStream(transcript('chat-plain.sse'), true).toString());
  });
});

describe('headers', { skip: NO_BINARY }, () => {
  const suite = scope();
  let scene;
  before(async () => {
    scene = await startGateway(suite);
  });
  after(suite.end);

  test('what is for the provider goes on, what is for this hop stays', async () => {
    for (const dialect of DIALECTS) {
      const headers = {
        'User-Agent': 'agent/1.0',
        'anthropic-beta': 'a-2025-01-01,b-2025-02-02',
        'openai-beta': 'assistants=v2',
        'OpenAI-Organization': 'org-1',
        'X-Stainless-Retry-Count': '0',
        'X-Unknown': 'a  b',
        'X-Claude-Code-Session-Id': 's1',
        'Idempotency-Key': 'i1',
        'Accept-Encoding': 'gzip, br',
        Connection: 'keep-alive, X-Hop',
        'X-Hop': 'gone',
        'Keep-Alive': 'timeout=5',
        TE: 'trailers',
        'Proxy-Authorization': 'Basic eDp5',
        'Proxy-Connection': 'keep-alive',
        Expect: '100-continue',
      };
      const c = await RawConnection.open(scene.catalyst.port);
      await c.send(callBytes(scene, dialect, undefined, { headers }));
      let answer = await c.readAnswer();
      if (answer.status === 100) answer = await c.readAnswer();
      c.close();
      assert.equal(answer.status, 200);
      const { last } = upstream(scene, dialect);
      for (const name of [
        'User-Agent',
        'anthropic-beta',
        'openai-beta',
        'OpenAI-Organization',
        'X-Stainless-Retry-Count',
        'X-Unknown',
        'X-Claude-Code-Session-Id',
        'Idempotency-Key',
      ])
        assert.deepEqual(last.values(name.toLowerCase()), [headers[name]], `${dialect} ${name}`);
      for (const name of ['x-hop', 'keep-alive', 'te', 'proxy-authorization', 'proxy-connection', 'expect'])
        assert.deepEqual(last.values(name), [], `${dialect} ${name}`);
      assert.deepEqual(last.values('accept-encoding'), ['identity']);
      assert.deepEqual(last.values('host'), [`127.0.0.1:${upstream(scene, dialect).wire.port}`]);
      assert.deepEqual(last.values('content-type'), ['application/json']);
      assert.equal(last.values('content-length').length + last.values('transfer-encoding').length, 1);
      if (isAnthropic(dialect)) assert.deepEqual(last.values('anthropic-version'), ['2023-06-01']);
    }
  });

  test('query strings go on', async () => {
    for (const dialect of DIALECTS) {
      for (const query of ['?beta=true', '?a=%20b&c=d%2F&&e', '?a=1?b=/']) {
        assert.equal((await call(scene, dialect, undefined, { query })).status, 200);
        assert.equal(upstream(scene, dialect).last.target, PATHS[dialect] + query);
      }
    }
  });

  test("the answer keeps the provider's fields and gains the request id", async () => {
    const ids = new Set();
    for (const [dialect, wants] of [
      ['chat', { 'openai-processing-ms': '412', 'x-request-id': 'req_5f2d7c0a9be84e5b8a3d1e6f' }],
      [
        'messages',
        { 'anthropic-ratelimit-requests-remaining': '3999', 'request-id': 'req_011CSHoEeqs5C35K2UUqR7Fy' },
      ],
    ]) {
      for (const stream of [false, true]) {
        const answer = await call(scene, dialect, bodyOf(dialect, { stream }));
        for (const [name, value] of Object.entries(wants)) assert.equal(answer.header(name), value);
        assert.match(answer.header('content-type'), stream ? /^text\/event-stream/ : /^application\/json/);
        assert.equal(
          answer.fields.filter(([n]) => n === 'transfer-encoding' || n === 'content-length').length,
          1,
        );
        assert.equal(answer.fields.filter(([n]) => n === 'date').length, 1);
        assert.match(answer.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
        ids.add(answer.id);
      }
    }
    assert.equal(ids.size, 4);
  });

  test('trace context goes on, and the record has the trace', async () => {
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
    const traceparent = `00-${trace}-00f067aa0ba902b7-01`;
    const answer = await call(scene, 'chat', undefined, { headers: { traceparent, tracestate: 'vendor=1' } });
    assert.match(scene.double.openai.last.header('traceparent'), new RegExp(`^00-${trace}-[0-9a-f]{16}-01$`));
    assert.equal(scene.double.openai.last.header('tracestate'), 'vendor=1');
    assert.equal((await scene.catalyst.record(answer.id)).trace_id, trace);
  });
});

describe('answers', { skip: NO_BINARY }, () => {
  const suite = scope();
  let scene;
  before(async () => {
    scene = await startGateway(suite);
  });
  after(suite.end);
  /** The text that a client is to see, when it did not ask for usage. */
  const expected = (dialect, bytes) =>
    dialect === 'chat' ? chatStream(bytes, false).toString() : bytes.toString();
  const seen = (dialect, text) =>
    dialect === 'chat' ? text.replaceAll(',"usage":null}\n\n', '}\n\n') : text;
  const NAMES = {
    chat: ['plain', 'tools', 'unicode', 'refusal', 'reasoning', 'no-usage'],
    responses: ['plain', 'tools', 'unicode', 'reasoning', 'refusal', 'incomplete', 'no-usage'],
    messages: ['plain', 'tools', 'unicode', 'thinking', 'cache', 'refusal', 'no-usage'],
  };

  for (const [dialect, names] of Object.entries(NAMES)) {
    test(
      `${dialect}: every transcript arrives byte for byte, however it is delivered`,
      { timeout: 180_000 },
      async () => {
        for (const name of names) {
          const file = `${dialect}-${name}`;
          for (const act of [{}, { deliver: 'whole' }, { deliver: 'bytes' }, { framing: 'close' }]) {
            upstream(scene, dialect).next({ transcript: file, ...act });
            const answer = await call(scene, dialect, bodyOf(dialect, { stream: true }));
            assert.equal(answer.status, 200);
            assert.equal(
              seen(dialect, answer.text),
              expected(dialect, transcript(`${file}.sse`)),
              `${file} ${JSON.stringify(act)}`,
            );
          }
          for (const act of [
            {},
            { deliver: 'bytes' },
            { framing: 'close' },
            { framing: 'chunked', deliver: 100 },
          ]) {
            upstream(scene, dialect).next({ transcript: file, ...act });
            const answer = await call(scene, dialect, bodyOf(dialect));
            assert.ok(answer.body.equals(transcript(`${file}.json`)), `${file} ${JSON.stringify(act)}`);
          }
        }
      },
    );

    test(`${dialect}: a stream split in two at every byte`, { timeout: 180_000 }, async (t) => {
      const file = { chat: 'chat-reasoning', responses: 'responses-refusal', messages: 'messages-cache' }[
        dialect
      ];
      const bytes = transcript(`${file}.sse`);
      const length = dialect === 'chat' ? chatStream(bytes, true).length : bytes.length;
      const want = expected(dialect, bytes);
      const ask = callBytes(scene, dialect, bodyOf(dialect, { stream: true }));
      const c = await RawConnection.open(scene.catalyst.port);
      t.after(() => c.close());
      for (let at = 1; at < length; at += dialect === 'responses' ? 3 : 1) {
        upstream(scene, dialect).next({ transcript: file, deliver: at });
        await c.send(ask);
        const answer = await c.readAnswer();
        assert.equal(seen(dialect, answer.body.toString()), want, `split at ${at}`);
      }
    });
  }

  test('CRLF, CR, comments and a BOM in a stream pass as they are', async () => {
    const sse = [
      '\ufeff: hello\r\nevent: message_start\r\ndata: {"type":"message_start","message":{"usage":{"input_tokens":3}}}\r\n\r\n',
      ': keep-alive\n\n',
      'id: 1\rdata: {"type":"ping"}\r\r',
      'event: message_delta\ndata: {"type":"message_delta",\ndata: "usage":{"output_tokens":4}}\n\n',
      'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ].join('');
    for (const deliver of ['whole', 'bytes']) {
      scene.double.anthropic.next({ sse, deliver });
      const answer = await call(scene, 'messages', bodyOf('messages', { stream: true }));
      assert.equal(answer.text, sse);
      const record = await scene.catalyst.record(answer.id);
      assert.equal(record.outcome, 'completed');
      assert.equal(record.tokens.input, 3);
      assert.equal(record.tokens.output, 4);
    }
  });

  test('5 MB in one answer, and in a stream', { timeout: 180_000 }, async () => {
    const body = Buffer.from(
      JSON.stringify({
        object: 'chat.completion',
        choices: [{ message: { content: 'é'.repeat(2_500_000) } }],
        usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
      }),
    );
    scene.double.openai.next({ body });
    const plain = await call(scene, 'chat', undefined, { deadline_ms: 20_000 });
    assert.ok(plain.body.equals(body));
    const event = `data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"${'é'.repeat(2000)}"},"finish_reason":null}]}\n\n`;
    const sse = event.repeat(1200) + 'data: [DONE]\n\n';
    scene.double.openai.next({ sse });
    const stream = await call(scene, 'chat', bodyOf('chat', { stream: true }), { deadline_ms: 20_000 });
    assert.equal(stream.text, sse);
  });

  test('an answer in gzip, though identity was asked, passes with its coding', async () => {
    scene.double.openai.next({ gzip: true });
    const answer = await call(scene, 'chat');
    assert.equal(answer.header('content-encoding'), 'gzip');
    assert.ok(gunzipSync(answer.body).equals(transcript('chat-plain.json')));
    const record = await scene.catalyst.record(answer.id);
    assert.equal(record.outcome, 'completed');
    assert.ok(record.tokens.input > 0);
  });

  test('the head goes out when it comes, and each event as it comes', async (t) => {
    for (const dialect of ['chat', 'responses', 'messages']) {
      const rest = gate();
      upstream(scene, dialect).next({ gate: rest, after: 1 });
      const c = await startCall(t, scene, dialect, bodyOf(dialect, { stream: true }));
      const first = events(transcript(`${dialect}-plain.sse`))[0].toString();
      await until('the head and the first event', () =>
        c.received.includes(first.slice(0, first.length - 3)),
      );
      assert.ok(!upstream(scene, dialect).last.isFinished);
      rest.open();
      const answer = await c.readAnswer();
      assert.equal(
        seen(dialect, answer.body.toString()),
        expected(dialect, transcript(`${dialect}-plain.sse`)),
      );
    }
  });

  test('the head alone goes out before any event', async (t) => {
    const rest = gate();
    scene.double.anthropic.next({ gate: rest, after: 0 });
    const c = await startCall(t, scene, 'messages', bodyOf('messages', { stream: true }));
    const head = await until('the head', () => headOf(c));
    assert.equal(head.status, 200);
    rest.open();
    await c.readAnswer();
  });

  test('errors of the provider pass as they are', async () => {
    for (const dialect of DIALECTS) {
      for (const status of [400, 401, 404, 429, 500, 503, 529]) {
        const double = upstream(scene, dialect);
        double.next({ fault: status });
        const answer = await call(
          scene,
          dialect,
          bodyOf(dialect, isAnthropic(dialect) || dialect === 'embeddings' ? {} : { stream: true }),
        );
        assert.equal(answer.status, status);
        assert.ok(
          answer.body.equals(providerError(dialect, status).body),
          `${dialect} ${status}: ${answer.text}`,
        );
        if (status === 429) assert.equal(answer.header('retry-after'), '1');
        assert.equal(double.exchanges.filter((x) => x === double.last).length, 1, 'no retry of our own');
        const record = await scene.catalyst.record(answer.id);
        assert.equal(record.outcome, 'completed');
        assert.equal(record.status, status);
        assert.equal(record.cost_nanousd, 0, `${dialect} ${status}: an error costs nothing`);
      }
    }
  });

  test('a kept connection that the provider closed meanwhile does no harm', async () => {
    for (let i = 0; i < 5; i++) {
      assert.equal((await call(scene, 'chat')).status, 200);
      for (const socket of scene.double.openai.wire.sockets) socket.destroy();
      await until('the double to be left', () => scene.double.openai.wire.sockets.size === 0);
    }
    assert.equal((await call(scene, 'chat')).status, 200);
  });

  test('connections to the provider are kept', async (t) => {
    const it = await startGateway(t, { config: ({ standard }) => ({ ...standard, loops: 1 }) });
    for (let i = 0; i < 10; i++)
      assert.equal((await call(it, 'chat', bodyOf('chat', { stream: i % 2 === 0 }))).status, 200);
    assert.equal(it.double.openai.wire.connectionCount, 1);
  });

  test('a dead provider is 502 and says which', async (t) => {
    const port = await freePort();
    const it = await startGateway(t, {
      config: ({ standard }) => ({
        ...standard,
        providers: [{ name: 'gone', kind: 'openai', base_url: `http://127.0.0.1:${port}/v1`, api_key: 'x' }],
      }),
    });
    for (const dialect of ['chat', 'responses', 'embeddings']) {
      const answer = await call(it, dialect);
      assert.equal(answer.status, 502, answer.text);
      assert.match(errorOf(answer, dialect).message, /gone/);
      const record = await it.catalyst.record(answer.id);
      assert.equal(record.outcome, 'upstream_failed');
      assert.equal(record.status, 502);
      assert.equal(record.cost_nanousd, 0);
    }
    assert.equal((await exchange(it.catalyst.port, request('GET', '/healthz'))).status, 200);
  });
});
