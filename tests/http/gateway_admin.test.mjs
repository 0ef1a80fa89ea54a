// What is set up of the gateway through the API: providers and their live test, aliases, virtual keys, budgets, limits.

import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import { Caller, QUICK_PASSWORDS, newMember, owner } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst, startProvider } from '../lib/catalyst.mjs';
import { defer } from '../lib/defer.mjs';
import { makeKey } from '../lib/keys.mjs';
import { NO_POSTGRES, startPostgres } from '../lib/postgres.mjs';
import { mustAgree, rebuild, sealedLog } from '../lib/rebuild.mjs';

const skip = NO_BINARY;
const PROVIDERS = '/api/gateway/providers';
const KEYS = '/api/gateway/keys';
const BUDGETS = '/api/gateway/budgets';
const NOBODY = '0199f3a2-7c1e-7bbb-8a6e-2f1d9c0b4e55';
const codes = (answer) => (answer.json.errors ?? assert.fail(answer.text)).map((e) => [e.field, e.code]).sort();

async function start(t, { config = {}, database } = {}) {
  const catalyst = await startCatalyst(t, {
    config: { loops: 2, identity: QUICK_PASSWORDS, ...config },
    env: database ? { CATALYST_DATABASE__URL: database } : {},
  });
  catalyst.databaseUrl = database;
  return { catalyst, ada: await owner(catalyst) };
}

/** On SQLite and, where it is installed, on PostgreSQL. */
function onBoth(name, body) {
  test(`${name} (SQLite)`, { skip }, (t) => body(t, {}));
  test(`${name} (PostgreSQL)`, { skip: skip || NO_POSTGRES }, async (t) =>
    body(t, { database: await (await startPostgres(t)).database() }),
  );
}

const eventsOf = async (catalyst, type) => (await sealedLog(catalyst)).map((x) => x.event).filter((e) => e.type === type);

// --- providers ---

onBoth('a provider is added, read, changed and removed; its key is never shown again', async (t, options) => {
  const { catalyst, ada } = await start(t, options);
  const key = 'sk-planted-8Kd0Qm2xWz7';
  const made = await ada.post(PROVIDERS, { name: 'main', kind: 'openai', api_key: key });
  assert.equal(made.status, 201, made.text);
  const at = made.headers.get('location');
  const { id, created_at, updated_at, ...rest } = made.json;
  assert.equal(at, `${PROVIDERS}/${id}`);
  assert.equal(created_at, updated_at);
  assert.deepEqual(rest, {
    name: 'main',
    kind: 'openai',
    base_url: 'https://api.openai.com/v1',
    models: ['gpt-*', 'chatgpt-*', 'o1*', 'o3*', 'o4*', 'o5*', 'codex-*', 'computer-use-*', 'text-embedding-*'],
    dialects: ['chat', 'responses', 'embeddings'],
    prices: {},
    has_key: true,
    key_hint: 'xWz7'.slice(-4),
    is_enabled: true,
    origin: 'database',
    version: 1,
  });
  const read = await ada.get(at);
  assert.deepEqual([read.json, read.headers.get('etag')], [made.json, '"1"']);

  const renamed = await ada.patch(at, { name: 'first', models: ['gpt-5*'] }, { 'if-match': '"1"' });
  assert.equal(renamed.status, 200, renamed.text);
  assert.deepEqual(
    [renamed.json.name, renamed.json.models, renamed.json.has_key, renamed.json.version],
    ['first', ['gpt-5*'], true, 2],
  );
  assert.equal((await ada.patch(at, { name: 'x' }, { 'if-match': '"1"' })).status, 412);
  // Another kind brings its own address and dialects, but for what was said.
  const moved = await ada.must(200, ada.patch(at, { kind: 'anthropic' }));
  assert.deepEqual(
    [moved.base_url, moved.models, moved.dialects],
    ['https://api.anthropic.com', ['gpt-5*'], ['messages']],
  );
  // The same key again changes nothing that can be seen, and is a change all the same.
  const again = await ada.must(200, ada.patch(at, { api_key: key }));
  assert.equal(again.version, 4);
  const same = await ada.must(200, ada.patch(at, { name: 'first' }));
  assert.equal(same.version, 4);
  const put = await ada.must(200, ada.put(at, { name: 'first', kind: 'openai' }));
  assert.deepEqual([put.has_key, put.models.length, put.version], [true, 9, 5]);
  const bare = await ada.must(200, ada.patch(at, { api_key: null }));
  assert.deepEqual([bare.has_key, bare.key_hint], [false, null]);

  assert.equal((await ada.delete(at, { 'if-match': '"1"' })).status, 412);
  assert.equal((await ada.delete(at)).status, 204);
  assert.equal((await ada.get(at)).status, 404);

  const log = JSON.stringify((await sealedLog(catalyst)).map((x) => x.event));
  assert.ok(!log.includes(key) && !catalyst.stderr.includes(key));
  const updates = await eventsOf(catalyst, 'provider.updated');
  assert.deepEqual(updates[0].before, { name: 'main', models: rest.models, version: 1 });
  assert.deepEqual(updates[0].after, { name: 'first', models: ['gpt-5*'], version: 2 });
  assert.deepEqual(updates.at(-1).after, { has_key: false, key_hint: null, version: 6 });
  assert.equal((await eventsOf(catalyst, 'provider.created')).length, 1);
  assert.equal((await eventsOf(catalyst, 'provider.deleted')).length, 1);
});

