// raw.test.mjs - HTTP as it should not be, and as it seldom is: what could be read in two ways is refused and
// the connection closed, what is merely unusual works.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import zlib from 'node:zlib';
import { NO_BINARY, startGateway } from '../lib/catalyst.mjs';
import { scope } from '../lib/defer.mjs';
import { RawConnection, chunked, exchange, request } from '../lib/raw.mjs';
import { gate, until } from '../lib/wait.mjs';

const BODY = '{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Grüße"}]}';
const LENGTH = Buffer.byteLength(BODY);
// What stands behind a malformed request must never be taken for a request of its own.
const SMUGGLED = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n';

/** A POST that is in order but for `lines`; KEY stands for the key. */
const post = (lines, body = BODY) =>
  `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\n${lines.map((l) => l + '\r\n').join('')}\r\n${body}`;
const get = (...lines) =>
  `GET /healthz HTTP/1.1\r\nHost: localhost\r\n${lines.map((l) => l + '\r\n').join('')}\r\n`;
const line = (start) => `${start}\r\nHost: localhost\r\n\r\n`;
const chunks = (body) => post(['Transfer-Encoding: chunked'], body);
const TE = 'Transfer-Encoding: chunked';
const WHOLE = `${LENGTH.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`;
const fill = (n) => 'x'.repeat(n);

