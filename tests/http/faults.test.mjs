// faults.test.mjs - providers that die, stall or break off, and clients that leave: what each side sees, and
// what the record says.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { DIALECTS, bodyOf, call, callBytes, headOf, isAnthropic, startCall } from '../lib/call.mjs';
import { NO_BINARY, startGateway, startProvider, temporaryFolder } from '../lib/catalyst.mjs';
import { defer, scope } from '../lib/defer.mjs';
import { RawConnection, exchange, request } from '../lib/raw.mjs';
import { gate, until } from '../lib/wait.mjs';

const STREAMED = ['chat', 'responses', 'messages'];
const upstream = (scene, dialect) => scene.double[isAnthropic(dialect) ? 'anthropic' : 'openai'];
const inStream = (dialect) => bodyOf(dialect, { stream: true });

/**
 * The last event of a stream that broke off must be an error in the dialect's shape, and nothing may look
 * like its end.
 */
function assertBroken(dialect, text) {
  const last = text.trimEnd().split('\n\n').at(-1);
  const data = JSON.parse(/^data: ?(.*)$/m.exec(last)[1]);
  if (dialect === 'messages') {
    assert.match(last, /^event: error$/m);
    assert.equal(data.type, 'error');
    assert.ok(data.error.message);
    assert.ok(!text.includes('message_stop'));
  } else if (dialect === 'responses') {
    assert.match(last, /^event: (error|response\.failed)$/m);
    assert.ok(!text.includes('response.completed'));
  } else {
    assert.ok(data.error.message);
    assert.ok(!text.includes('[DONE]'));
  }
}

describe('providers that fail', { skip: NO_BINARY }, () => {
  const suite = scope();
  let scene;
  before(async () => {
    scene = await startGateway(suite, {
      config: ({ standard }) => ({
        ...standard,
        upstream: { first_byte_timeout_ms: '400ms', stall_timeout_ms: '400ms', total_timeout_ms: '1500ms' },
      }),
    });
  });
  after(suite.end);

  for (const dialect of DIALECTS) {
    test(`${dialect}: no answer at all is 502`, async () => {
      for (const fault of ['drop', 'reset', 'garbage']) {
        upstream(scene, dialect).next({ fault });
        const answer = await call(scene, dialect);
        assert.equal(answer.status, 502, `${fault}: ${answer.text}`);
        assert.ok(answer.json().error.message);
        const record = await scene.catalyst.record(answer.id);
        assert.equal(record.outcome, 'upstream_failed', fault);
        assert.ok(record.error, 'the record says why');
      }
    });

    test(`${dialect}: an answer that does not begin is 504`, async () => {
      upstream(scene, dialect).next({ fault: 'stall-head' });
      const answer = await call(scene, dialect);
      assert.equal(answer.status, 504, answer.text);
      assert.equal((await scene.catalyst.record(answer.id)).outcome, 'upstream_failed');
      await until('the provider to be left', () => upstream(scene, dialect).last.clientClosedAt !== 0);
    });
  }

  for (const dialect of STREAMED) {
    for (const fault of ['cut', 'reset-mid', 'stall', 'short']) {
      test(`${dialect}: a stream that ends by ${fault} ends in an error, never as a success`, async () => {
        upstream(scene, dialect).next({ fault, after: 4 });
        const answer = await call(scene, dialect, inStream(dialect));
        assert.equal(answer.status, 200);
        assertBroken(dialect, answer.text);
        const record = await scene.catalyst.record(answer.id);
        assert.equal(record.outcome, 'cut');
        assert.equal(record.estimated, true);
        assert.ok(record.tokens.input > 0, 'the input was billed');
        assert.ok(record.cost_nanousd > 0);
      });
    }

    test(`${dialect}: a stream longer than the total time ends in an error`, async () => {
      upstream(scene, dialect).next({ fault: 'slow', pause_ms: 300 });
      const answer = await call(scene, dialect, inStream(dialect));
      assertBroken(dialect, answer.text);
      assert.equal((await scene.catalyst.record(answer.id)).outcome, 'cut');
    });

    test(`${dialect}: a body that is cut is not passed off as whole`, async () => {
      for (const framing of ['length', 'chunked']) {
        for (const fault of ['cut', 'stall']) {
          const double = upstream(scene, dialect);
          double.next({ fault, framing });
          const c = await RawConnection.open(scene.catalyst.port);
          await c.send(callBytes(scene, dialect));
          await c.ended;
          const head = headOf(c);
          if (head.status === 200) {
            const body = c.received.subarray(head.length);
            if (head.fields['content-length']) assert.ok(body.length < Number(head.fields['content-length']));
            else assert.ok(!body.toString().endsWith('0\r\n\r\n'));
          } else {
            assert.ok([502, 504].includes(head.status));
          }
          c.close();
          const record = await scene.catalyst.record(head.fields['x-catalyst-request-id']);
          assert.notEqual(record.outcome, 'completed', `${framing} ${fault}`);
        }
      }
    });

    test(`${dialect}: an error in mid-stream passes, and the record knows`, async () => {
      upstream(scene, dialect).next({ transcript: `${dialect}-error` });
      const answer = await call(scene, dialect, inStream(dialect));
      assert.match(answer.text, dialect === 'messages' ? /overloaded_error/ : /server_error/);
      assertBroken(dialect, answer.text);
      const record = await scene.catalyst.record(answer.id);
      assert.ok(record.error, JSON.stringify(record));
    });
  }

  test('still up, and none of it kept a connection', async () => {
    assert.equal((await call(scene, 'chat')).status, 200);
    assert.equal((await exchange(scene.catalyst.port, request('GET', '/readyz'))).status, 200);
  });
});

