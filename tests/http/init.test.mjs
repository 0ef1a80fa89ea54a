// catalyst init: from nothing to a configuration that a person can finish.

import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { NO_BINARY, runCatalyst, temporaryFolder } from '../lib/catalyst.mjs';

describe('catalyst init', { skip: NO_BINARY }, () => {
  test('writes a configuration that only its owner can read, with one sound key, and says what to do next', async (t) => {
    const dir = path.join(temporaryFolder(t), 'data');
    const first = await runCatalyst(['init', '--data', dir]);
    assert.equal(first.code, 0, first.stderr);
    const file = path.join(dir, 'catalyst.yaml');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(statSync(dir).mode & 0o777, 0o700);
    const key = /key: (cvk_\w+)/.exec(readFileSync(file, 'utf8'))[1];
    for (const hint of ['providers:', 'kind: ollama', 'curl', 'OPENAI_BASE_URL', 'ANTHROPIC_BASE_URL', 'codex', key]) assert.ok(first.stdout.includes(hint), hint);
    const check = await runCatalyst(['config', 'check', '--data', dir]);
    assert.equal(check.code, 0, check.stderr);
  });

  test('leaves a configuration that is there as it is', async (t) => {
    const dir = temporaryFolder(t);
    await runCatalyst(['init', '--data', dir]);
    const before = readFileSync(path.join(dir, 'catalyst.yaml'), 'utf8');
    const again = await runCatalyst(['init', '--data', dir]);
    assert.equal(again.code, 0);
    assert.equal(readFileSync(path.join(dir, 'catalyst.yaml'), 'utf8'), before);
  });

  test('its examples are valid once their comment signs are taken away', async (t) => {
    const dir = temporaryFolder(t);
    await runCatalyst(['init', '--data', dir]);
    const file = path.join(dir, 'catalyst.yaml');
    writeFileSync(file, readFileSync(file, 'utf8').replace(/^#(\S.*|  .*)$/gm, '$1'), { mode: 0o600 });
    const check = await runCatalyst(['config', 'check', '--data', dir], { env: { OPENAI_API_KEY: 'x', ANTHROPIC_API_KEY: 'y' } });
    assert.equal(check.code, 0, check.stderr);
  });

  test('a folder that cannot be written is said so', async (t) => {
    const file = path.join(temporaryFolder(t), 'file');
    writeFileSync(file, '');
    const result = await runCatalyst(['init', '--data', path.join(file, 'data')]);
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, /data folder|Not a directory/);
  });
});