const MALFORMED = [
  // --- framing that two readers could take for two things
  ['Content-Length and Transfer-Encoding', post([`Content-Length: ${LENGTH}`, TE], WHOLE), [400]],
  ['Transfer-Encoding and Content-Length', post([TE, 'Content-Length: 4'], WHOLE), [400]],
  ['two equal Content-Lengths', post([`Content-Length: ${LENGTH}`, `Content-Length: ${LENGTH}`]), [400]],
  ['two different Content-Lengths', post([`Content-Length: ${LENGTH}`, 'Content-Length: 3']), [400]],
  ['a list of equal Content-Lengths', post([`Content-Length: ${LENGTH}, ${LENGTH}`]), [400]],
  ['a Content-Length with plus', post([`Content-Length: +${LENGTH}`]), [400]],
  ['a negative Content-Length', post(['Content-Length: -1']), [400]],
  ['a hexadecimal Content-Length', post(['Content-Length: 0x46']), [400]],
  ['a Content-Length with a space inside', post(['Content-Length: 7 0']), [400]],
  ['an empty Content-Length', post(['Content-Length:']), [400]],
  ['a Content-Length with a fraction', post([`Content-Length: ${LENGTH}.0`]), [400]],
  ['a Content-Length with junk behind', post([`Content-Length: ${LENGTH};`]), [400]],
  ['a Content-Length beyond 64 bits', post(['Content-Length: 18446744073709551686']), [400, 413]],
  ['a Content-Length of 40 digits', post([`Content-Length: ${'9'.repeat(40)}`]), [400, 413]],
  ['Transfer-Encoding: identity', post(['Transfer-Encoding: identity']), [400, 501]],
  ['Transfer-Encoding: chunked, identity', post(['Transfer-Encoding: chunked, identity'], WHOLE), [400, 501]],
  ['Transfer-Encoding: gzip, chunked', post(['Transfer-Encoding: gzip, chunked'], WHOLE), [400, 501]],
  ['Transfer-Encoding: xchunked', post(['Transfer-Encoding: xchunked'], WHOLE), [400, 501]],
  [
    'Transfer-Encoding: chunked twice in a field',
    post(['Transfer-Encoding: chunked, chunked'], WHOLE),
    [400, 501],
  ],
  ['Transfer-Encoding twice', post([TE, TE], WHOLE), [400, 501]],
  [
    'Transfer-Encoding: chunked and then identity',
    post([TE, 'Transfer-Encoding: identity'], WHOLE),
    [400, 501],
  ],
  ['Transfer-Encoding: "chunked" in quotes', post(['Transfer-Encoding: "chunked"'], WHOLE), [400, 501]],
  [
    'Transfer-Encoding: chunked with a parameter',
    post(['Transfer-Encoding: chunked;q=1'], WHOLE),
    [400, 501],
  ],
  ['Transfer-Encoding with a vertical tab', post(['Transfer-Encoding: \x0bchunked'], WHOLE), [400]],
  ['an empty Transfer-Encoding', post(['Transfer-Encoding:'], WHOLE), [400, 501]],
  ['Transfer-Encoding with a space before the colon', post(['Transfer-Encoding : chunked'], WHOLE), [400]],
  [
    'Transfer-Encoding in HTTP/1.0',
    `POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer KEY\r\n${TE}\r\n\r\n${WHOLE}`,
    [400],
  ],
  ['a folded Transfer-Encoding', post(['Transfer-Encoding:', ' chunked'], WHOLE), [400]],
  // --- lines
  ['a folded field', get('X-A: 1', ' 2'), [400]],
  ['a folded field by tab', get('X-A: 1', '\t2'), [400]],
  ['a space before the first field', 'GET /healthz HTTP/1.1\r\n Host: localhost\r\n\r\n', [400]],
  ['a bare LF behind the request line', 'GET /healthz HTTP/1.1\nHost: localhost\r\n\r\n', [400]],
  ['a bare LF behind a field', 'GET /healthz HTTP/1.1\r\nHost: localhost\nX-A: 1\r\n\r\n', [400]],
  ['a head that ends in LF LF', 'GET /healthz HTTP/1.1\r\nHost: localhost\n\n', [400]],
  ['a head that ends in CRLF LF', 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\n', [400]],
  ['a bare CR inside a value', get('X-A: 1\rX-B: 2'), [400]],
  ['a bare CR inside a name', get('X-\rA: 1'), [400]],
  ['a bare CR behind the request line', 'GET /healthz HTTP/1.1\rHost: localhost\r\n\r\n', [400]],
  ['a double CR before LF', 'GET /healthz HTTP/1.1\r\r\nHost: localhost\r\n\r\n', [400]],
  ['NUL in a value', get('X-A: a\0b'), [400]],
  ['NUL in a name', get('X\0A: b'), [400]],
  ['a control byte in a value', get('X-A: a\x01b'), [400]],
  ['DEL in a value', get('X-A: a\x7fb'), [400]],
  ['an escape sequence in a value', get('X-A: \x1b[2J'), [400]],
  ['a space inside a name', get('X A: 1'), [400]],
  ['a space before the colon', get('X-A : 1'), [400]],
  ['a tab before the colon', get('X-A\t: 1'), [400]],
  ['an empty name', get(': 1'), [400]],
  ['a field without a colon', get('X-A'), [400]],
  ['a byte above ASCII in a name', get('X-\xe9: 1'), [400]],
  ['a delimiter in a name', get('X(A): 1'), [400]],
  // --- Host
  ['no Host', 'GET /healthz HTTP/1.1\r\nX-A: 1\r\n\r\n', [400]],
  ['two equal Hosts', get('Host: localhost'), [400]],
  ['two different Hosts', get('Host: elsewhere'), [400]],
  ['a Host with a path', 'GET /healthz HTTP/1.1\r\nHost: localhost/x\r\n\r\n', [400]],
  ['a Host with a user', 'GET /healthz HTTP/1.1\r\nHost: me@localhost\r\n\r\n', [400]],
  ['a Host with a space', 'GET /healthz HTTP/1.1\r\nHost: local host\r\n\r\n', [400]],
  ['a list of Hosts', 'GET /healthz HTTP/1.1\r\nHost: localhost, elsewhere\r\n\r\n', [400]],
  ['a Host with a port in letters', 'GET /healthz HTTP/1.1\r\nHost: localhost:http\r\n\r\n', [400]],
  ['an absolute target of another host', line('GET http://elsewhere/healthz HTTP/1.1'), [400]],
  // --- the request line
  ['two spaces behind the method', line('GET  /healthz HTTP/1.1'), [400]],
  ['two spaces behind the target', line('GET /healthz  HTTP/1.1'), [400]],
  ['a tab behind the method', line('GET\t/healthz HTTP/1.1'), [400]],
  ['a space before the method', line(' GET /healthz HTTP/1.1'), [400]],
  ['a space behind the version', line('GET /healthz HTTP/1.1 '), [400, 505]],
  ['no version', line('GET /healthz'), [400, 505]],
  ['no target', line('GET HTTP/1.1'), [400]],
  ['a method alone', line('GET'), [400]],
  ['a delimiter in the method', line('G(T /healthz HTTP/1.1'), [400]],
  ['a byte above ASCII in the target', line('GET /h\xe9althz HTTP/1.1'), [400]],
  ['a control byte in the target', line('GET /\x01 HTTP/1.1'), [400]],
  ['NUL in the target', line('GET /\0 HTTP/1.1'), [400]],
  ['DEL in the target', line('GET /\x7f HTTP/1.1'), [400]],
  ['a fragment in the target', line('GET /healthz#x HTTP/1.1'), [400]],
  ['a target that is no path', line('GET healthz HTTP/1.1'), [400]],
  ['"*" for GET', line('GET * HTTP/1.1'), [400]],
  ['CONNECT', line('CONNECT localhost:443 HTTP/1.1'), [400, 405, 501]],
  ['HTTP/2.0', line('GET /healthz HTTP/2.0'), [505]],
  ['HTTP/0.9', line('GET /healthz HTTP/0.9'), [400, 505]],
  ['HTTP/1.2', line('GET /healthz HTTP/1.2'), [400, 505]],
  ['HTTP/1.10', line('GET /healthz HTTP/1.10'), [400, 505]],
  ['HTTP/01.1', line('GET /healthz HTTP/01.1'), [400, 505]],
  ['http/1.1 in small letters', line('GET /healthz http/1.1'), [400, 505]],
  ['another protocol', line('GET /healthz ICAP/1.0'), [400, 505]],
  ['two empty lines before the request', `\r\n\r\n${get()}`, [400]],
  ['a bare LF before the request', `\n${get()}`, [400]],
  ['a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x01\x02\r\n\r\n', [400]],
  ["HTTP/2's preface", 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400, 505]],
  ['an SSH banner', 'SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\r\n', [400, 505]],
  // --- sizes
  ["a field beyond the head's limit", get(`X-A: ${fill(17 * 1024)}`), [431]],
  [
    "many fields beyond the head's limit",
    get(...Array.from({ length: 90 }, (_, i) => `X-${i}: ${fill(200)}`)),
    [431],
  ],
  ["a target beyond the head's limit", line(`GET /${fill(17 * 1024)} HTTP/1.1`), [414, 431]],
  ['101 fields', get(...Array.from({ length: 100 }, (_, i) => `X-${i}: 1`)), [431]],
  ['an endless head without a line end', fill(20 * 1024), [400, 414, 431]],
  ['a body announced beyond the limit', post(['Content-Length: 1048577']), [413]],
  ['a chunked body beyond the limit', chunks(`100001\r\n${fill(0x100001)}\r\n0\r\n\r\n`), [413]],
  ['many chunks beyond the limit', chunks(`4000\r\n${fill(0x4000)}\r\n`.repeat(65)), [413]],
  // --- expectations and codings
  ['an unknown expectation', post([`Content-Length: ${LENGTH}`, 'Expect: 200-maybe']), [417]],
  ['100-continue and more', post([`Content-Length: ${LENGTH}`, 'Expect: 100-continue, more']), [417]],
  ['Content-Encoding: br', post([`Content-Length: ${LENGTH}`, 'Content-Encoding: br']), [415]],
  ['Content-Encoding: deflate', post([`Content-Length: ${LENGTH}`, 'Content-Encoding: deflate']), [415]],
  ['two content codings', post([`Content-Length: ${LENGTH}`, 'Content-Encoding: gzip, gzip']), [415]],
  // --- chunks
  ['a chunk size that is no number', chunks('xyz\r\n'), [400]],
  ['an empty chunk size', chunks(`\r\n${BODY}\r\n0\r\n\r\n`), [400]],
  ['a negative chunk size', chunks('-1\r\nx\r\n0\r\n\r\n'), [400]],
  ['a chunk size with plus', chunks(`+${LENGTH.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`), [400]],
  ['a chunk size with 0x', chunks(`0x${LENGTH.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`), [400]],
  ['a space before the chunk size', chunks(` ${LENGTH.toString(16)}\r\n${BODY}\r\n0\r\n\r\n`), [400]],
  ['an underscore in the chunk size', chunks('4_6\r\n'), [400]],
  ['a chunk size of 17 digits', chunks(`00000000000000046\r\n${BODY}\r\n0\r\n\r\n`), [400]],
  ['a chunk size beyond 64 bits', chunks('FFFFFFFFFFFFFFFF1\r\n'), [400, 413]],
  ['the largest chunk size', chunks('FFFFFFFFFFFFFFFF\r\n'), [400, 413]],
  ['a bare LF behind the chunk size', chunks(`${LENGTH.toString(16)}\n${BODY}\r\n0\r\n\r\n`), [400]],
  ['a bare CR behind the chunk size', chunks(`${LENGTH.toString(16)}\r${BODY}\r\n0\r\n\r\n`), [400]],
  ['no line end behind a chunk', chunks(`${LENGTH.toString(16)}\r\n${BODY}0\r\n\r\n`), [400]],
  ['a chunk longer than it says', chunks(`3\r\n${BODY}\r\n0\r\n\r\n`), [400]],
  ['a bare LF behind a chunk', chunks(`${LENGTH.toString(16)}\r\n${BODY}\n0\r\n\r\n`), [400]],
  [
    'a chunk extension of 300 bytes',
    chunks(`${LENGTH.toString(16)};a=${fill(300)}\r\n${BODY}\r\n0\r\n\r\n`),
    [400],
  ],
  [
    'a control byte in a chunk extension',
    chunks(`${LENGTH.toString(16)};a=\x01\r\n${BODY}\r\n0\r\n\r\n`),
    [400],
  ],
  ['a bare LF in a chunk extension', chunks(`${LENGTH.toString(16)};a\n${BODY}\r\n0\r\n\r\n`), [400]],
  ['a bare LF in the trailers', chunks(`${LENGTH.toString(16)}\r\n${BODY}\r\n0\r\nX-A: 1\n\r\n`), [400]],
  [
    'trailers of 5 kB',
    chunks(`${LENGTH.toString(16)}\r\n${BODY}\r\n0\r\nX-A: ${fill(5000)}\r\n\r\n`),
    [400, 431],
  ],
];