describe('reaching a provider', { skip: NO_BINARY }, () => {
  const only =
    (base_url, more = {}) =>
    ({ standard }) => ({
      ...standard,
      providers: [{ name: 'far', kind: 'openai', base_url, api_key: 'x', ...more }],
    });

  test('a TLS handshake that never comes ends by the connect time-out', async (t) => {
    const silent = net.createServer(() => {});
    const sockets = new Set();
    silent.on('connection', (s) => sockets.add(s.on('error', () => {})));
    await new Promise((resolve) => silent.listen(0, '127.0.0.1', resolve));
    defer(t, () => {
      sockets.forEach((s) => s.destroy());
      silent.close();
    });
    const it = await startGateway(t, {
      config: only(`https://127.0.0.1:${silent.address().port}/v1`, { connect_timeout_ms: '300ms' }),
    });
    const answer = await call(it, 'chat');
    assert.ok([502, 504].includes(answer.status), answer.text);
    const record = await it.catalyst.record(answer.id);
    assert.equal(record.outcome, 'upstream_failed');
  });

  test('a name that does not exist is 502', async (t) => {
    const it = await startGateway(t, {
      config: only('http://no-such-host.invalid/v1', { connect_timeout_ms: '2s' }),
    });
    const answer = await call(it, 'chat');
    assert.ok([502, 504].includes(answer.status), answer.text);
  });

  test('upstream TLS is verified: refused without the authority, taken with it', async (t) => {
    const folder = temporaryFolder(t);
    const [key, cert] = ['key.pem', 'cert.pem'].map((f) => path.join(folder, f));
    try {
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
          key,
          '-out',
          cert,
          '-days',
          '2',
          '-subj',
          '/CN=localhost',
          '-addext',
          'subjectAltName=DNS:localhost,IP:127.0.0.1',
        ],
        { stdio: 'pipe' },
      );
    } catch (error) {
      return t.skip(`openssl is not there to make a certificate: ${error.message.split('\n')[0]}`);
    }
    const far = await startProvider(t, { tlsOptions: { key: readFileSync(key), cert: readFileSync(cert) } });
    const strange = await startGateway(t, { config: only(far.openaiUrl) });
    const refused = await call(strange, 'chat');
    assert.equal(refused.status, 502, refused.text);
    assert.match(refused.json().error.message, /certificate|TLS/i);
    assert.equal(far.exchanges.length, 0, 'nothing was sent to an unknown server');
    for (const host of ['127.0.0.1', 'localhost']) {
      const known = await startGateway(t, {
        config: (o) => ({ ...only(`https://${host}:${far.wire.port}/v1`)(o), upstream: { ca_file: cert } }),
      });
      const answer = await call(known, 'chat');
      assert.equal(answer.status, 200, `${host}: ${answer.text}`);
      assert.equal((await call(known, 'chat', inStream('chat'))).status, 200);
    }
  });
});

