// The configuration is read again on SIGHUP: all of it or nothing, and no stream notices.

import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import tls from 'node:tls';
import { bodyOf, call, callBytes, startCall } from '../lib/call.mjs';
import { NO_BINARY, startCatalyst, startGateway, temporaryFolder } from '../lib/catalyst.mjs';
import { NO_OPENSSL, makeCertificate } from '../lib/certificate.mjs';
import { makeKey } from '../lib/keys.mjs';
import { exchange, parseAnswer, request } from '../lib/raw.mjs';
import { transcript } from '../doubles/provider.mjs';
import { gate, until, within } from '../lib/wait.mjs';
import { toYaml } from '../lib/yaml.mjs';

/** Writes another configuration and has it read; resolves with the log line that tells what became of it. */
async function reload(catalyst, config) {
  const before = catalyst.log.length;
  writeFileSync(catalyst.configFile, typeof config === 'string' ? config : toYaml(config), { mode: 0o600 });
  catalyst.signal('SIGHUP');
  return until('what became of the configuration', () =>
    catalyst.log.slice(before).find((l) => l.event === 'config_reloaded' || l.event === 'config_refused'),
  );
}

async function connectTls(port, ca) {
  const socket = tls.connect({ host: '127.0.0.1', port, ca, servername: 'localhost' });
  socket.received = Buffer.alloc(0);
  socket.on('data', (piece) => (socket.received = Buffer.concat([socket.received, piece])));
  await within('a TLS connection', new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject)));
  return socket;
}

const answerOf = (socket) => until('an answer', () => parseAnswer(socket.received));
const status = async (catalyst, target, fields) => (await exchange(catalyst.port, request('GET', target, fields))).status;

async function metric(catalyst, line) {
  const { body } = await exchange(catalyst.port, request('GET', '/metrics'));
  return Number(new RegExp(`^${line.replace(/[{}"]/g, '\\$&')} (\\d+)`, 'm').exec(body.toString())?.[1] ?? NaN);
}

