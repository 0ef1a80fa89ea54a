// The commands that ask a server, and the doctor: what they send, show, refuse, and end with.

import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { QUICK_PASSWORDS, owner } from '../lib/api.mjs';
import { NO_BINARY, runCatalyst, startCatalyst, startProvider, temporaryFolder } from '../lib/catalyst.mjs';
import { NO_OPENSSL, makeCertificate } from '../lib/certificate.mjs';
import { scope } from '../lib/defer.mjs';
import { freePort } from '../lib/raw.mjs';
import { until } from '../lib/wait.mjs';
import { toYaml } from '../lib/yaml.mjs';

const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3, refused: 4 };
const CLEAN = { CATALYST_URL: '', CATALYST_API_KEY: '', HTTP_PROXY: '', HTTPS_PROXY: '', http_proxy: '', https_proxy: '' };

describe('commands that ask a server', { skip: NO_BINARY }, () => {
  const suite = scope();
  let catalyst, ada;
  before(async () => {
    catalyst = await startCatalyst(suite, { config: { loops: 1, identity: QUICK_PASSWORDS } });
    ada = await owner(catalyst);
  });
  after(() => suite.end());

  const cli = (...args) =>
    runCatalyst(args, { env: { ...CLEAN, CATALYST_URL: catalyst.origin, CATALYST_API_KEY: ada.made.api_key } });
  const ok = async (...args) => {
    const result = await cli(...args);
    assert.equal(result.code, EXIT.ok, `${args.join(' ')}: ${result.stderr}`);
    return result.stdout;
  };
  const json = async (...args) => JSON.parse(await ok(...args, '--json'));
  const fails = async (code, says, ...args) => {
    const result = await cli(...args);
    assert.equal(result.code, code, `${args.join(' ')}: ${result.stdout} ${result.stderr}`);
    assert.match(result.stderr, says);
    assert.equal(result.stdout, '');
    return result.stderr;
  };

  test('a project is made, listed, shown and removed, by name', async () => {
    const made = await json('project', 'create', 'shop', '--repository', 'https://example.com/shop.git', '--description', 'The shop');
    assert.match(made.id, /^[0-9a-f-]{36}$/);
    await ok('project', 'create', 'büro');
    const table = await ok('project', 'list');
    const lines = table.trimEnd().split('\n');
    assert.match(lines[0], /^NAME +REPOSITORY +CREATED +ID$/);
    assert.ok(lines.some((l) => /^shop +https:\/\/example\.com\/shop\.git +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +[0-9a-f-]{36}$/.test(l)), table);
    const at = lines.map((l) => [...l].join('').search(/CREATED|\d{4}-\d\d-\d\d \d\d:/)); // in code points
    assert.equal(new Set(at).size, 1, 'columns stand below each other');
    assert.deepEqual((await json('project', 'list')).map((p) => p.name).sort(), ['büro', 'shop']);
    assert.match(await ok('project', 'show', 'shop'), /^name +shop\ndescription +The shop\n/);
    assert.equal((await json('project', 'show', made.id)).name, 'shop');
    assert.match(await ok('project', 'remove', 'shop'), /removed the project 'shop'/);
    const missing = await fails(EXIT.failed, /there is no project 'shop'; there are: büro/, 'project', 'show', 'shop');
    assert.equal(missing.trim().split('\n').length, 1);
  });

  test('many items come in pages and are all shown', async () => {
    for (let i = 0; i < 205; i++) await ada.must(201, ada.post('/api/projects', { name: `many-${String(i).padStart(3, '0')}` }));
    const all = (await json('project', 'list')).filter((p) => p.name.startsWith('many-'));
    assert.equal(all.length, 205);
    await ok('project', 'show', 'many-204');
  });

  test('people are listed and invited', async () => {
    assert.match(await ok('user', 'list'), /^Ada +ada@example\.com +owner /m);
    const invited = await json('user', 'invite', 'bob@example.com', '--role', 'viewer');
    assert.equal(invited.role, 'viewer');
    assert.ok(invited.link.startsWith('http'));
    await fails(EXIT.failed, /role/, 'user', 'invite', 'eve@example.com', '--role', 'emperor');
  });

  test('jobs are listed, and what is none is not found', async () => {
    assert.ok(Array.isArray(await json('jobs', 'list')));
    assert.match(await ok('jobs', 'list', '--state', 'queued'), /^KIND +STATE/);
    await fails(EXIT.failed, /state/, 'jobs', 'list', '--state', 'asleep');
    await fails(EXIT.failed, /no such job|not found/, 'jobs', 'show', '01900000-0000-7000-8000-000000000000');
    await fails(EXIT.failed, /./, 'jobs', 'cancel', 'nonsense');
  });

  test('wrong fields are told one a line, with the exit code of the refusal', async () => {
    const told = await fails(EXIT.failed, /./, 'project', 'create', '', '--repository', 'no url');
    assert.match(told, /^catalyst: .+\n(  \w+: .+\n)+$/);
    assert.match(told, /^ {2}name: /m);
    const twice = await cli('project', 'create', 'büro');
    assert.equal(twice.code, EXIT.failed);
    assert.match(twice.stderr, /already/);
  });

  test('who may not is refused, and who cannot be reached is unreachable', async () => {
    const env = { ...CLEAN, CATALYST_URL: catalyst.origin };
    const none = await runCatalyst(['project', 'list'], { env });
    assert.equal(none.code, EXIT.usage);
    assert.match(none.stderr, /CATALYST_API_KEY/);
    const wrong = await runCatalyst(['project', 'list'], { env: { ...env, CATALYST_API_KEY: 'cat_wrong' } });
    assert.equal(wrong.code, EXIT.refused, wrong.stderr);
    assert.ok(!wrong.stderr.includes('cat_wrong'));
    const port = await freePort();
    const gone = await cli('project', 'list', '--url', `http://127.0.0.1:${port}`);
    assert.equal(gone.code, EXIT.unreachable);
    assert.match(gone.stderr, /cannot be reached \(is the server running\?\)/);
    for (const url of ['nonsense', 'ftp://x', 'http://user:pw@x/', 'http://127.0.0.1:1/?a=b']) {
      const bad = await cli('project', 'list', '--url', url);
      assert.equal(bad.code, EXIT.usage, url);
    }
  });

  test('wrong usage is told before anything is sent', async () => {
    await fails(EXIT.usage, /an argument is missing: catalyst project create NAME/, 'project', 'create');
    await fails(EXIT.usage, /--kind is needed/, 'provider', 'add', 'x');
    await fails(EXIT.usage, /--name is needed/, 'key', 'create');
    await fails(EXIT.usage, /--limit is needed/, 'budget', 'set');
    await fails(EXIT.usage, /an amount in USD/, 'key', 'create', '--name', 'x', '--budget', 'much');
    await fails(EXIT.usage, /an amount in USD/, 'key', 'create', '--name', 'x', '--budget', '-1');
    await fails(EXIT.usage, /number of days/, 'key', 'create', '--name', 'x', '--expires-in-days', '0');
    await fails(EXIT.usage, /the variable NO_SUCH_VARIABLE/, 'provider', 'add', 'x', '--kind', 'openai', '--key-env', 'NO_SUCH_VARIABLE');
    await fails(EXIT.usage, /give one of/, 'provider', 'add', 'x', '--kind', 'openai', '--key-env', 'A', '--key-file', 'b');
    await fails(EXIT.usage, /--of is needed/, 'budget', 'set', '--limit', '5', '--scope', 'key');
    await fails(EXIT.usage, /--soft or --hard/, 'budget', 'set', '--limit', '5', '--soft', '--hard');
    await fails(EXIT.usage, /has no flag '--jsn'; did you mean '--json'/, 'project', 'list', '--jsn');
    await fails(EXIT.usage, /needs one of: add, list, remove, test/, 'provider');
    await fails(EXIT.usage, /did you mean 'provider list'/, 'provider', 'lst');
    await fails(EXIT.usage, /--tag works on a data folder/, 'requests', '--url', catalyst.origin, '--tag', 'x');
    await fails(EXIT.usage, /--limit takes a number/, 'jobs', 'list', '--limit', 'all');
  });

  test('every command has its help from the same table', async () => {
    const help = await ok('--help');
    const names = [...help.matchAll(/^ {2}([a-z]+(?: [a-z]+)?) {2,}\S/gm)].map((m) => m[1]);
    assert.ok(names.includes('provider add') && names.includes('doctor'), help);
    for (const name of names) {
      const text = await ok(...name.split(' '), '--help');
      assert.match(text, new RegExp(`^catalyst ${name}: .+\n\nUsage: catalyst ${name}`));
      for (const line of text.split('\n')) assert.ok(line.length <= 120 || line.startsWith('  '), line);
    }
  });
});