describe('clients that leave', { skip: NO_BINARY }, () => {
  const suite = scope();
  let scene;
  before(async () => {
    scene = await startGateway(suite);
  });
  after(suite.end);

  for (const dialect of STREAMED) {
    for (const [how, leave] of [
      ['FIN', (c) => c.socket.destroy()],
      ['RST', (c) => c.reset()],
    ]) {
      test(`${dialect}: leaving by ${how} in mid-stream closes the provider at once, and what came is billed`, async (t) => {
        const double = upstream(scene, dialect);
        double.next({ gate: gate(), after: 5 });
        const before = double.exchanges.length;
        const c = await startCall(t, scene, dialect, inStream(dialect));
        await until('some events', () => c.received.length > 900);
        const id = headOf(c).fields['x-catalyst-request-id'];
        const left = performance.now();
        leave(c);
        const x = double.exchanges[before];
        await until('the double to see it', () => x.clientClosedAt !== 0, { every_ms: 1 });
        const delay = x.clientClosedAt - left;
        t.diagnostic(`provider closed ${delay.toFixed(1)} ms after the client left (goal: 50)`);
        assert.ok(delay < 250, `${delay} ms`);
        const record = await scene.catalyst.record(id);
        assert.equal(record.outcome, 'cancelled');
        assert.equal(record.estimated, true);
        assert.ok(record.tokens.input > 0 && record.tokens.output > 0, JSON.stringify(record.tokens));
        assert.ok(record.cost_nanousd > 0);
      });
    }
  }

  test('leaving before the head', async (t) => {
    for (const dialect of DIALECTS) {
      const double = upstream(scene, dialect);
      double.next({ fault: 'stall-head' });
      const before = double.exchanges.length;
      const c = await startCall(t, scene, dialect);
      const x = await until('the request at the provider', () => double.exchanges[before]);
      const left = performance.now();
      c.close();
      await until('the double to see it', () => x.clientClosedAt !== 0, { every_ms: 1 });
      assert.ok(x.clientClosedAt - left < 250);
    }
    const records = await until('the records', async () => {
      const all = (await scene.catalyst.requests()).filter(
        (r) => r.outcome === 'cancelled' && r.tokens.output === 0,
      );
      return all.length >= DIALECTS.length && all;
    });
    for (const record of records) {
      assert.equal(record.status, null);
      assert.equal(
        record.estimated,
        record.dialect !== 'count_tokens',
        `${record.dialect}: the input went out`,
      );
    }
  });

  test('many leave at once', async () => {
    const double = scene.double.anthropic;
    double.act = { gate: gate(), after: 3 };
    const before = double.exchanges.length;
    const n = 50;
    const all = [];
    const stub = { after: () => {} };
    for (let i = 0; i < n; i++) all.push(await startCall(stub, scene, 'messages', inStream('messages')));
    await until('all streams', () => all.every((c) => c.received.length > 600));
    all.forEach((c) => c.close());
    await until('all to be closed', () =>
      double.exchanges.slice(before).every((x) => x.clientClosedAt !== 0),
    );
    double.act = null;
    assert.equal((await call(scene, 'messages')).status, 200);
  });
});