describe('malformed requests', { skip: NO_BINARY }, () => {
  const suite = scope();
  let scene;
  before(async () => {
    scene = await startGateway(suite, {
      config: ({ standard }) => ({ ...standard, limits: { gateway_body_bytes: '1MiB' } }),
    });
  });
  after(suite.end);

  test('the table is long enough, and each name stands in it once', () => {
    assert.ok(MALFORMED.length >= 60);
    assert.equal(new Set(MALFORMED.map(([name]) => name)).size, MALFORMED.length);
  });

  for (const [name, text, statuses] of MALFORMED) {
    test(name, { timeout: 180_000 }, async () => {
      const { catalyst, key, double } = scene;
      const before = double.openai.wire.heads.length;
      const c = await RawConnection.open(catalyst.port);
      try {
        await c.send(Buffer.from(text.replace('KEY', key) + SMUGGLED, 'latin1'));
        const answer = await c.readAnswer();
        assert.ok(statuses.includes(answer.status), `${answer.status} ${answer.body}`);
        assert.match(answer.header('connection') ?? '', /close/i);
        // The dialect's error where there is one, else a problem document (RFC 9457).
        const body = answer.json();
        assert.ok((body.error?.message ?? body.detail).length > 5, 'says what is wrong');
        assert.equal((await c.readToEnd()).length, 0, 'nothing behind the one answer');
      } finally {
        c.close();
      }
      assert.equal(double.openai.wire.heads.length, before, 'nothing reached the provider');
      assert.equal((await exchange(catalyst.port, get())).status, 200, 'still up');
    });
  }

  test('the same in single bytes', { timeout: 180_000 }, async () => {
    const { catalyst, key } = scene;
    for (const [name, text, statuses] of MALFORMED.filter(([, t]) => t.length < 600)) {
      const c = await RawConnection.open(catalyst.port);
      for (const byte of Buffer.from(text.replace('KEY', key), 'latin1')) {
        if (c.isEnded) break;
        c.socket.write(Buffer.from([byte]));
      }
      const answer = await c.readAnswer().catch((error) => assert.fail(`${name}: ${error.message}`));
      assert.ok(statuses.includes(answer.status), `${name}: ${answer.status}`);
      await c.readToEnd();
      c.close();
    }
  });
});