test('what is wrong with a provider is told at once', { skip }, async (t) => {
  const { ada } = await start(t);
  const bad = await ada.post(PROVIDERS, { name: 'a b', kind: 'opnai', base_url: 'ftp://x', api_key: '', models: [''], dialects: ['morse'] });
  assert.equal(bad.status, 400);
  assert.deepEqual(codes(bad), [
    ['api_key', 'too_short'],
    ['base_url', 'bad_format'],
    ['dialects[0]', 'not_one_of'],
    ['kind', 'not_one_of'],
    ['models[0]', 'too_short'],
    ['name', 'bad_format'],
  ]);
  assert.match(bad.json.errors.find((e) => e.field === 'kind').message, /openai, anthropic, .*did you mean 'openai'/);
  const deeper = await ada.post(PROVIDERS, { name: 'x', kind: 'compatible', api_key: 'two words', models: ['a b'], prices: { m: { input: -1 } } });
  assert.deepEqual(codes(deeper), [
    ['api_key', 'bad_format'],
    ['base_url', 'required'],
    ['models', 'bad_format'],
    ['prices', 'bad_format'],
  ]);
  for (const base_url of ['http://169.254.169.254/latest', 'http://[fe80::1]/v1', 'http://user:secret@example.com/v1']) {
    const refused = await ada.post(PROVIDERS, { name: 'x', kind: 'compatible', base_url });
    assert.deepEqual(codes(refused), [['base_url', 'bad_format']], base_url);
    assert.ok(!refused.text.includes('secret'));
  }
  for (const path of [`${PROVIDERS}/${NOBODY}`, `${PROVIDERS}/main`]) assert.equal((await ada.get(path)).status, 404);
});

test('a name of a provider is taken once in a workspace, and by the configuration file', { skip }, async (t) => {
  const { ada } = await start(t, {
    config: { providers: [{ name: 'filed', kind: 'openai', api_key: 'sk-of-the-file-1234' }], aliases: { quick: 'gpt-5-mini' } },
  });
  const first = await ada.must(201, ada.post(PROVIDERS, { name: 'main', kind: 'openai' }));
  const second = await ada.must(201, ada.post(PROVIDERS, { name: 'second', kind: 'openai' }));
  for (const taken of [
    await ada.post(PROVIDERS, { name: 'main', kind: 'ollama' }),
    await ada.patch(`${PROVIDERS}/${second.id}`, { name: 'main' }),
    await ada.put(`${PROVIDERS}/${second.id}`, { name: 'main', kind: 'ollama' }),
    await ada.post(PROVIDERS, { name: 'filed', kind: 'ollama' }),
  ]) {
    assert.deepEqual([taken.status, taken.code], [409, 'conflict']);
    assert.deepEqual(codes(taken), [['name', 'duplicate']]);
  }
  const list = await ada.must(200, ada.get(PROVIDERS));
  assert.deepEqual(
    list.items.map((p) => [p.name, p.origin, p.has_key, p.key_hint]),
    [
      ['filed', 'file', true, '1234'],
      ['main', 'database', false, null],
      ['second', 'database', false, null],
    ],
  );
  const filed = list.items[0];
  assert.deepEqual((await ada.must(200, ada.get(`${PROVIDERS}/${filed.id}`))), filed);
  for (const answer of [
    await ada.patch(`${PROVIDERS}/${filed.id}`, { is_enabled: false }),
    await ada.delete(`${PROVIDERS}/${filed.id}`),
    await ada.put('/api/gateway/aliases/quick', { model: 'x' }),
  ]) {
    assert.equal(answer.status, 409);
    assert.match(answer.json.detail, /configuration file/);
  }
  // By pages of one, the file's before the others; nobody twice.
  const seen = [];
  for (let cursor = ''; cursor !== null; ) {
    const page = await ada.must(200, ada.get(`${PROVIDERS}?limit=1${cursor && `&cursor=${encodeURIComponent(cursor)}`}`));
    assert.ok(page.items.length <= 1);
    seen.push(...page.items.map((p) => p.name));
    cursor = page.next_cursor;
  }
  assert.deepEqual(seen, ['filed', 'main', 'second']);
  assert.equal((await ada.get(`${PROVIDERS}?cursor=file.x`)).status, 400);
  // Another workspace has its own names, and sees nothing of the file.
  const other = ada.with({ workspace: (await ada.must(201, ada.post('/api/workspaces', { name: 'Second' }))).id });
  assert.deepEqual((await other.must(200, other.get(PROVIDERS))).items, []);
  assert.equal((await other.get(`${PROVIDERS}/${filed.id}`)).status, 404);
  assert.equal((await other.get(`${PROVIDERS}/${first.id}`)).status, 404);
  assert.equal((await other.post(PROVIDERS, { name: 'main', kind: 'openai' })).status, 201);
});

