// edges.test.mjs - answers of providers that are no good HTTP or seldom seen, limits on answers, TLS towards
// clients, leaving in odd moments.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import tls from 'node:tls';
import { transcript } from '../doubles/provider.mjs';
import { bodyOf, call, callBytes, headOf, startCall } from '../lib/call.mjs';
import { NO_BINARY, startGateway, startProvider, temporaryFolder } from '../lib/catalyst.mjs';
import { scope } from '../lib/defer.mjs';
import { RawConnection, chunked, parseAnswer, request } from '../lib/raw.mjs';
import { gate, until, within } from '../lib/wait.mjs';

const JSON_BODY = transcript('chat-plain.json').toString();
const LENGTH = Buffer.byteLength(JSON_BODY);
const head = (...lines) =>
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n${lines.map((l) => l + '\r\n').join('')}\r\n`;
const whole = `${LENGTH.toString(16)}\r\n${JSON_BODY}\r\n0\r\n\r\n`;

describe('answers that are no good HTTP', { skip: NO_BINARY }, () => {
  const suite = scope();
  let scene;
  before(async () => {
    scene = await startGateway(suite, {
      config: ({ standard }) => ({
        ...standard,
        upstream: { first_byte_timeout_ms: '2s', stall_timeout_ms: '500ms' },
      }),
    });
  });
  after(suite.end);

  const BAD_HEADS = {
    'Content-Length and Transfer-Encoding':
      head(`Content-Length: ${LENGTH}`, 'Transfer-Encoding: chunked') + whole,
    'two Content-Lengths': head(`Content-Length: ${LENGTH}`, 'Content-Length: 5') + JSON_BODY,
    'a Content-Length that is no number': head('Content-Length: many') + JSON_BODY,
    'a transfer coding that is not asked for': head('Transfer-Encoding: gzip, chunked') + whole,
    'a bare LF': head('X-A: 1\nX-B: 2', `Content-Length: ${LENGTH}`) + JSON_BODY,
    'a NUL in a field': head('X-A: a\0b', `Content-Length: ${LENGTH}`) + JSON_BODY,
    'a folded field': head('X-A: 1', ' 2', `Content-Length: ${LENGTH}`) + JSON_BODY,
    'HTTP/2': `HTTP/2 200\r\n\r\n`,
    'a status of two digits': `HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n`,
    'a status of letters': `HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n`,
    'a head of a megabyte': head(`X-A: ${'x'.repeat(1 << 20)}`),
    'a page of HTML without a head': '<html><body>502 Bad Gateway</body></html>\r\n\r\n',
    'nothing but an empty line': '\r\n\r\n\r\n',
  };

  test('a head that could be read in two ways is 502', async () => {
    for (const [name, raw] of Object.entries(BAD_HEADS)) {
      scene.double.openai.next({ raw });
      const answer = await call(scene, 'chat');
      assert.equal(answer.status, 502, `${name}: ${answer.status} ${answer.text}`);
      assert.ok(answer.json().error.message, name);
      assert.equal((await scene.catalyst.record(answer.id)).outcome, 'upstream_failed', name);
    }
  });

  test('a chunked body that is broken is not passed off as whole', async () => {
    for (const body of [
      'xyz\r\n',
      `${LENGTH.toString(16)}\n${JSON_BODY}`,
      `5\r\n${JSON_BODY}\r\n0\r\n\r\n`,
      '-1\r\n',
      'FFFFFFFFFFFFFFFFF\r\n',
    ]) {
      scene.double.openai.next({ raw: head('Transfer-Encoding: chunked') + body });
      const c = await RawConnection.open(scene.catalyst.port);
      await c.send(callBytes(scene, 'chat'));
      await within('the end', c.ended);
      const got = headOf(c);
      if (got)
        assert.ok(got.status === 502 || parseAnswer(c.received) === null, c.received.toString().slice(-200));
      c.close();
    }
  });

  test('answers before the answer (100, 103) are read over', async () => {
    scene.double.openai.next({
      raw: `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n${head(`Content-Length: ${LENGTH}`)}${JSON_BODY}`,
    });
    const answer = await call(scene, 'chat');
    assert.equal(answer.status, 200);
    assert.equal(answer.text, JSON_BODY);
    assert.equal(answer.header('link'), undefined);
  });

  test('bytes behind the answer are not given to the next call', async () => {
    scene.double.openai.next({
      raw: `${head(`Content-Length: ${LENGTH}`)}${JSON_BODY}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen`,
      keeps: true,
    });
    assert.equal((await call(scene, 'chat')).text, JSON_BODY);
    for (let i = 0; i < 4; i++) assert.equal((await call(scene, 'chat')).text, JSON_BODY);
  });

  test('answers without a body', async () => {
    for (const [raw, status] of [
      [head('Content-Length: 0'), 200],
      ['HTTP/1.1 204 No Content\r\n\r\n', 204],
      ['HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n', 500],
      ['HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n', 302],
    ]) {
      scene.double.openai.next({ raw });
      const answer = await call(scene, 'chat');
      assert.equal(answer.status, status);
      assert.equal(answer.body.length, 0);
    }
  });

  test('trailers and chunk extensions of an answer are read over', async () => {
    scene.double.openai.next({
      raw: `${head('Transfer-Encoding: chunked', 'Trailer: X-Sum')}${LENGTH.toString(16)};a=b\r\n${JSON_BODY}\r\n0\r\nX-Sum: 1\r\n\r\n`,
      keeps: true,
    });
    const answer = await call(scene, 'chat');
    assert.equal(answer.text, JSON_BODY);
    assert.equal((await call(scene, 'chat')).status, 200);
  });

  test('an answer that comes before the request is written', async () => {
    const body = bodyOf('chat', { x: 'y'.repeat(8 << 20) });
    const error = '{"error":{"message":"too large","type":"invalid_request_error","param":null,"code":null}}';
    scene.double.openai.next({
      early: true,
      raw: `HTTP/1.1 413 Payload Too Large\r\nContent-Type: application/json\r\nContent-Length: ${error.length}\r\nConnection: close\r\n\r\n${error}`,
    });
    const answer = await call(scene, 'chat', body, { deadline_ms: 15_000 });
    // The provider's own word where it came through before its reset, else that it broke off.
    assert.ok([413, 502].includes(answer.status), answer.text);
    assert.equal((await call(scene, 'chat')).status, 200);
  });

  test('an answer in JSON though a stream was asked for, and the other way round', async () => {
    scene.double.openai.next({ body: JSON_BODY });
    const plain = await call(scene, 'chat', bodyOf('chat', { stream: true }));
    assert.equal(plain.text, JSON_BODY);
    assert.equal((await scene.catalyst.record(plain.id)).tokens.input, 176);
    const sse = transcript('messages-plain.sse').toString();
    scene.double.anthropic.next({
      raw: `HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n${chunked(sse)}`,
    });
    const stream = await call(scene, 'messages');
    assert.equal(stream.text, sse);
    assert.equal((await scene.catalyst.record(stream.id)).tokens.output, 11);
  });
});

describe('limits on answers', { skip: NO_BINARY }, () => {
  test('an event beyond its limit ends the stream with an error', async (t) => {
    const scene = await startGateway(t, {
      config: ({ standard }) => ({ ...standard, limits: { stream_event_bytes: '64KiB' } }),
    });
    const events = transcript('messages-plain.sse').toString().split('\n\n');
    const big = `event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"${'x'.repeat(200_000)}"}}`;
    scene.double.anthropic.next({ sse: [...events.slice(0, 4), big, ...events.slice(4)].join('\n\n') });
    const answer = await call(scene, 'messages', bodyOf('messages', { stream: true }));
    assert.match(answer.text, /event: error\n/);
    assert.ok(!answer.text.includes('message_stop'));
    assert.equal((await scene.catalyst.record(answer.id)).outcome, 'cut');
    await until(
      'the provider to be left',
      () => scene.double.anthropic.last.clientClosedAt !== 0 || scene.double.anthropic.last.isAnswered,
    );
  });

  test('an answer beyond the limit for reading passes, and is estimated', async (t) => {
    const scene = await startGateway(t, {
      config: ({ standard }) => ({ ...standard, limits: { answer_bytes: '16KiB' } }),
    });
    const body = JSON.stringify({
      object: 'chat.completion',
      choices: [{ message: { content: 'x'.repeat(2_000_000) } }],
      usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
    });
    scene.double.openai.next({ body });
    const answer = await call(scene, 'chat');
    assert.equal(answer.text, body);
    const record = await scene.catalyst.record(answer.id);
    assert.equal(record.outcome, 'completed');
    assert.equal(record.estimated, true);
    assert.ok(record.tokens.output >= 500_000, String(record.tokens.output));
  });
});

describe('other kinds of providers', { skip: NO_BINARY }, () => {
  test("Azure: its own key field, and the base URL's query joined with the client's", async (t) => {
    const azure = await startProvider(t, {});
    const scene = await startGateway(t, {
      config: ({ standard }) => ({
        ...standard,
        providers: [
          {
            name: 'azure',
            kind: 'azure',
            base_url: `${azure.origin}/openai/v1?api-version=preview`,
            api_key: 'azure-key',
            models: ['gpt-4o-mini'],
          },
        ],
      }),
    });
    assert.equal((await call(scene, 'chat', undefined, { query: '?x=1' })).status, 200);
    assert.equal(azure.last.target, '/openai/v1/chat/completions?api-version=preview&x=1');
    assert.equal(azure.last.header('api-key'), 'azure-key');
    assert.equal(azure.last.header('authorization'), undefined);
    assert.equal((await call(scene, 'responses', bodyOf('responses', { model: 'gpt-4o-mini' }))).status, 200);
    assert.equal(azure.last.target, '/openai/v1/responses?api-version=preview');
  });

  test("a compatible server that speaks Anthropic's dialect too", async (t) => {
    const local = await startProvider(t, {});
    const scene = await startGateway(t, {
      config: ({ standard }) => ({
        ...standard,
        providers: [
          { name: 'local', kind: 'compatible', base_url: local.openaiUrl, dialects: ['chat', 'messages'] },
        ],
      }),
    });
    assert.equal((await call(scene, 'chat')).status, 200);
    assert.equal((await call(scene, 'messages')).status, 200);
    assert.ok(local.last.path.endsWith('/messages'), local.last.path);
    const wrong = await call(scene, 'embeddings');
    assert.equal(wrong.status, 400, wrong.text);
  });
});

describe('leaving in odd moments', { skip: NO_BINARY }, () => {
  const suite = scope();
  let scene;
  before(async () => {
    scene = await startGateway(suite);
  });
  after(suite.end);

  test('a client that leaves with another request pipelined is noticed just the same', async (t) => {
    const double = scene.double.anthropic;
    double.next({ gate: gate(), after: 4 });
    const before = double.exchanges.length;
    const ask = callBytes(scene, 'messages', bodyOf('messages', { stream: true }));
    const c = await RawConnection.open(scene.catalyst.port);
    await c.send(Buffer.concat([ask, ask, ask.subarray(0, 50)]));
    await until('some events', () => c.received.length > 600);
    const left = performance.now();
    c.close();
    await until('the double to see it', () => double.exchanges[before].clientClosedAt !== 0, { every_ms: 1 });
    const delay = double.exchanges[before].clientClosedAt - left;
    t.diagnostic(`${delay.toFixed(1)} ms`);
    assert.ok(delay < 250);
    assert.equal(double.exchanges.length, before + 1, 'the pipelined request was not begun');
  });

  test('a client that leaves while its large body is read, or looked at', async () => {
    const body = bodyOf('chat', { x: 'y'.repeat(6 << 20) });
    const bytes = callBytes(scene, 'chat', body);
    for (const part of [0.3, 0.9, 1]) {
      const c = await RawConnection.open(scene.catalyst.port);
      await c.send(bytes.subarray(0, Math.floor(bytes.length * part)));
      c.close();
    }
    assert.equal((await call(scene, 'chat')).status, 200);
  });

  test('a provider that ends and a client that leaves at the same moment', { timeout: 180_000 }, async () => {
    for (let i = 0; i < 60; i++) {
      const rest = gate();
      scene.double.anthropic.next({ gate: rest, after: 6, fault: i % 3 === 0 ? 'cut' : undefined });
      const c = await startCall({ after: () => {} }, scene, 'messages', bodyOf('messages', { stream: true }));
      await until('some events', () => c.received.length > 700, { every_ms: 1 });
      if (i % 2) {
        rest.open();
        c.reset();
      } else {
        c.close();
        rest.open();
      }
    }
    assert.equal((await call(scene, 'messages')).status, 200);
    const records = await until('a record of each', async () => {
      const all = await scene.catalyst.requests('--dialect', 'messages');
      return all.length >= 62 && all;
    });
    assert.equal(new Set(records.map((r) => r.request_id)).size, records.length);
  });

  test(
    'a hundred clients at once, some with broken providers, all accounted for',
    { timeout: 180_000 },
    async () => {
      const before = (await scene.catalyst.requests()).length;
      const faults = [
        undefined,
        undefined,
        'cut',
        429,
        'drop',
        undefined,
        500,
        'reset-mid',
        undefined,
        'short',
      ];
      let n = 0;
      scene.double.openai.act = () => ({ fault: faults[n++ % faults.length], after: 3 });
      const one = async (i) => {
        const dialect = ['chat', 'responses'][i % 2];
        const answer = await call(scene, dialect, bodyOf(dialect, { stream: i % 3 !== 0 }), {
          deadline_ms: 20_000,
        }).catch((error) => error);
        return answer.id ?? null;
      };
      const ids = [];
      for (let round = 0; round < 3; round++)
        ids.push(...(await Promise.all(Array.from({ length: 100 }, (_, i) => one(i)))));
      scene.double.openai.act = null;
      const records = await until('all records', async () => {
        const all = await scene.catalyst.requests();
        return all.length >= before + 300 && all;
      });
      assert.equal(records.length, before + 300);
      const known = new Set(records.map((r) => r.request_id));
      assert.ok(ids.filter(Boolean).every((id) => known.has(id)));
    },
  );
});

describe('TLS towards clients', { skip: NO_BINARY }, () => {
  const certificate = (folder) => {
    const files = { key: path.join(folder, 'key.pem'), cert: path.join(folder, 'cert.pem') };
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        files.key,
        '-out',
        files.cert,
        '-days',
        '2',
        '-subj',
        '/CN=localhost',
        '-addext',
        'subjectAltName=DNS:localhost,IP:127.0.0.1',
      ],
      { stdio: 'pipe' },
    );
    return files;
  };
  /** One request over TLS; {answer, protocol, cipher}. */
  const talk = (port, ca, bytes, options = {}) =>
    within(
      'an answer over TLS',
      new Promise((resolve, reject) => {
        const socket = tls.connect({ host: '127.0.0.1', port, ca, servername: 'localhost', ...options }, () =>
          socket.write(bytes),
        );
        let received = Buffer.alloc(0);
        socket.on('error', reject);
        socket.on('close', () => reject(new Error('closed')));
        socket.on('data', (piece) => {
          received = Buffer.concat([received, piece]);
          const answer = parseAnswer(received);
          if (!answer) return;
          resolve({ answer, protocol: socket.getProtocol(), cipher: socket.getCipher().name });
          socket.destroy();
        });
      }),
    );

  test(
    '1.3 by default, 1.2 when asked for, calls and streams through both',
    { timeout: 180_000 },
    async (t) => {
      let files;
      try {
        files = certificate(temporaryFolder(t));
      } catch (error) {
        return t.skip(`openssl is not there to make a certificate: ${error.message.split('\n')[0]}`);
      }
      const ca = readFileSync(files.cert);
      for (const min_version of [undefined, '1.2']) {
        const scene = await startGateway(t, {
          config: ({ standard }) => ({ ...standard, tls: { ...files, min_version } }),
        });
        const { port } = scene.catalyst;
        const health = await talk(port, ca, request('GET', '/healthz'));
        assert.equal(health.answer.status, 200);
        assert.equal(health.protocol, 'TLSv1.3');
        const plain = await talk(port, ca, callBytes(scene, 'messages'));
        assert.ok(plain.answer.body.equals(transcript('messages-plain.json')));
        const stream = await talk(
          port,
          ca,
          callBytes(scene, 'messages', bodyOf('messages', { stream: true })),
        );
        assert.ok(stream.answer.body.equals(transcript('messages-plain.sse')));
        const large = JSON.stringify({
          object: 'chat.completion',
          choices: [{ message: { content: 'é'.repeat(1 << 20) } }],
        });
        scene.double.openai.next({ body: large });
        assert.equal(
          (
            await talk(port, ca, callBytes(scene, 'chat', bodyOf('chat', { x: 'z'.repeat(1 << 20) })))
          ).answer.body.toString(),
          large,
        );
        const old = talk(port, ca, request('GET', '/healthz'), { maxVersion: 'TLSv1.2' });
        if (min_version === undefined) await assert.rejects(old);
        else assert.match((await old).cipher, /^ECDHE-.*(GCM|POLY1305)/);
        await assert.rejects(
          talk(port, ca, request('GET', '/healthz'), { maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA256' }),
        );
        await assert.rejects(
          talk(port, ca, request('GET', '/healthz'), { maxVersion: 'TLSv1.1', minVersion: 'TLSv1' }),
        );
        const c = await RawConnection.open(port);
        await c.send(request('GET', '/healthz'));
        await c.readToEnd();
        c.close();
        assert.equal((await talk(port, ca, request('GET', '/healthz'))).answer.status, 200);
      }
    },
  );
});