describe('commands of the gateway', { skip: NO_BINARY }, () => {
  const suite = scope();
  let catalyst, ada, double;
  before(async () => {
    double = await startProvider(suite, { key: 'sk-double-cli' });
    catalyst = await startCatalyst(suite, { config: { loops: 1, identity: QUICK_PASSWORDS } });
    ada = await owner(catalyst);
  });
  after(() => suite.end());

  const cli = (args, env = {}) =>
    runCatalyst(args, { env: { ...CLEAN, CATALYST_URL: catalyst.origin, CATALYST_API_KEY: ada.made.api_key, ...env } });
  const ok = async (args, env) => {
    const result = await cli(args, env);
    assert.equal(result.code, EXIT.ok, `${args.join(' ')}: ${result.stderr}`);
    return result.stdout;
  };
  const json = async (...args) => JSON.parse(await ok([...args, '--json']));
  const complete = (key, model = 'gpt-4o-mini') =>
    fetch(`${catalyst.origin}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello' }], max_tokens: 10 }),
    });

  test('from a provider to the first call and its cost', async () => {
    const add = ['provider', 'add', 'far', '--kind', 'openai', '--base-url', double.openaiUrl, '--key-env', 'FAR_KEY'];
    assert.match(await ok(add, { FAR_KEY: 'sk-double-cli' }), /added the provider 'far'/);
    const listed = await ok(['provider', 'list']);
    assert.match(listed, /^far +openai +http:\/\/127/m);
    assert.ok(!listed.includes('sk-double-cli'));
    assert.equal((await json('provider', 'list'))[0].key_hint, '-cli');
    assert.match(await ok(['provider', 'test', 'far']), /^ok +yes$/m);

    const made = await json('key', 'create', '--name', 'agent', '--budget', '5');
    assert.match(made.key, /^cvk_/);
    assert.match(made.id, /^[0-9a-f-]{36}$/);
    assert.equal(made.budget.limit_usd, '5.000000000');
    await until('the key to work', async () => (await complete(made.key)).status === 200);

    const keys = await ok(['key', 'list']);
    assert.match(keys, /^agent +cvk_\w+ +yes +5\.00 +total +\d/m);
    assert.ok(!keys.includes(made.key));
    const budgets = await json('budget', 'list');
    assert.equal(budgets.length, 1);
    assert.equal(budgets[0].scope, 'key');

    const calls = await until('the call', async () => {
      const lines = (await ok(['requests', '--url', catalyst.origin, '--json'])).split('\n').filter((l) => l !== '');
      return lines.length > 0 && lines.map((l) => JSON.parse(l));
    });
    assert.equal(calls[0].key_name, 'agent');
    assert.match(await ok(['requests', '--url', catalyst.origin, '--key', 'agent']), /gpt-4o-mini +agent +\d+ +\d+ +0\.\d+/);
    const usage = await ok(['usage', '--url', catalyst.origin, '--by', 'key']);
    assert.match(usage, /^agent +\d+ +0 /m);
  });

  test('a key is rotated, limited and revoked', async () => {
    const made = await json('key', 'create', '--name', 'short', '--models', 'gpt-4o-*', '--requests-per-minute', '100', '--expires-in-days', '2');
    assert.deepEqual(made.allowed_models, ['gpt-4o-*']);
    assert.equal(made.limits.requests_per_minute, 100);
    assert.ok(Math.abs(Date.parse(made.expires_at) - Date.now() - 2 * 86_400_000) < 60_000);
    const next = await json('key', 'rotate', 'short');
    assert.notEqual(next.key, made.key);
    await until('the new secret', async () => (await complete(next.key)).status === 200);
    await until('the old one to end', async () => (await complete(made.key)).status === 401);
    assert.match(await ok(['key', 'revoke', 'short']), /revoked/);
    await until('the key to end', async () => (await complete(next.key)).status === 401);
    const twice = await cli(['key', 'revoke', 'short']);
    assert.equal(twice.code, EXIT.failed);
    assert.match(twice.stderr, /there is no key 'short'/);
  });

  test('a budget is set, changed and removed', async () => {
    const set = await json('budget', 'set', '--limit', '20', '--period', 'weekly');
    assert.deepEqual([set.scope, set.period, set.limit_usd, set.is_hard], ['workspace', 'weekly', '20.000000000', true]);
    const changed = await json('budget', 'set', '--limit', '30.5', '--period', 'weekly', '--soft');
    assert.deepEqual([changed.id, changed.limit_usd, changed.is_hard], [set.id, '30.500000000', false]);
    assert.match(await ok(['budget', 'list']), /^workspace .*weekly +no +30\.50 +/m);
    await ok(['budget', 'remove', set.id]);
    assert.equal((await cli(['budget', 'remove', set.id])).code, EXIT.failed);
    const nobody = await cli(['budget', 'set', '--limit', '5', '--scope', 'key', '--of', 'nobody']);
    assert.equal(nobody.code, EXIT.failed);
    assert.match(nobody.stderr, /there is no key 'nobody'/);
  });

  test('wrong providers are refused with their fields, and a dead one fails its test', async () => {
    const kind = await cli(['provider', 'add', 'x', '--kind', 'openia']);
    assert.equal(kind.code, EXIT.failed);
    assert.match(kind.stderr, /^ {2}kind: /m);
    const port = await freePort();
    await ok(['provider', 'add', 'dead', '--kind', 'compatible', '--base-url', `http://127.0.0.1:${port}/v1`, '--models', 'dead-*']);
    const tested = await cli(['provider', 'test', 'dead']);
    assert.equal(tested.code, EXIT.failed);
    assert.match(tested.stdout, /^ok +no$/m);
    await ok(['provider', 'remove', 'dead']);
    assert.ok(!(await ok(['provider', 'list'])).includes('dead'));
  });
});