test('a live test says exactly what is wrong, and costs nothing', { skip }, async (t) => {
  const { catalyst, ada } = await start(t);
  const openai = await startProvider(t, { key: 'sk-double-openai-7Yd2' });
  const anthropic = await startProvider(t, { key: 'sk-ant-double-q8Wz' });
  const web = http.createServer((_, answer) => answer.setHeader('content-type', 'text/html').end('<h1>Hello</h1>'));
  await new Promise((resolve) => web.listen(0, '127.0.0.1', resolve));
  defer(t, () => web.close());
  let n = 0;
  const attempt = async (body) => {
    const made = await ada.must(201, ada.post(PROVIDERS, { name: `p${++n}`, ...body }));
    return ada.must(200, ada.post(`${PROVIDERS}/${made.id}/test`));
  };
  const good = await attempt({ kind: 'openai', base_url: openai.openaiUrl, api_key: 'sk-double-openai-7Yd2' });
  assert.deepEqual([good.is_ok, good.status], [true, 200], good.detail);
  assert.ok(good.models.length > 0 && good.latency_ms >= 0);
  assert.match(good.detail, /lists \d+ models/);
  const claude = await attempt({ kind: 'anthropic', base_url: anthropic.origin, api_key: 'sk-ant-double-q8Wz' });
  assert.equal(claude.is_ok, true, claude.detail);
  assert.ok(claude.models.some((m) => m.startsWith('claude-')));
  const wrong = await attempt({ kind: 'openai', base_url: openai.openaiUrl, api_key: 'sk-wrong-0000-abcd' });
  assert.deepEqual([wrong.is_ok, wrong.status], [false, 401]);
  assert.match(wrong.detail, /does not take the key\. It says: Incorrect API key/);
  assert.ok(!wrong.detail.includes('sk-wrong-0000-abcd'));
  const without = await attempt({ kind: 'openai', base_url: openai.openaiUrl });
  assert.match(without.detail, /wants a key, and none is set/);
  openai.next({ fault: '404' });
  const lost = await attempt({ kind: 'openai', base_url: `${openai.origin}/elsewhere`, api_key: 'sk-double-openai-7Yd2' });
  assert.deepEqual([lost.is_ok, lost.status], [false, 404]);
  assert.match(lost.detail, /is the base URL right/);
  const page = await attempt({ kind: 'compatible', base_url: `http://127.0.0.1:${web.address().port}/v1` });
  assert.deepEqual([page.is_ok, page.status], [false, 200]);
  assert.match(page.detail, /no list of models \(text\/html\)/);
  const silent = await attempt({ kind: 'compatible', base_url: 'http://127.0.0.1:1/v1' });
  assert.deepEqual([silent.is_ok, silent.status], [false, null]);
  assert.match(silent.detail, /127\.0\.0\.1/);
  for (const double of [openai, anthropic])
    assert.ok(double.exchanges.every((x) => x.method === 'GET'), 'only lists of models are asked for');
  const told = await eventsOf(catalyst, 'provider.tested');
  assert.deepEqual(
    told.map((e) => e.metadata),
    [200, 200, 401, 401, 404, 200, null].map((status, i) => ({ is_ok: i < 2, status })),
  );
});

// --- kinds, models, aliases ---