describe('reloading', { skip: NO_BINARY }, () => {
  test('a certificate changes while a stream runs on the old one', { skip: NO_OPENSSL }, async (t) => {
    const folder = temporaryFolder(t);
    const [first, second] = ['first', 'second'].map((name) => makeCertificate(folder, name));
    const files = { cert: path.join(folder, 'cert.pem'), key: path.join(folder, 'key.pem') };
    const install = (c) => {
      copyFileSync(c.cert, files.cert);
      copyFileSync(c.key, files.key);
    };
    install(first);
    const scene = await startGateway(t, { config: ({ standard }) => ({ ...standard, tls: files }) });
    const { catalyst } = scene;
    const opened = gate();
    scene.double.anthropic.next({ gate: opened, after: 4 });
    const stream = await connectTls(catalyst.port, first.ca);
    stream.write(callBytes(scene, 'messages', bodyOf('messages', { stream: true })));
    await until('the first events', () => stream.received.length > 500);

    install(second);
    const line = await reload(catalyst, scene.config);
    assert.equal(line.event, 'config_reloaded', JSON.stringify(line));
    await until('the new certificate', async () => {
      const socket = await connectTls(catalyst.port, [first.ca, second.ca]);
      const name = socket.getPeerCertificate().subject.CN;
      socket.destroy();
      return name === 'second';
    });
    opened.open();
    const answer = await answerOf(stream);
    assert.ok(answer.body.equals(transcript('messages-plain.sse')));
    // and the connection goes on under the certificate it was made with
    stream.received = Buffer.alloc(0);
    stream.write(request('GET', '/healthz'));
    assert.equal((await answerOf(stream)).status, 200);
    assert.equal(stream.getPeerCertificate().subject.CN, 'first');
    stream.destroy();
  });

  test('providers, aliases and keys change, and a stream of a provider that is gone ends as it should', async (t) => {
    const scene = await startGateway(t);
    const { catalyst, double } = scene;
    const opened = gate();
    double.anthropic.next({ gate: opened, after: 4 });
    const stream = await startCall(t, scene, 'messages', bodyOf('messages', { stream: true }));
    await until('the first events', () => stream.received.length > 500);
    const second = makeKey();
    const next = {
      ...scene.config,
      providers: scene.config.providers.filter((p) => p.name === 'openai'),
      aliases: { quick: 'openai/gpt-4o-mini' },
      keys: [...scene.config.keys, { name: 'second', key: second }],
    };
    assert.equal((await reload(catalyst, next)).event, 'config_reloaded');
    const other = { ...scene, key: second };
    await until('the new key and alias', async () => (await call(other, 'chat', bodyOf('chat', { model: 'quick' }))).status === 200);
    await until('the provider to be gone', async () => (await call(scene, 'messages')).status !== 200);
    opened.open();
    const answer = await stream.readAnswer();
    assert.ok(answer.body.equals(transcript('messages-plain.sse')));
    const broken = { ...next, providers: [{ name: 'x', kind: 'openia' }] };
    assert.equal((await reload(catalyst, broken)).event, 'config_refused');
    assert.equal((await call(other, 'chat', bodyOf('chat', { model: 'quick' }))).status, 200, 'what was in force stays');
  });

  test('limits, tokens and the log level change at once', async (t) => {
    const catalyst = await startCatalyst(t, { config: { loops: 2, log: { level: 'info' } } });
    const long = { 'X-Long': 'x'.repeat(4000) };
    assert.equal(await status(catalyst, '/healthz', long), 200);
    const line = await reload(catalyst, { loops: 2, limits: { head_bytes: 2048 }, metrics: { token: 'planted-token' }, log: { level: 'debug' } });
    assert.equal(line.event, 'config_reloaded');
    assert.deepEqual(line.changed.split(', ').sort(), ['limits.head_bytes', 'log.level', 'metrics.token']);
    await until('the smaller limit', async () => (await status(catalyst, '/healthz', long)) === 431);
    assert.equal(await status(catalyst, '/healthz'), 200);
    const token = { Authorization: 'Bearer planted-token' };
    await until('the token', async () => (await status(catalyst, '/metrics', token)) === 200);
    assert.ok(!catalyst.stderr.includes('planted-token'));
  });

  test('what takes effect only at start is named, again and again, and the rest holds', async (t) => {
    const catalyst = await startCatalyst(t, { config: { loops: 1 } });
    for (let i = 0; i < 2; i++) {
      await reload(catalyst, { loops: 3, journal: { strict: true }, limits: { headers: 50 + i } });
      const line = await until('the line', () => catalyst.log.filter((l) => l.event === 'config_needs_restart')[i]);
      assert.equal(line.level, 'warn');
      assert.deepEqual(line.keys.split(', ').sort(), ['journal.strict', 'loops']);
    }
    await reload(catalyst, { loops: 1 });
    assert.equal(catalyst.log.filter((l) => l.event === 'config_needs_restart').length, 2);
  });

  test('a broken configuration is refused as a whole', async (t) => {
    const catalyst = await startCatalyst(t, { config: { limits: { head_bytes: 4096 } } });
    const long = { 'X-Long': 'x'.repeat(5000) };
    const broken = [
      ['limits: {head_bytes: 64KiB, haeders: 10}', /did you mean 'limits.headers'/],
      ['limits: {head_bytes: 64KiB}\nlisten: {address: "0.0.0.0:0"', /./],
      ['limits: {head_bytes: 64KiB}\ntls: {cert: /nonexistent.pem, key: /nonexistent.pem}', /nonexistent/],
      ['limits: {head_bytes: 64KiB}\ntls: {cert: x.pem}', /belong together/],
      ['limits: {head_bytes: 64KiB}\noutbound: {proxy: "socks5://u:planted-password@x:1"}', /only http:\/\/ proxies/],
      ['limits: {head_bytes: 64KiB}\noutbound: {allow_addresses: [10.0.0.0/80]}', /10\.0\.0\.0\/80/],
      ['limits: {head_bytes: 64KiB}\noutbound: {ca_file: /nonexistent-ca.pem}', /nonexistent-ca/],
    ];
    for (const [text, says] of broken) {
      const line = await reload(catalyst, text);
      assert.equal(line.event, 'config_refused', text);
      assert.equal(line.level, 'error');
      assert.match(`${line.reason} ${line.first_problem} ${line.more}`, says);
    }
    assert.equal(await status(catalyst, '/healthz', long), 431, 'the old limit stands');
    assert.equal(await metric(catalyst, 'catalyst_config_reloads_total{result="refused"}'), broken.length);
    assert.ok(!catalyst.stderr.includes('planted-password'));
    assert.equal((await reload(catalyst, 'limits: {head_bytes: 64KiB}')).event, 'config_reloaded');
    await until('the new limit', async () => (await status(catalyst, '/healthz', long)) === 200);
    assert.equal(await metric(catalyst, 'catalyst_config_reloads_total{result="taken"}'), 1);
  });
});

describe('config check', { skip: NO_BINARY }, () => {
  test('looks at the listener, the certificate and the way out too, all at once', { skip: NO_OPENSSL }, async (t) => {
    const catalyst = await startCatalyst(t, { config: {} });
    const folder = temporaryFolder(t);
    const [one, two] = ['one', 'two'].map((name) => makeCertificate(folder, name));
    const check = (config) => {
      writeFileSync(catalyst.configFile, toYaml(config), { mode: 0o600 });
      return catalyst.run(['config', 'check']);
    };
    const open = await check({ listen: { address: '0.0.0.0:8080' }, outbound: { proxy: 'ftp://x' } });
    assert.equal(open.code, 2);
    assert.match(open.stderr, /in the clear/);
    assert.match(open.stderr, /outbound\.proxy: only http/);
    const mixed = await check({ listen: { address: '0.0.0.0:8080' }, tls: { cert: one.cert, key: two.key } });
    assert.equal(mixed.code, 2);
    assert.match(mixed.stderr, /cannot be used for TLS/);
    const good = await check({ listen: { address: '0.0.0.0:8080' }, tls: { cert: one.cert, key: one.key } });
    assert.equal(good.code, 0, good.stderr);
  });
});