describe('unusual requests', { skip: NO_BINARY }, () => {
  const suite = scope();
  let scene;
  before(async () => {
    scene = await startGateway(suite);
  });
  after(suite.end);
  const open = async (t) => {
    const c = await RawConnection.open(scene.catalyst.port);
    t.after(() => c.close());
    return c;
  };
  const asks = (text) => Buffer.from(text.replaceAll('KEY', scene.key));

  const works = (name, text, check = () => {}) =>
    test(name, { timeout: 180_000 }, async (t) => {
      const c = await open(t);
      await c.send(Buffer.isBuffer(text) ? text : asks(text));
      const answer = await c.readAnswer();
      assert.equal(answer.status, 200, answer.body.toString());
      await check(answer, c);
      await c.send(asks(get()));
      assert.equal((await c.readAnswer()).status, 200, 'the connection stays usable');
    });

  works('one empty line before the request', `\r\n${get()}`);
  works('names in small letters', get().replace('Host', 'host'));
  works('names in capitals', get().replace('Host', 'HOST'));
  works('blanks around a value', 'GET /healthz HTTP/1.1\r\nHost: \t localhost \t\r\n\r\n');
  works('no blank behind the colon', 'GET /healthz HTTP/1.1\r\nHost:localhost\r\n\r\n');
  works('an empty value', get('X-A:'));
  works('a tab inside a value', get('X-A: a\tb'));
  works('bytes above ASCII in a value', Buffer.from(get('X-A: \xe9\xff'), 'latin1'));
  works('every letter that a name may have', get("!#$%&'*+-.^_`|~09azAZ: 1"));
  works(
    'an absolute target of the same host',
    'GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n',
  );
  works('a query', 'GET /healthz?a=b&c HTTP/1.1\r\nHost: localhost\r\n\r\n');
  works('a Host with a port', 'GET /healthz HTTP/1.1\r\nHost: localhost:8080\r\n\r\n');
  works('a Host that is an IPv6 address', 'GET /healthz HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n');
  works('100 fields', get(...Array.from({ length: 99 }, (_, i) => `X-${i}: 1`)));
  works('a head of exactly 16 KiB', get(`X-A: ${fill(16384 - Buffer.byteLength(get('X-A: ')))}`));
  works(
    'an offer of another protocol, which is not taken',
    get('Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA'),
  );
  works('GET with an empty body', get('Content-Length: 0'));
  works('a chunked body', post([TE], WHOLE), (a) => assert.equal(a.json().object, 'chat.completion'));
  works('Transfer-Encoding: CHUNKED', post(['Transfer-Encoding: CHUNKED'], WHOLE));
  works(
    'a chunk size in capitals with zeros before it',
    chunks(`0000${LENGTH.toString(16).toUpperCase()}\r\n${BODY}\r\n000\r\n\r\n`),
  );
  works('chunk extensions', chunks(`${LENGTH.toString(16)};a=b;c="d e"\r\n${BODY}\r\n0;last\r\n\r\n`));
  works('trailers', chunks(`${LENGTH.toString(16)}\r\n${BODY}\r\n0\r\nX-Checksum: 1\r\nX-More: 2\r\n\r\n`));
  works(
    '100-continue with the body already behind it',
    post([`Content-Length: ${LENGTH}`, 'Expect: 100-Continue']),
  );

  test('GET with a body is read over or refused; the body is never a request', async (t) => {
    const c = await open(t);
    await c.send(get(`Content-Length: ${Buffer.byteLength(get())}`) + get() + get('Connection: close'));
    const answers = [];
    await c.ended;
    while (c.received.length > 0) answers.push((await c.readAnswer()).status);
    assert.ok(
      [[200, 200], [413], [400]].some((want) => want.join() === answers.join()),
      answers.join(),
    );
  });

  test('HEAD / has a head and no body', async (t) => {
    const c = await open(t);
    await c.send('HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n' + get());
    const head = await c.readAnswer({ toHead: true });
    assert.equal(head.status, 200);
    assert.equal((await c.readAnswer()).json().status, 'ok');
  });

  test('HTTP/1.0: an answer, then the end', async (t) => {
    const c = await open(t);
    await c.send('GET /healthz HTTP/1.0\r\n\r\n');
    const answer = await c.readAnswer();
    assert.equal(answer.status, 200);
    assert.equal(answer.header('transfer-encoding'), undefined);
    await c.readToEnd();
  });

  test('HTTP/1.0 with keep-alive stays', async (t) => {
    const c = await open(t);
    for (let i = 0; i < 2; i++) {
      await c.send('GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
      const answer = await c.readAnswer();
      assert.equal(answer.status, 200);
      assert.match(answer.header('connection'), /keep-alive/i);
    }
  });

  test('HTTP/1.0: a stream is not chunked and ends with the connection', async (t) => {
    const c = await open(t);
    const body = BODY.replace('{', '{"stream":true,');
    await c.send(
      asks(
        `POST /v1/chat/completions HTTP/1.0\r\nAuthorization: Bearer KEY\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      ),
    );
    await c.readToEnd();
    const text = c.received.toString();
    assert.match(text, /^HTTP\/1\.1 200 /);
    assert.doesNotMatch(text.slice(0, text.indexOf('\r\n\r\n')), /transfer-encoding/i);
    assert.ok(text.endsWith('data: [DONE]\n\n'));
  });

  test('Connection: close is kept', async (t) => {
    const c = await open(t);
    await c.send(get('Connection: close') + get());
    const answer = await c.readAnswer();
    assert.equal(answer.status, 200);
    assert.match(answer.header('connection'), /close/i);
    assert.equal((await c.readToEnd()).length, 0);
  });

  test('100-continue: the go-ahead comes before the body', async (t) => {
    const c = await open(t);
    await c.send(asks(post([`Content-Length: ${LENGTH}`, 'Expect: 100-continue'], '')));
    assert.equal((await c.readAnswer()).status, 100);
    await c.send(BODY);
    assert.equal((await c.readAnswer()).status, 200);
  });

  test('100-continue: a wrong key is refused without a go-ahead', async (t) => {
    const c = await open(t);
    await c.send(post([`Content-Length: ${LENGTH}`, 'Expect: 100-continue'], ''));
    assert.equal((await c.readAnswer()).status, 401);
  });

  test('pipelined requests are answered in order, slow ones too', async (t) => {
    const c = await open(t);
    const slow = gate();
    const { double } = scene;
    const before = double.openai.exchanges.length;
    double.openai.next({ gate: slow, after: 1 });
    const stream = BODY.replace('{', '{"stream":true,');
    await c.send(
      asks(
        post([`Content-Length: ${Buffer.byteLength(stream)}`], stream) +
          get() +
          post([TE], WHOLE) +
          get() +
          'GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n',
      ),
    );
    await until('the first request at the provider', () => double.openai.exchanges.length > before);
    slow.open();
    const answers = [];
    for (let i = 0; i < 5; i++) answers.push(await c.readAnswer());
    assert.deepEqual(
      answers.map((a) => a.status),
      [200, 200, 200, 200, 404],
    );
    assert.ok(answers[0].body.toString().endsWith('data: [DONE]\n\n'));
    assert.equal(answers[2].json().object, 'chat.completion');
  });

  test('fifty pipelined calls', async (t) => {
    const c = await open(t);
    const n = 50;
    await c.send(
      asks(Array.from({ length: n }, (_, i) => post([`Content-Length: ${LENGTH}`, `X-N: ${i}`])).join('')),
    );
    const ids = new Set();
    for (let i = 0; i < n; i++) {
      const answer = await c.readAnswer();
      assert.equal(answer.status, 200);
      ids.add(answer.header('x-catalyst-request-id'));
    }
    assert.equal(ids.size, n);
    assert.deepEqual(
      scene.double.openai.exchanges.slice(-n).map((x) => x.header('x-n')),
      Array.from({ length: n }, (_, i) => String(i)),
    );
  });

  test('a request split in two at every byte', { timeout: 180_000 }, async (t) => {
    const c = await open(t);
    const bytes = asks(post([`Content-Length: ${LENGTH}`]));
    for (let at = 1; at < bytes.length; at++) {
      await c.sendPieces([bytes.subarray(0, at), bytes.subarray(at)]);
      assert.equal((await c.readAnswer()).status, 200, `split at ${at}`);
    }
    assert.ok(
      scene.double.openai.exchanges.slice(1 - bytes.length).every((x) => x.body.equals(Buffer.from(BODY))),
    );
  });

  test('a body in two chunks at every byte', { timeout: 180_000 }, async (t) => {
    const c = await open(t);
    const body = Buffer.from(BODY);
    const head = asks(chunks(''));
    for (let at = 1; at < body.length; at++) {
      await c.send(Buffer.concat([head, chunked(body.subarray(0, at), body.subarray(at))]));
      assert.equal((await c.readAnswer()).status, 200, `split at ${at}`);
      assert.equal(scene.double.openai.last.body.toString(), BODY);
    }
  });

  test('a chunked request in single bytes', { timeout: 180_000 }, async (t) => {
    const c = await open(t);
    await c.sendPieces(
      Array.from(
        asks(chunks('')).toString('latin1') +
          chunked(...Array.from(Buffer.from(BODY), (b) => Buffer.from([b]))).toString('latin1'),
        (l) => Buffer.from(l, 'latin1'),
      ),
    );
    assert.equal((await c.readAnswer()).status, 200);
    assert.equal(scene.double.openai.last.body.toString(), BODY);
  });

  test('a method that a path has not is 405 with what it has, a path that is not there 404', async () => {
    for (const [method, target, status] of [
      ['DELETE', '/v1/chat/completions', 405],
      ['GET', '/v1/messages', 405],
      ['POST', '/healthz', 405],
      ['GET', '/v1/nothing', 404],
      ['GET', '/v1/chat/completions/', 404],
      ['GET', '/..%2fhealthz', 404],
    ]) {
      const answer = await exchange(
        scene.catalyst.port,
        request(method, target, { Authorization: `Bearer ${scene.key}` }, method === 'POST' ? '{}' : null),
      );
      assert.equal(answer.status, status, `${method} ${target}: ${answer.body}`);
      if (status === 405) assert.ok(answer.header('allow'), 'says which methods there are');
    }
  });

  test('a client that leaves in the middle of anything harms nobody', async () => {
    const bytes = asks(chunks(WHOLE));
    for (let at = 1; at < bytes.length; at += 7) {
      const c = await RawConnection.open(scene.catalyst.port);
      await c.send(bytes.subarray(0, at));
      if (at % 2) c.reset();
      else c.close();
    }
    assert.equal((await exchange(scene.catalyst.port, get())).status, 200);
  });
});

describe('slow and greedy clients', { skip: NO_BINARY }, () => {
  const suite = scope();
  let scene;
  const limits = {
    head_timeout_ms: '300ms',
    idle_timeout_ms: '300ms',
    body_grace_ms: '300ms',
    body_min_rate: '1KiB',
    write_timeout_ms: '500ms',
    gateway_body_bytes: '4MiB',
  };
  before(async () => {
    scene = await startGateway(suite, { config: ({ standard }) => ({ ...standard, limits }) });
  });
  after(suite.end);
  const open = async (t) => {
    const c = await RawConnection.open(scene.catalyst.port);
    t.after(() => c.close());
    return c;
  };

  test('a head that does not come to its end is 408', async (t) => {
    const c = await open(t);
    await c.send('GET /healthz HTTP/1.1\r\nHost: local');
    assert.equal((await c.readAnswer()).status, 408);
    await c.readToEnd();
  });

  test('a head that trickles is 408, however alive it looks', async (t) => {
    const c = await open(t);
    const trickle = setInterval(() => c.send('X'), 20);
    t.after(() => clearInterval(trickle));
    await c.send('GET /healthz HTTP/1.1\r\nX-A: ');
    assert.equal((await c.readAnswer()).status, 408);
    await c.readToEnd();
  });

  test('a connection that says nothing is closed without an answer', async (t) => {
    const c = await open(t);
    const answer = await c.readToEnd();
    assert.ok(answer.length === 0 || answer.toString().startsWith('HTTP/1.1 408 '), answer.toString());
  });

  test('a connection that is idle between requests is closed', async (t) => {
    const c = await open(t);
    await c.send(get());
    assert.equal((await c.readAnswer()).status, 200);
    assert.equal((await c.readToEnd()).length, 0);
  });

  test('a body that stops is 408', async (t) => {
    const c = await open(t);
    await c.send(post([`Content-Length: ${LENGTH}`], BODY.slice(0, 10)).replace('KEY', scene.key));
    const answer = await c.readAnswer();
    assert.equal(answer.status, 408);
    assert.ok(answer.json().error.message);
    await c.readToEnd();
  });

  test('a body under the minimum rate is 408', async (t) => {
    const c = await open(t);
    await c.send(post(['Content-Length: 100000'], '{').replace('KEY', scene.key));
    const trickle = setInterval(() => c.send(' '), 20);
    t.after(() => clearInterval(trickle));
    assert.equal((await c.readAnswer()).status, 408);
    await c.readToEnd();
  });

  test(
    'a client that does not read its stream is left, and the provider too',
    { timeout: 180_000 },
    async (t) => {
      const { double, catalyst, key } = scene;
      const event = `data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"${fill(8000)}"},"finish_reason":null}]}\n\n`;
      double.openai.next({ sse: event.repeat(4000) + 'data: [DONE]\n\n' });
      const before = double.openai.exchanges.length;
      const c = await open(t);
      c.socket.pause();
      const body = BODY.replace('{', '{"stream":true,');
      await c.send(request('POST', '/v1/chat/completions', { Authorization: `Bearer ${key}` }, body));
      const x = await until('the request at the provider', () => double.openai.exchanges[before]);
      await until("the provider's connection to be closed", () => x.clientClosedAt !== 0, {
        deadline_ms: 30_000,
      });
      assert.ok(!x.isAnswered, 'the stream was held back, not taken into memory');
      const record = await until('a record', async () =>
        (await catalyst.requests()).find((r) => r.outcome !== 'completed' && r.model_asked === 'gpt-4o-mini'),
      );
      assert.equal(record.outcome, 'cancelled');
    },
  );

  test('connections beyond the limit of an address are refused, and room comes back', async (t) => {
    // Not the server of the others: with their short timeouts a slow machine would see connections end by those.
    const { catalyst } = await startGateway(t, {
      config: ({ standard }) => ({ ...standard, limits: { connections_per_address: 20 } }),
    });
    const all = [];
    t.after(() => all.forEach((c) => c.close()));
    for (let i = 0; i < 24; i++) all.push(await RawConnection.open(catalyst.port));
    await until('some to be refused', () => all.filter((c) => c.isEnded).length >= 4);
    all.forEach((c) => c.close());
    await until('room', async () => (await exchange(catalyst.port, get()).catch(() => null))?.status === 200);
  });

  test('bodies in gzip and zstd, bombs and rubbish', { timeout: 180_000 }, async () => {
    const { double, catalyst, key } = scene;
    const send = (coding, bytes) =>
      exchange(
        catalyst.port,
        request(
          'POST',
          '/v1/chat/completions',
          { Authorization: `Bearer ${key}`, 'Content-Encoding': coding },
          bytes,
        ),
      );
    const pack = { gzip: zlib.gzipSync, zstd: zlib.zstdCompressSync };
    for (const [coding, compress] of Object.entries(pack)) {
      const good = await send(coding, compress(Buffer.from(BODY)));
      assert.equal(good.status, 200, `${coding}: ${good.body}`);
      assert.equal(double.openai.last.body.toString(), BODY, 'forwarded in plain');
      assert.equal(double.openai.last.header('content-encoding'), undefined);
      assert.equal(double.openai.last.header('content-length'), String(LENGTH));
      const bomb = await send(coding, compress(Buffer.alloc(64 << 20, 0x20)));
      assert.equal(bomb.status, 413, `${coding}: ${bomb.body}`);
      const torn = await send(coding, compress(Buffer.from(BODY.repeat(20))).subarray(0, -9));
      assert.equal(torn.status, 400, `${coding} cut: ${torn.body}`);
      const trailed = await send(coding, Buffer.concat([compress(Buffer.from(BODY)), Buffer.from('junk')]));
      assert.equal(trailed.status, 400, `${coding} with junk: ${trailed.body}`);
      const rubbish = await send(coding, Buffer.from(BODY));
      assert.equal(rubbish.status, 400, `${coding} that is none: ${rubbish.body}`);
    }
    const flipped = zlib.gzipSync(Buffer.from(BODY));
    flipped[flipped.length - 6] ^= 1;
    assert.equal((await send('gzip', flipped)).status, 400, 'a wrong checksum');
    assert.ok(
      [200, 415].includes((await send('x-gzip', zlib.gzipSync(Buffer.from(BODY)))).status),
      'x-gzip: taken for gzip, or refused',
    );
    assert.equal((await send('identity', Buffer.from(BODY))).status, 200);
  });
});