test('kinds are listed with what they need, in the words that a provider takes', { skip }, async (t) => {
  const { ada } = await start(t);
  const { items } = await ada.must(200, ada.get('/api/gateway/kinds'));
  const kind = (name) => items.find((k) => k.name === name);
  assert.deepEqual([kind('openai').needs_key, kind('ollama').needs_key, kind('compatible').base_url], [true, false, null]);
  assert.deepEqual(kind('anthropic').dialects, ['messages']);
  const document = (await ada.get('/api/openapi.json')).json;
  assert.deepEqual(document.components.schemas.ProviderInput.properties.kind.enum, items.map((k) => k.name));
  for (const { name } of items)
    assert.equal(
      (await ada.post(PROVIDERS, { name, kind: name, base_url: 'http://127.0.0.1:9/v1' })).status,
      201,
      name,
    );
  const page = await ada.must(200, ada.get('/api/gateway/kinds?limit=5'));
  const next = await ada.must(200, ada.get(`/api/gateway/kinds?limit=5&cursor=${page.next_cursor}`));
  assert.deepEqual([...page.items, ...next.items], items.slice(0, 10));
});

onBoth('an alias is made, led elsewhere and removed', async (t, options) => {
  const { catalyst, ada } = await start(t, options);
  const at = '/api/gateway/aliases/fast%2Fcheap';
  const made = await ada.put(at, { model: 'gpt-5-mini' });
  assert.equal(made.status, 200, made.text);
  assert.deepEqual([made.json.name, made.json.model, made.json.origin], ['fast/cheap', 'gpt-5-mini', 'database']);
  const same = await ada.put(at, { model: 'gpt-5-mini' });
  assert.deepEqual([same.status, same.json.updated_at], [200, made.json.updated_at]);
  const moved = await ada.put(at, { model: 'main/gpt-5' }, { 'if-match': made.headers.get('etag') });
  assert.equal(moved.status, 200);
  assert.equal((await ada.put(at, { model: 'x' }, { 'if-match': made.headers.get('etag') })).status, 412);
  assert.deepEqual((await ada.must(200, ada.get('/api/gateway/aliases'))).items.map((a) => a.model), ['main/gpt-5']);
  assert.deepEqual(codes(await ada.put('/api/gateway/aliases/a%20b', { model: 'x' })), [['name', 'bad_format']]);
  assert.deepEqual(codes(await ada.put('/api/gateway/aliases/a', {})), [['model', 'required']]);
  assert.equal((await ada.delete(at)).status, 204);
  assert.equal((await ada.delete(at)).status, 404);
  const [created] = await eventsOf(catalyst, 'alias.created');
  const [updated] = await eventsOf(catalyst, 'alias.updated');
  assert.deepEqual([updated.before, updated.after], [{ model: 'gpt-5-mini' }, { model: 'main/gpt-5' }]);
  assert.equal(created.resource.id, updated.resource.id);
  assert.equal((await eventsOf(catalyst, 'alias.deleted')).length, 1);
});

// --- virtual keys ---

onBoth('a virtual key is made with its budget, changed, rotated and revoked; its text is shown once', async (t, options) => {
  const { catalyst, ada } = await start(t, options);
  const project = await ada.must(201, ada.post('/api/projects', { name: 'Engine' }));
  const made = await ada.post(KEYS, {
    name: 'agent',
    project_id: project.id,
    user_id: ada.user.id,
    allowed_models: ['gpt-5*'],
    allowed_providers: ['main'],
    limits: { parallel_calls: 3 },
    budget_usd: '5',
    budget_period: 'weekly',
  });
  assert.equal(made.status, 201, made.text);
  const { key, ...shown } = made.json;
  assert.match(key, /^cvk_\w{8}_\w{32}_\w{6}$/);
  assert.equal(shown.prefix, key.slice(0, 12));
  assert.deepEqual(shown.limits, { requests_per_minute: null, tokens_per_minute: null, parallel_calls: 3 });
  assert.deepEqual(
    [shown.project_id, shown.user_id, shown.allowed_models, shown.allowed_providers, shown.origin, shown.created_by],
    [project.id, ada.user.id, ['gpt-5*'], ['main'], 'database', ada.user.id],
  );
  assert.deepEqual(
    [shown.budget.scope, shown.budget.scope_id, shown.budget.scope_name, shown.budget.period, shown.budget.limit_usd, shown.budget.is_hard],
    ['key', shown.id, 'agent', 'weekly', '5.000000000', true],
  );
  const at = `${KEYS}/${shown.id}`;
  const read = await ada.must(200, ada.get(at));
  assert.equal('key' in read, false);
  assert.deepEqual(read, shown);
  assert.deepEqual((await ada.must(200, ada.get(KEYS))).items, [read]);
  assert.equal((await ada.must(200, ada.get(BUDGETS))).items[0].id, shown.budget.id);

  const changed = await ada.must(200, ada.patch(at, { limits: { requests_per_minute: 60 }, allowed_models: [], project_id: null }));
  assert.deepEqual(changed.limits, { requests_per_minute: 60, tokens_per_minute: null, parallel_calls: 3 });
  assert.deepEqual([changed.allowed_models, changed.project_id, changed.version], [[], null, 2]);
  assert.equal((await ada.must(200, ada.patch(at, { is_enabled: true }))).version, 2);

  const rotated = await ada.must(201, ada.post(`${at}/rotate`, { overlap_hours: 2 }));
  assert.notEqual(rotated.key, key);
  assert.deepEqual([rotated.id, rotated.prefix, rotated.version], [shown.id, rotated.key.slice(0, 12), 3]);
  assert.ok(Math.abs(Date.parse(rotated.rotated_until) - Date.now() - 7_200_000) < 60_000);

  assert.equal((await ada.delete(at)).status, 204);
  assert.equal((await ada.get(at)).status, 404);
  assert.deepEqual((await ada.must(200, ada.get(BUDGETS))).items, []);
  const types = (await sealedLog(catalyst)).map((x) => x.event.type).filter((x) => /^(gateway_key|budget)\./.test(x));
  assert.deepEqual(types, [
    'gateway_key.created',
    'budget.created',
    'gateway_key.updated',
    'gateway_key.rotated',
    'gateway_key.deleted',
    'budget.deleted',
  ]);
  const log = JSON.stringify((await sealedLog(catalyst)).map((x) => x.event)) + catalyst.stderr;
  for (const secret of [key, rotated.key]) assert.ok(!log.includes(secret.slice(13, 45)));
});

