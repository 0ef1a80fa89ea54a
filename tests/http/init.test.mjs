// init.test.mjs - `catalyst init`: what it writes is a valid configuration, and so is each of its examples.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { NO_BINARY, runCatalyst, startCatalyst, startProvider, temporaryFolder } from '../lib/catalyst.mjs';
import { NO_OPENSSL, makeCertificate } from '../lib/certificate.mjs';
import { bodyOf, call } from '../lib/call.mjs';

const KEY = /cvk_[0-9A-Za-z]{8}_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}/;
const ENV = { OPENAI_API_KEY: 'sk-1', ANTHROPIC_API_KEY: 'sk-2', OTHER_API_KEY: 'sk-3', CATALYST_DATA: '' };

/** A folder that init has written, what it wrote and what it said. */
async function initialised(t, ...args) {
  const dir = path.join(temporaryFolder(t), 'data');
  const file = path.join(dir, 'catalyst.yaml');
  const { code, stdout, stderr } = await runCatalyst(['init', '--data', dir, ...args], { env: ENV });
  assert.equal(code, 0, stderr);
  return { dir, file, text: readFileSync(file, 'utf8'), stdout, stderr };
}

async function check(dir) {
  const { code, stderr } = await runCatalyst(['config', 'check', '--data', dir], { env: ENV });
  return { code, stderr };
}

/** An example is a line whose # is not followed by exactly one space. */
const isExample = (line) => /^#(?! \S)./.test(line);
const switchedOn = (line) => line.slice(1);

describe('catalyst init', { skip: NO_BINARY }, () => {
  test('writes a configuration that is valid, private and has one sound key', async (t) => {
    const it = await initialised(t);
    assert.equal(statSync(it.file).mode & 0o777, 0o600);
    assert.equal(statSync(it.dir).mode & 0o777, 0o700);
    assert.deepEqual(readdirSync(it.dir), ['catalyst.yaml']);
    assert.equal(it.text.match(new RegExp(KEY, 'g')).length, 1);
    assert.deepEqual(await check(it.dir), { code: 0, stderr: '' });
    for (const line of it.text.split('\n')) assert.ok(line.length <= 120, line);
  });

  test('each provider that stands there as an example can be switched on', async (t) => {
    const it = await initialised(t);
    const lines = it.text.split('\n');
    const head = lines.indexOf('#providers:');
    assert.ok(head > 0);
    const end = lines.indexOf('', head);
    const starts = lines.map((line, i) => (/^# {2}- /.test(line) && i > head && i < end ? i : -1)).filter((i) => i >= 0);
    assert.equal(starts.length, 4);
    for (const [n, start] of starts.entries()) {
      const stop = starts[n + 1] ?? end;
      writeFileSync(it.file, lines.map((line, i) => (i === head || (i >= start && i < stop) ? switchedOn(line) : line)).join('\n'));
      assert.deepEqual(await check(it.dir), { code: 0, stderr: '' }, lines[start]);
    }
  });

  test('all examples together are a valid configuration', { skip: NO_OPENSSL }, async (t) => {
    const it = await initialised(t);
    makeCertificate(it.dir, 'server'); // that the example names
    const lines = it.text.split('\n');
    const examples = lines.filter(isExample);
    for (const section of ['tls', 'providers', 'aliases', 'limits', 'upstream', 'journal', 'metrics', 'log', 'loops']) assert.ok(examples.some((line) => line.startsWith(`#${section}:`)), section);
    writeFileSync(it.file, lines.map((line) => (isExample(line) ? switchedOn(line) : line)).join('\n'));
    assert.deepEqual(await check(it.dir), { code: 0, stderr: '' });
    const shown = await runCatalyst(['config', 'show', '--json', '--data', it.dir], { env: ENV });
    assert.equal(JSON.parse(shown.stdout).providers.length, 4);
  });

  test('says how to add a provider and how to call it, with the key', async (t) => {
    const it = await initialised(t, '--listen', '127.0.0.1:8123');
    const key = KEY.exec(it.text)[0];
    assert.match(it.text, /address: "127\.0\.0\.1:8123"/);
    for (const part of [
      'api_key_env: OPENAI_API_KEY',
      '{name: ollama, kind: ollama}',
      `curl http://127.0.0.1:8123/v1/chat/completions -H 'Authorization: Bearer ${key}'`,
      `OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=${key}`,
      `ANTHROPIC_BASE_URL=http://127.0.0.1:8123 ANTHROPIC_AUTH_TOKEN=${key} claude`,
      `CATALYST_KEY=${key} codex `,
      'wire_api="responses"',
      'requests --follow',
    ]) assert.ok(it.stdout.includes(part), `${part} in\n${it.stdout}`);
  });

  test('an existing file stays as it is, and its key is not printed', async (t) => {
    const it = await initialised(t);
    const again = await runCatalyst(['init', '--data', it.dir], { env: ENV });
    assert.equal(again.code, 0, again.stderr);
    assert.equal(readFileSync(it.file, 'utf8'), it.text);
    assert.doesNotMatch(again.stdout, KEY);
    assert.match(again.stdout, /OPENAI_API_KEY=KEY/);
    writeFileSync(it.file, 'providers: [{name: ollama, kind: ollama}]\nlisten: 0.0.0.0:8080\n');
    const own = await runCatalyst(['init', '--data', it.dir], { env: ENV });
    assert.equal(own.code, 0, own.stderr);
    assert.doesNotMatch(own.stdout, /Add a provider/);
    assert.match(own.stdout, /http:\/\/127\.0\.0\.1:8080\/v1/);
  });

  test('an address that is none and a folder that cannot be made are errors', async (t) => {
    const dir = path.join(temporaryFolder(t), 'data');
    const wrong = await runCatalyst(['init', '--data', dir, '--listen', 'nowhere'], { env: ENV });
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /--listen/);
    assert.ok(!existsSync(dir));
    writeFileSync(dir, '');
    const blocked = await runCatalyst(['init', '--data', dir], { env: ENV });
    assert.equal(blocked.code, 1);
    assert.match(blocked.stderr, /data/);
  });

  test('the server starts from what it wrote, and serves once a provider is there', async (t) => {
    const it = await initialised(t);
    const key = KEY.exec(it.text)[0];
    const empty = await startCatalyst(t, { config: it.text, dataDir: it.dir });
    const refused = await call({ catalyst: empty, key }, 'chat', bodyOf('chat'));
    assert.equal(refused.status, 404);
    assert.match(refused.text, /no provider is configured/);
    await empty.stop();
    const double = await startProvider(t, { key: 'sk-1' });
    const more = `providers:\n  - {name: openai, kind: openai, base_url: "${double.openaiUrl}", api_key_env: OPENAI_API_KEY}\n`;
    const served = await startCatalyst(t, { config: `${it.text}\n${more}`, dataDir: it.dir, env: ENV });
    assert.equal((await call({ catalyst: served, key }, 'chat', bodyOf('chat'))).status, 200);
  });
});

test('docs/configuration.md is what `catalyst config reference` prints', { skip: NO_BINARY }, async () => {
  const { code, stdout } = await runCatalyst(['config', 'reference']);
  assert.equal(code, 0);
  const page = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  assert.equal(page, stdout, 'run: build/release/catalyst config reference > docs/configuration.md');
});