describe('catalyst doctor', { skip: NO_BINARY }, () => {
  const doctor = async (dir, ...args) => {
    const { code, stdout, stderr } = await runCatalyst(['doctor', '--data', dir, '--json', ...args], { env: CLEAN });
    assert.equal(stderr, '');
    const { state, checks } = JSON.parse(stdout);
    const of = (about) => checks.filter((c) => c.about === about);
    return { code, state, checks, of, worst: (about) => (of(about).some((c) => c.state === 'fail') ? 'fail' : of(about).some((c) => c.state === 'warn') ? 'warn' : 'ok') };
  };
  const configured = (dir, config) => writeFileSync(path.join(dir, 'catalyst.yaml'), toYaml(config), { mode: 0o600 });
  const listen = async () => ({ listen: { address: `127.0.0.1:${await freePort()}` } });

  test('a folder that does not exist yet is in order', async (t) => {
    const dir = path.join(temporaryFolder(t), 'new');
    const found = await doctor(dir, '--listen', '127.0.0.1:0');
    assert.equal(found.code, EXIT.ok, JSON.stringify(found.checks));
    for (const about of ['program', 'disk', 'data folder', 'configuration', 'master key', 'database', 'port', 'outbound'])
      assert.equal(found.worst(about), 'ok', about);
  });

  test('a running server and its folder are in order, and nothing is changed', async (t) => {
    const catalyst = await startCatalyst(t, { config: { identity: QUICK_PASSWORDS } });
    const found = await doctor(catalyst.dataDir, '--listen', catalyst.address);
    assert.equal(found.code, EXIT.ok, JSON.stringify(found.checks));
    assert.match(found.of('data folder')[0].detail, /a server runs on it/);
    assert.match(found.of('database')[0].detail, /^SQLite, \d+ migrations$/);
    assert.match(found.of('port')[0].detail, /in use, by the server/);
    assert.equal(found.worst('master key'), 'ok');
    const plain = await runCatalyst(['doctor', '--data', catalyst.dataDir, '--listen', catalyst.address], { env: CLEAN });
    assert.match(plain.stdout, /^ok {4}database {7}SQLite/m);
  });

  test('what is wrong is a failure with what to do', async (t) => {
    const dir = temporaryFolder(t);
    const catalyst = await startCatalyst(t, { config: { identity: QUICK_PASSWORDS } });
    configured(dir, { listen: { address: catalyst.address }, limits: { haeders: 5 } });
    const wrong = await doctor(dir);
    assert.equal(wrong.code, EXIT.failed);
    assert.equal(wrong.worst('configuration'), 'fail');
    assert.ok(wrong.of('configuration').some((c) => c.detail.includes("did you mean 'limits.headers'")));

    configured(dir, { listen: { address: catalyst.address }, outbound: { proxy: `http://127.0.0.1:${await freePort()}` } });
    writeFileSync(path.join(dir, 'master.key'), 'no key', { mode: 0o600 });
    writeFileSync(path.join(dir, 'VERSION'), '99\n');
    const broken = await doctor(dir);
    for (const about of ['port', 'outbound', 'master key', 'data folder']) assert.equal(broken.worst(about), 'fail', JSON.stringify(broken.of(about)));
    assert.ok(broken.checks.filter((c) => c.state === 'fail').every((c) => c.advice !== null));

    configured(dir, { ...(await listen()), database: { url: `postgresql://nobody@127.0.0.1:${await freePort()}/none` } });
    const lost = await doctor(dir);
    assert.equal(lost.worst('database'), 'fail');
    assert.match(lost.of('database')[0].advice, /database\.url/);
  });

  test('rights that are too wide and certificates that end soon are warnings', { skip: NO_OPENSSL }, async (t) => {
    const dir = temporaryFolder(t);
    const soon = makeCertificate(dir, 'soon', 3);
    chmodSync(dir, 0o755);
    chmodSync(soon.key, 0o644);
    writeFileSync(path.join(dir, 'master.key'), 'ab'.repeat(32), { mode: 0o600 });
    configured(dir, { ...(await listen()), tls: { cert: soon.cert, key: soon.key } });
    const found = await doctor(dir);
    assert.equal(found.code, EXIT.ok, JSON.stringify(found.checks));
    assert.equal(found.state, 'warn');
    assert.match(found.of('data folder')[0].advice, /^chmod 700 /);
    assert.ok(found.of('certificate').some((c) => c.state === 'warn' && /expires in [23] days/.test(c.detail)));
    assert.ok(found.of('certificate').some((c) => c.state === 'warn' && /^chmod 600 /.test(c.advice)));
    mkdirSync(path.join(dir, 'sub'));
    writeFileSync(path.join(dir, 'file'), '');
    const file = await doctor(path.join(dir, 'file'), '--listen', '127.0.0.1:0');
    assert.equal(file.worst('data folder'), 'fail');
  });
});