test('what is wrong with a virtual key is told at once', { skip }, async (t) => {
  const { ada } = await start(t);
  const other = ada.with({ workspace: (await ada.must(201, ada.post('/api/workspaces', { name: 'Second' }))).id });
  const foreign = await other.must(201, other.post('/api/projects', { name: 'Theirs' }));
  const bea = await newMember(other, 'viewer', { name: 'Bea' });
  const wrong = await ada.post(KEYS, { name: '', allowed_models: 'x', limits: { parallel_calls: -1 }, budget_usd: '-1', key: 'cvk_mine' });
  assert.deepEqual(codes(wrong), [
    ['allowed_models', 'wrong_type'],
    ['budget_usd', 'out_of_range'],
    ['key', 'unknown_field'],
    ['limits.parallel_calls', 'out_of_range'],
    ['name', 'too_short'],
  ]);
  assert.deepEqual(
    codes(await ada.post(KEYS, { name: 'x', allowed_models: ['a b'], expires_at: '2020-01-01T00:00:00Z' })),
    [['allowed_models', 'bad_format'], ['expires_at', 'out_of_range']],
  );
  const ids = await ada.post(KEYS, { name: 'x', project_id: foreign.id, user_id: bea.user.id, expires_at: '2020-01-01T00:00:00Z' });
  assert.equal(ids.status, 400);
  assert.deepEqual(codes(ids), [['expires_at', 'out_of_range'], ['project_id', 'not_found'], ['user_id', 'not_found']]);
  const made = await ada.must(201, ada.post(KEYS, { name: 'x' }));
  assert.deepEqual(codes(await ada.post(KEYS, { name: 'x' })), [['name', 'duplicate']]);
  assert.deepEqual(codes(await ada.patch(`${KEYS}/${made.id}`, { project_id: foreign.id })), [['project_id', 'not_found']]);
  assert.deepEqual(codes(await ada.post(`${KEYS}/${made.id}/rotate`, { overlap_hours: 169 })), [['overlap_hours', 'out_of_range']]);
  assert.equal((await other.get(`${KEYS}/${made.id}`)).status, 404);
  assert.equal((await other.post(KEYS, { name: 'x' })).status, 201);
});

