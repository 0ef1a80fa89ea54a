// The gateway behind an outbound proxy: tunnels for TLS, absolute form without, by configuration or environment.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Proxy } from '../doubles/proxy.mjs';
import { chatStream, transcript } from '../doubles/provider.mjs';
import { bodyOf, call } from '../lib/call.mjs';
import { QUICK_PASSWORDS, setUp } from '../lib/api.mjs';
import { NO_BINARY, runCatalyst, startCatalyst, startGateway, startProvider, temporaryFolder } from '../lib/catalyst.mjs';
import { NO_OPENSSL, makeCertificate } from '../lib/certificate.mjs';
import { defer } from '../lib/defer.mjs';
import { until } from '../lib/wait.mjs';
import { toYaml } from '../lib/yaml.mjs';

async function startProxy(t, options) {
  const proxy = await Proxy.start(options);
  defer(t, () => proxy.close());
  return proxy;
}

const provider = (base_url) => [{ name: 'far', kind: 'openai', base_url, api_key: 'sk-far' }];
const whole = () => chatStream(transcript('chat-plain.sse'), true);
const streamed = bodyOf('chat', { stream: true, stream_options: { include_usage: true } });

describe('outbound proxies', { skip: NO_BINARY }, () => {
  test('a plain provider is asked for in absolute form, with the credentials of the proxy', async (t) => {
    const far = await startProvider(t, { key: 'sk-far' });
    const proxy = await startProxy(t, { target: far.wire.port });
    const scene = await startGateway(t, {
      config: ({ standard }) => ({
        ...standard,
        providers: provider('http://provider.test/v1'),
        outbound: { proxy: `http://me:secret@127.0.0.1:${proxy.port}` },
      }),
    });
    const plain = await call(scene, 'chat');
    assert.equal(plain.status, 200, plain.text);
    const stream = await call(scene, 'chat', streamed);
    assert.ok(stream.body.equals(whole()));
    assert.deepEqual(proxy.asked, Array(2).fill('POST http://provider.test/v1/chat/completions'));
    assert.deepEqual(proxy.credentials, Array(2).fill(`Basic ${Buffer.from('me:secret').toString('base64')}`));
    assert.ok(!JSON.stringify(far.exchanges.map((x) => x.headers)).includes('proxy-authorization'));
    assert.ok(!scene.catalyst.stderr.includes('secret'));
  });

  test('a TLS provider is reached through a tunnel that stays open', { skip: NO_OPENSSL }, async (t) => {
    const certificate = makeCertificate(temporaryFolder(t));
    const far = await startProvider(t, { key: 'sk-far', tlsOptions: { key: readFileSync(certificate.key), cert: certificate.ca } });
    const proxy = await startProxy(t, { target: far.wire.port });
    const scene = await startGateway(t, {
      env: { HTTPS_PROXY: `http://127.0.0.1:${proxy.port}` },
      config: ({ standard }) => ({
        ...standard,
        loops: 1,
        providers: provider('https://provider.test/v1'),
        outbound: { ca_file: certificate.cert },
      }),
    });
    for (let i = 0; i < 3; i++) {
      const answer = await call(scene, 'chat', streamed);
      assert.equal(answer.status, 200, answer.text);
      assert.ok(answer.body.equals(whole()));
    }
    assert.deepEqual(proxy.asked, ['CONNECT provider.test:443']);
  });

  test('what the proxy refuses is told, and exceptions go without it', async (t) => {
    const far = await startProvider(t, { key: 'sk-far' });
    const proxy = await startProxy(t, { refuses: 407 });
    const config = (standard, more) => ({
      ...standard,
      ...more,
      providers: [...provider('https://provider.test/v1'), { ...provider(`http://127.0.0.1:${far.wire.port}/v1`)[0], name: 'near' }],
    });
    const scene = await startGateway(t, {
      env: { https_proxy: `http://127.0.0.1:${proxy.port}`, HTTP_PROXY: `http://127.0.0.1:${proxy.port}` },
      config: ({ standard }) => config(standard),
    });
    const refused = await call(scene, 'chat', bodyOf('chat', { model: 'far/gpt-4o-mini' }));
    assert.equal(refused.status, 502);
    assert.match(refused.json().error.message, /proxy 127\.0\.0\.1 refused the way to provider\.test:443 with status 407/);
    const near = await call(scene, 'chat', bodyOf('chat', { model: 'near/gpt-4o-mini' }));
    assert.equal(near.status, 200, 'loopback needs no proxy');
    assert.deepEqual(proxy.asked, ['CONNECT provider.test:443']);

    // another proxy after a reload: new calls take it
    const other = await startProxy(t, { refuses: 418 });
    const next = { ...scene.config, outbound: { proxy: `http://127.0.0.1:${other.port}` } };
    writeFileSync(scene.catalyst.configFile, toYaml(next), { mode: 0o600 });
    scene.catalyst.signal('SIGHUP');
    await until('the other proxy', async () => {
      const answer = await call(scene, 'chat', bodyOf('chat', { model: 'far/gpt-4o-mini' }));
      return /with status 418/.test(answer.text);
    });
  });

  test('the command line reaches its server through a tunnel, and trusts it by --ca-file', { skip: NO_OPENSSL }, async (t) => {
    const certificate = makeCertificate(temporaryFolder(t));
    const config = { loops: 1, identity: QUICK_PASSWORDS, tls: { cert: certificate.cert, key: certificate.key } };
    const catalyst = await startCatalyst(t, { config });
    const { api_key } = await setUp(catalyst);
    const proxy = await startProxy(t, { target: catalyst.port });
    const env = { CATALYST_URL: 'https://provider.test', CATALYST_API_KEY: api_key, HTTPS_PROXY: `http://u:p@127.0.0.1:${proxy.port}` };
    const list = (...more) => runCatalyst(['project', 'list', '--json', ...more], { env });
    const good = await list('--ca-file', certificate.cert);
    assert.equal(good.code, 0, good.stderr);
    assert.deepEqual(JSON.parse(good.stdout), []);
    assert.deepEqual(proxy.asked, ['CONNECT provider.test:443']);
    assert.equal(proxy.credentials[0], `Basic ${Buffer.from('u:p').toString('base64')}`);
    const strange = await list();
    assert.equal(strange.code, 3);
    assert.match(strange.stderr, /certificate/i);
    const none = await list('--ca-file', '/nonexistent.pem');
    assert.equal(none.code, 2, none.stderr);
  });

  test('metadata services are no providers, unless they are allowed by address', async (t) => {
    const scene = await startGateway(t, {
      config: ({ standard }) => ({ ...standard, providers: provider('http://169.254.169.254/v1') }),
    });
    const answer = await call(scene, 'chat');
    assert.equal(answer.status, 404);
    assert.ok(scene.catalyst.stderr.includes('169.254.169.254 is an address that may not be reached'));
  });
});