test('an API key with the scope makes virtual keys, within its projects, and no API keys', { skip }, async (t) => {
  const { ada } = await start(t);
  const [one, two] = await Promise.all(['One', 'Two'].map((name) => ada.must(201, ada.post('/api/projects', { name }))));
  const scopes = ['gateway.keys', 'budgets.manage', 'optimizer.read'];
  const wide = new Caller(ada.origin, { key: (await ada.must(201, ada.post('/api/keys', { name: 'wide', scopes }))).key });
  const narrow = new Caller(ada.origin, {
    key: (await ada.must(201, ada.post('/api/keys', { name: 'narrow', scopes, project_ids: [one.id] }))).key,
  });
  const free = await wide.must(201, wide.post(KEYS, { name: 'free' }));
  const theirs = await wide.must(201, wide.post(KEYS, { name: 'theirs', project_id: two.id, budget_usd: '1' }));
  assert.equal((await wide.post('/api/keys', { name: 'more', scopes: ['gateway.keys'] })).status, 403);
  assert.deepEqual(codes(await narrow.post(KEYS, { name: 'n' })), [['project_id', 'required']]);
  assert.deepEqual(codes(await narrow.post(KEYS, { name: 'n', project_id: two.id })), [['project_id', 'not_found']]);
  const own = await narrow.must(201, narrow.post(KEYS, { name: 'n', project_id: one.id, budget_usd: '1' }));
  assert.deepEqual((await narrow.must(200, narrow.get(KEYS))).items.map((k) => k.name), ['n']);
  assert.deepEqual((await narrow.must(200, narrow.get(BUDGETS))).items.map((b) => b.scope_id), [own.id]);
  assert.equal((await narrow.get(`${KEYS}/${theirs.id}`)).status, 404);
  assert.equal((await narrow.get(`${BUDGETS}/${theirs.budget.id}`)).status, 404);
  assert.equal((await narrow.post(BUDGETS, { scope: 'workspace', limit_usd: '1' })).status, 403);
  assert.deepEqual(codes(await narrow.post(BUDGETS, { scope: 'key', scope_id: theirs.id, limit_usd: '1' })), [['scope_id', 'not_found']]);
  assert.equal((await narrow.post(BUDGETS, { scope: 'project', scope_id: one.id, limit_usd: '1' })).status, 201);
  assert.ok(free.id);
});

test('the replay of a key that was made does not show it', { skip }, async (t) => {
  const { ada } = await start(t);
  const once = { 'idempotency-key': 'k' };
  const first = await ada.must(201, ada.post(KEYS, { name: 'x', budget_usd: '2' }, once));
  const again = await ada.post(KEYS, { name: 'x', budget_usd: '2' }, once);
  assert.equal(again.status, 201, again.text);
  assert.deepEqual([again.json.id, 'key' in again.json, again.json.budget.limit_usd], [first.id, false, '2.000000000']);
  assert.equal((await ada.must(200, ada.get(BUDGETS))).items.length, 1);
});

test('keys of the configuration file are listed read only, with their budgets', { skip }, async (t) => {
  const text = makeKey();
  const { ada } = await start(t, { config: { keys: [{ name: 'filed', key: text, budget_usd: '3', budget_period: 'daily' }] } });
  const made = await ada.must(201, ada.post(KEYS, { name: 'made' }));
  const answer = await ada.get(KEYS);
  assert.ok(!answer.text.includes(text));
  const [filed, second] = answer.json.items;
  assert.deepEqual([filed.name, filed.origin, filed.budget.limit_usd, filed.budget.period, second.id], ['filed', 'file', '3.000000000', 'daily', made.id]);
  for (const refused of [
    await ada.patch(`${KEYS}/${filed.id}`, { is_enabled: false }),
    await ada.delete(`${KEYS}/${filed.id}`),
    await ada.post(`${KEYS}/${filed.id}/rotate`, {}),
    await ada.delete(`${BUDGETS}/${filed.budget.id}`),
  ])
    assert.equal(refused.status, 409, refused.text);
  assert.deepEqual((await ada.must(200, ada.get(BUDGETS))).items.map((b) => [b.scope, b.scope_name, b.origin]), [['key', 'filed', 'file']]);
  assert.deepEqual((await ada.must(200, ada.get(`${BUDGETS}/${filed.budget.id}`))).id, filed.budget.id);
});

// --- budgets and limits ---

onBoth('a budget is made on each scope, changed and removed', async (t, options) => {
  const { catalyst, ada } = await start(t, options);
  const project = await ada.must(201, ada.post('/api/projects', { name: 'Engine' }));
  const key = await ada.must(201, ada.post(KEYS, { name: 'agent' }));
  const made = [];
  for (const [scope, scope_id, scope_name] of [
    ['workspace', undefined, 'First'],
    ['project', project.id, 'Engine'],
    ['user', ada.user.id, 'Ada'],
    ['key', key.id, 'agent'],
  ]) {
    const answer = await ada.post(BUDGETS, { scope, scope_id, limit_usd: '12.5', period: 'daily', alerts_at: [100, 50, 50] });
    assert.equal(answer.status, 201, answer.text);
    const b = answer.json;
    assert.deepEqual(
      [b.scope, b.scope_id, b.scope_name, b.period, b.limit_nanousd, b.is_hard, b.alerts_at, b.unknown_price_cap_usd],
      [scope, scope_id ?? ada.workspace, scope_name, 'daily', 12_500_000_000, true, [50, 100], null],
    );
    assert.deepEqual([b.spent_nanousd, b.reserved_nanousd, b.left_usd], [0, 0, '12.500000000']);
    const day = new Date().toISOString().slice(0, 10);
    assert.ok(b.period_start.startsWith(day) && Date.parse(b.resets_at) - Date.parse(b.period_start) === 86_400_000);
    made.push(b);
  }
  assert.deepEqual((await ada.must(200, ada.get(BUDGETS))).items.map((b) => b.id), made.map((b) => b.id));
  assert.deepEqual((await ada.must(200, ada.get(`${BUDGETS}?scope=user`))).items.map((b) => b.id), [made[2].id]);
  const at = `${BUDGETS}/${made[0].id}`;
  const changed = await ada.must(200, ada.patch(at, { period: 'total', limit_nanousd: 1, is_hard: false, unknown_price_cap_usd: '10', alerts_at: [] }, { 'if-match': '"1"' }));
  assert.deepEqual(
    [changed.period, changed.limit_usd, changed.is_hard, changed.unknown_price_cap_usd, changed.alerts_at, changed.period_start, changed.resets_at],
    ['total', '0.000000001', false, '10.000000000', [], null, null],
  );
  assert.deepEqual(await ada.must(200, ada.get(at)), changed);
  assert.equal((await ada.patch(at, { limit_usd: '1' }, { 'if-match': '"1"' })).status, 412);
  assert.equal((await ada.delete(at)).status, 204);
  assert.equal((await ada.get(at)).status, 404);
  const [update] = await eventsOf(catalyst, 'budget.updated');
  assert.deepEqual(Object.keys(update.after).sort(), Object.keys(update.before).sort());
  assert.equal(update.after.period, 'total');
});

test('what is wrong with a budget is told at once', { skip }, async (t) => {
  const { ada } = await start(t);
  assert.deepEqual(codes(await ada.post(BUDGETS, { scope: 'planet', limit_usd: 'much', period: 'hourly', spent_usd: '1' })), [
    ['limit_usd', 'bad_format'],
    ['period', 'not_one_of'],
    ['scope', 'not_one_of'],
    ['spent_usd', 'read_only'],
  ]);
  for (const alerts_at of [50, [0], [201], ['50'], [1.5], Array.from({ length: 9 }, (_, i) => i + 1)])
    assert.deepEqual(codes(await ada.post(BUDGETS, { scope: 'workspace', limit_usd: '1', alerts_at })), [['alerts_at', 'bad_format']], JSON.stringify(alerts_at));
  for (const scope of ['project', 'user', 'key']) {
    assert.deepEqual(codes(await ada.post(BUDGETS, { scope, limit_usd: '1' })), [['scope_id', 'required']]);
    assert.deepEqual(codes(await ada.post(BUDGETS, { scope, scope_id: NOBODY, limit_usd: '1' })), [['scope_id', 'not_found']]);
    const both = await ada.post(BUDGETS, { scope, scope_id: NOBODY, limit_usd: '1', alerts_at: [0] });
    assert.deepEqual(codes(both), [['alerts_at', 'bad_format'], ['scope_id', 'not_found']]);
  }
  const made = await ada.must(201, ada.post(BUDGETS, { scope: 'workspace', limit_usd: '1' }));
  assert.deepEqual(codes(await ada.patch(`${BUDGETS}/${made.id}`, { scope: 'user' })), [['scope', 'unknown_field']]);
});

onBoth("a project's budget and limits are set by its id", async (t, options) => {
  const { ada } = await start(t, options);
  const project = await ada.must(201, ada.post('/api/projects', { name: 'Engine' }));
  const at = `/api/optimizer/budget/${project.id}`;
  const first = await ada.post(at, { limit_usd: '10' });
  assert.deepEqual([first.status, first.json.period, first.json.scope_id], [201, 'monthly', project.id]);
  const again = await ada.post(at, { limit_usd: '20', is_hard: false });
  assert.deepEqual([again.status, again.json.id, again.json.limit_usd], [200, first.json.id, '20.000000000']);
  assert.equal((await ada.post(at, { limit_usd: '1', period: 'daily' })).status, 201);
  assert.deepEqual((await ada.must(200, ada.get(at))).items.map((b) => b.period), ['monthly', 'daily']);
  const limits = `/api/gateway/limits/${project.id}`;
  const none = await ada.get(limits);
  assert.deepEqual([none.json.requests_per_minute, none.headers.get('etag')], [null, '"0"']);
  const set = await ada.put(limits, { requests_per_minute: 30 }, { 'if-match': '"0"' });
  assert.deepEqual([set.status, set.json.requests_per_minute, set.headers.get('etag')], [200, 30, '"1"']);
  assert.equal((await ada.put(limits, { requests_per_minute: 31 }, { 'if-match': '"0"' })).status, 412);
  assert.equal((await ada.put(limits, { requests_per_minute: 30 })).headers.get('etag'), '"1"');
  assert.equal((await ada.must(200, ada.put(limits, { tokens_per_minute: 1 }))).requests_per_minute, null);
  assert.deepEqual(codes(await ada.put(limits, { parallel_calls: 0 })), [['parallel_calls', 'out_of_range']]);
  assert.deepEqual(codes(await ada.post(at, { limit_usd: '1', alerts_at: 5 })), [['alerts_at', 'bad_format']]);
  for (const path of [`/api/optimizer/budget/${NOBODY}`, `/api/gateway/limits/${NOBODY}`]) assert.equal((await ada.get(path)).status, 404);
});

onBoth('the log alone tells what everything of the gateway is', async (t, options) => {
  const { catalyst, ada } = await start(t, options);
  const other = ada.with({ workspace: (await ada.must(201, ada.post('/api/workspaces', { name: 'Second' }))).id });
  for (const who of [ada, other]) {
    const project = await who.must(201, who.post('/api/projects', { name: 'Engine' }));
    const provider = await who.must(201, who.post(PROVIDERS, { name: 'main', kind: 'openai', api_key: 'sk-0123456789ab', prices: { m: { input: '1', output: '2' } } }));
    await who.must(200, who.patch(`${PROVIDERS}/${provider.id}`, { kind: 'anthropic', api_key: 'sk-9876543210zy', models: ['claude-*', 'm'] }));
    await who.must(200, who.patch(`${PROVIDERS}/${provider.id}`, { api_key: 'sk-anotherone-zy', is_enabled: false }));
    const gone = await who.must(201, who.post(PROVIDERS, { name: 'gone', kind: 'ollama' }));
    await who.must(204, who.delete(`${PROVIDERS}/${gone.id}`));
    for (const model of ['a', 'b']) await who.must(200, who.put('/api/gateway/aliases/x', { model }));
    await who.must(200, who.put('/api/gateway/aliases/y', { model: 'c' }));
    await who.must(204, who.delete('/api/gateway/aliases/y'));
    const key = await who.must(201, who.post(KEYS, { name: 'agent', budget_usd: '2', allowed_models: ['m'], limits: { parallel_calls: 2 } }));
    await who.must(200, who.patch(`${KEYS}/${key.id}`, { project_id: project.id, limits: { parallel_calls: null }, expires_at: '2099-01-01T00:00:00Z' }));
    await who.must(201, who.post(`${KEYS}/${key.id}/rotate`, { overlap_hours: 1 }));
    const revoked = await who.must(201, who.post(KEYS, { name: 'revoked', budget_usd: '2' }));
    await who.must(201, who.post(BUDGETS, { scope: 'key', scope_id: revoked.id, period: 'daily', limit_usd: '1' }));
    await who.must(204, who.delete(`${KEYS}/${revoked.id}`));
    await who.must(200, who.patch(`${BUDGETS}/${key.budget.id}`, { limit_usd: '3', alerts_at: [10, 20], unknown_price_cap_usd: '1' }));
    await who.must(201, who.post(`/api/optimizer/budget/${project.id}`, { limit_usd: '4' }));
    await who.must(200, who.post(`/api/optimizer/budget/${project.id}`, { limit_usd: '5' }));
    for (const n of [5, 6]) await who.must(200, who.put(`/api/gateway/limits/${project.id}`, { requests_per_minute: n }));
    who.project = project.id;
  }
  const state = rebuild(await sealedLog(catalyst));
  for (const who of [ada, other]) {
    const all = async (path) => (await who.must(200, who.get(path))).items;
    for (const one of await all(PROVIDERS)) mustAgree(one, state.provider[one.id], ['updated_at']);
    for (const one of await all(KEYS)) mustAgree(one, state.gateway_key[one.id], ['updated_at', 'last_used_at', 'budget']);
    const ticking = ['updated_at', 'scope_name', 'spent_usd', 'spent_nanousd', 'reserved_usd', 'reserved_nanousd', 'left_usd', 'left_nanousd', 'leased_usd', 'leased_nanousd', 'period_start', 'resets_at'];
    for (const one of await all(BUDGETS))
      mustAgree(one, { ...state.budget[one.id], limit_usd: one.limit_usd, unknown_price_cap_usd: one.unknown_price_cap_usd }, ticking);
    mustAgree(await who.must(200, who.get(`/api/gateway/limits/${who.project}`)), state.limit[who.project]);
  }
  assert.deepEqual(
    ['provider', 'alias', 'gateway_key', 'budget', 'limit'].map((type) => Object.keys(state[type]).length),
    [2, 2, 2, 4, 2],
  );
  for (const alias of Object.values(state.alias)) assert.deepEqual([alias.name, alias.model], ['x', 'b']);
});
