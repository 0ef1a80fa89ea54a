// Secrets that cannot be mistaken are planted through every way in: passwords, cookies, links, keys of all kinds, the
// master key. Then everything is exercised, errors too, and no answer, no frame, no line of the log, no metric, no
// output of a command and no file of the data folder may hold one of them, but for the one answer that shows it once
// and the one place that is made to keep it.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { promisify } from 'node:util';
import { Caller, QUICK_PASSWORDS, newMember } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst, startProvider } from '../lib/catalyst.mjs';
import { withTypo } from '../lib/keys.mjs';
import { NO_POSTGRES, startPostgres } from '../lib/postgres.mjs';
import { readLog } from '../lib/rebuild.mjs';
import { openStream } from '../lib/stream.mjs';
import { until } from '../lib/wait.mjs';

const draw = () => randomBytes(12).toString('hex');

/** Every answer that any caller got: {what, text}. */
const answers = [];
const call = Caller.prototype.call;
Caller.prototype.call = async function recorded(method, url, ...rest) {
  const answer = await call.call(this, method, url, ...rest);
  const fields = [...answer.headers].map(([n, v]) => `${n}: ${v}`).join('\n');
  answers.push({ what: `${method} ${url.replaceAll(/[0-9a-f-]{36}|[0-9a-f]{64}/g, '…')} ${answer.status}`, text: `${fields}\n\n${answer.text}`, answer });
  return answer;
};

/** A secret as it may lie in bytes. */
function formsOf(secret) {
  const bytes = Buffer.from(secret);
  const forms = [secret, bytes.toString('hex'), bytes.toString('base64url').slice(0, -2), bytes.toString('base64').replace(/=+$/, '').slice(0, -2)];
  // What is secret of a key of ours is its middle; its beginning is what people know it by.
  const key = /^c(?:vk|at)_\w{8}_(\w{32})_\w{6}$/.exec(secret);
  if (key) forms.push(key[1]);
  if (/^[0-9a-f]{64}$/.test(secret)) forms.push(Buffer.from(secret, 'hex').toString('latin1'));
  return forms;
}

class Planted {
  constructor() {
    this.secrets = new Map(); // text -> {name, shownIn: Set of answers}
  }
  /** One that is allowed in the answer that shows it once. */
  add(name, secret, shownIn) {
    assert.ok(typeof secret === 'string' && secret.length >= 15, `${name}: ${secret}`);
    this.secrets.set(secret, { name, shownIn: shownIn ?? null });
    return secret;
  }
  /** Names of those that the text holds. */
  in(text, answer) {
    const found = [];
    for (const [secret, { name, shownIn }] of this.secrets)
      if (!(answer && answer === shownIn) && formsOf(secret).some((form) => text.includes(form))) found.push(name);
    return found;
  }
}

function filesOf(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name));
}

const cookieOf = (caller) => Object.values(caller.cookies)[0];

/** Everything that can be done with secrets, right and wrong. */
async function exercise(t, catalyst, planted, double) {
  const { origin } = catalyst;
  const password = planted.add('password of the owner', `owner ${draw()}`);
  const email = 'ada@example.com';

  // The first start, by the link that standard output alone shows.
  const link = await until('the link of the first start', () => /#?([0-9a-f]{64})\b/.exec(catalyst.stdout)?.[1]);
  planted.add('token of the first start', link);
  const ada = new Caller(origin);
  const wrongSetup = { token: 'f'.repeat(64), email, name: 'Ada', password, workspace_name: 'First' };
  assert.equal((await ada.post('/api/setup', wrongSetup)).status, 403);
  assert.equal((await ada.post('/api/setup', { ...wrongSetup, token: link, email: 'none' })).status, 400);
  const set = await ada.post('/api/setup', { ...wrongSetup, token: link });
  assert.equal(set.status, 201, set.text);
  Object.assign(ada, { csrf: set.json.csrf_token, workspace: set.json.workspace.id, user: set.json.user });
  planted.add('cookie of the owner', cookieOf(ada), set);
  assert.equal((await ada.post('/api/setup', { ...wrongSetup, token: link })).status, 404);

  // Signing in: wrong, right, and with another password from then on.
  const stranger = new Caller(origin);
  const guess = planted.add('password that was tried', `guess ${draw()}`);
  assert.equal((await stranger.post('/api/auth/login', { email, password: guess })).status, 401);
  assert.equal((await stranger.post('/api/auth/login', { email, password: [guess] })).status, 400);
  assert.equal((await stranger.post('/api/auth/login', `{"email":"${email}","password":"${guess}"`)).status, 400);
  const second = new Caller(origin, { workspace: ada.workspace });
  const signedIn = await second.post('/api/auth/login', { email, password });
  second.csrf = signedIn.json.csrf_token;
  planted.add('cookie of a second session', cookieOf(second), signedIn);
  const next = planted.add('new password', `next ${draw()}`);
  const short = planted.add('password that is refused', `${draw()}`.slice(0, 15));
  assert.equal((await ada.post('/api/auth/password', { current_password: guess, new_password: next })).status, 401);
  const refused = await ada.post('/api/auth/password', { current_password: password, new_password: short.slice(0, 14) });
  assert.equal(refused.status, 400);
  assert.ok(!refused.text.includes(short.slice(0, 14)));
  assert.equal((await ada.post('/api/auth/password', { current_password: password, new_password: next })).status, 204);
  assert.equal((await second.get('/api/auth/me')).status, 401);
  assert.equal((await ada.post('/api/auth/reauthenticate', { password: next })).status, 204);
  assert.equal((await ada.with({ csrf: 'wrong' }).post('/api/auth/logout')).status, 403);
  assert.equal((await new Caller(origin).with({ cookies: { cat_session: planted.add('cookie that is none', draw() + draw()) } }).get('/api/auth/me')).status, 401);

  // Invitations: a link that is used, one that is not.
  for (const isUsed of [true, false]) {
    const invited = await ada.post(`/api/workspaces/${ada.workspace}/invite`, { email: `bea${isUsed}@example.com`, role: 'developer' });
    assert.equal(invited.status, 201, invited.text);
    const token = planted.add('token of an invitation', invited.json.link.slice(invited.json.link.indexOf('#') + 1), invited);
    await stranger.get(`/api/invitations/${token}`);
    if (!isUsed) continue;
    const theirs = planted.add('password of a member', `member ${draw()}`);
    const guest = new Caller(origin);
    assert.equal((await guest.post(`/api/invitations/${token}/accept`, { name: '', password: theirs })).status, 400);
    const joined = await guest.post(`/api/invitations/${token}/accept`, { name: 'Bea', password: theirs });
    assert.equal(joined.status, 200, joined.text);
    planted.add('cookie of a member', cookieOf(guest), joined);
    assert.equal((await stranger.post(`/api/invitations/${token}/accept`, { name: 'Eve', password: theirs })).status, 404);
  }
  const viewer = await newMember(ada, 'viewer', { password: planted.add('password of a viewer', `viewer ${draw()}`) });

  const stream = await openStream(t, ada);

  // API keys: made, rotated, revoked; replayed, mistyped, in the wrong place.
  const once = { 'idempotency-key': draw() };
  const wanted = { name: 'program', scopes: ['llm.providers', 'gateway.keys', 'optimizer.read', 'projects.read', 'analytics.view'] };
  const made = await ada.post('/api/keys', wanted, once);
  assert.equal(made.status, 201, made.text);
  const apiKey = planted.add('API key', made.json.key, made);
  assert.equal((await ada.post('/api/keys', wanted, once)).status, 201);
  const rotated = await ada.post(`/api/keys/${made.json.id}/rotate`, { overlap_hours: 1 });
  const program = new Caller(origin, { key: planted.add('rotated API key', rotated.json.key, rotated) });
  assert.equal((await program.get('/api/projects')).status, 200);
  for (const key of [withTypo(apiKey), `${apiKey}x`, planted.add('key of nobody', `cat_${draw()}`)]) {
    assert.equal((await new Caller(origin, { key }).get('/api/projects')).status, 401);
    assert.equal((await fetch(`${origin}/v1/models`, { headers: { authorization: `Bearer ${key}` } }).then((r) => r.text())).includes(key), false);
  }

  // Providers.
  const providerKey = planted.add('key of a provider', `sk-planted-${draw()}`);
  double.key = providerKey;
  const providers = '/api/gateway/providers';
  const provider = await ada.post(providers, { name: 'main', kind: 'openai', base_url: double.openaiUrl, api_key: providerKey });
  assert.equal(provider.status, 201, provider.text);
  assert.equal((await ada.post(providers, { name: 'main', kind: 'openai', api_key: providerKey })).status, 409);
  for (const wrong of [
    { name: 'x', kind: 'none', api_key: providerKey },
    { name: 'x', kind: 'openai', api_key: `${providerKey} and more` },
    { name: 'x', kind: 'openai', api_key: [providerKey] },
    { name: 'x', kind: 'openai', api_key: providerKey.repeat(200) },
    { name: 'x', kind: 'openai', base_url: `https://user:${providerKey}@example.com/v1` },
  ])
    assert.equal((await ada.post(providers, wrong)).status, 400, JSON.stringify(wrong));
  assert.equal((await ada.patch(`${providers}/${provider.json.id}`, { api_key: providerKey, name: 'main' })).status, 200);
  const unused = planted.add('key of a provider that refuses it', `sk-other-${draw()}`);
  const other = await ada.must(201, ada.post(providers, { name: 'other', kind: 'openai', base_url: double.openaiUrl, api_key: unused, is_enabled: false }));
  const dead = await ada.must(201, ada.post(providers, { name: 'dead', kind: 'compatible', base_url: 'http://127.0.0.1:1/v1', api_key: unused, is_enabled: false }));
  // This one repeats what it was sent, as some do.
  double.act = (x) => (x.header('authorization') === `Bearer ${unused}` ? { raw: echo(unused) } : undefined);
  for (const id of [provider.json.id, other.id, dead.id]) await ada.must(200, ada.post(`${providers}/${id}/test`));
  double.key = null;
  await ada.must(200, ada.post(`${providers}/${other.id}/test`));
  double.act = undefined;
  double.key = providerKey;
  assert.equal((await viewer.get(`${providers}/${provider.json.id}`)).status, 403);
  assert.equal((await ada.delete(`${providers}/${dead.id}`)).status, 204);

  // Virtual keys, and calls with them.
  const keys = '/api/gateway/keys';
  const agent = await program.post(keys, { name: 'agent', budget_usd: '1' }, { 'idempotency-key': draw() });
  assert.equal(agent.status, 201, agent.text);
  const cvk = planted.add('virtual key', agent.json.key, agent);
  const turned = await program.post(`${keys}/${agent.json.id}/rotate`, { overlap_hours: 1 });
  const fresh = planted.add('rotated virtual key', turned.json.key, turned);
  const revoked = await program.post(keys, { name: 'gone' });
  const gone = planted.add('revoked virtual key', revoked.json.key, revoked);
  assert.equal((await program.delete(`${keys}/${revoked.json.id}`)).status, 204);
  const speak = async (key, body, more = {}) => {
    const r = await fetch(`${origin}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...more },
      body: JSON.stringify(body),
    });
    const fields = [...r.headers].map(([n, v]) => `${n}: ${v}`).join('\n');
    answers.push({ what: `POST /v1/chat/completions ${r.status}`, text: `${fields}\n\n${await r.text()}` });
    return r.status;
  };
  const message = { model: 'gpt-4o-mini', max_tokens: 50, messages: [{ role: 'user', content: 'hello' }] };
  for (const key of [cvk, fresh]) assert.equal(await speak(key, message), 200);
  assert.equal(await speak(fresh, { ...message, stream: true }), 200);
  assert.equal(await speak(fresh, { ...message, model: 'nobody-has-this' }), 402);
  assert.equal(await speak(fresh, { ...message, max_tokens: 10_000_000 }, { 'x-catalyst-project': 'p' }), 200);
  for (const key of [gone, withTypo(cvk), apiKey]) assert.equal(await speak(key, message), 401);
  double.next({ fault: '500' }, { fault: '401' }, { fault: 'reset' });
  for (let i = 0; i < 3; i++) await speak(fresh, message);

  // Reading everything there is to read.
  for (const caller of [ada, program, viewer, stranger])
    for (const url of [
      '/api/auth/me', '/api/auth/sessions', '/api/users', '/api/workspaces', `/api/workspaces/${ada.workspace}/members`,
      `/api/workspaces/${ada.workspace}/invitations`, '/api/keys', '/api/projects', '/api/jobs', '/api/notifications', '/api/settings',
      '/api/flags', '/api/permissions', '/api/gateway/kinds', providers, `${providers}/${provider.json.id}`, '/api/gateway/models',
      '/api/gateway/aliases', keys, `${keys}/${agent.json.id}`, '/api/gateway/budgets', '/api/gateway/requests', '/api/gateway/usage?by=key',
      '/api/openapi.json', '/api/nowhere', '/v1/models', '/metrics', '/healthz', '/readyz', '/',
    ])
      await caller.get(url);

  // The workspace as a whole, for its owner.
  const { job } = await ada.must(202, ada.post(`/api/workspaces/${ada.workspace}/export`, {}));
  await until('the export to end', async () => (await ada.get(`/api/jobs/${job.id}`)).json.state === 'succeeded', { deadline_ms: 20_000 });
  for (let part = 1; (await ada.get(`/api/workspaces/${ada.workspace}/exports/${job.id}/${part}`)).status === 200; part++);

  answers.push({ what: 'the stream of events', text: JSON.stringify(stream.frames) });
  stream.cut();
  assert.ok(stream.log.length > 10);
}

const echo = (key) => {
  const body = JSON.stringify({ error: { message: `the key ${key} is not known here` } });
  return `HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
};

async function commands(catalyst, planted, env) {
  const backup = path.join(catalyst.dataDir, 'backup-of-the-test');
  for (const args of [['config', 'show'], ['config', 'show', '--origin'], ['doctor'], ['requests'], ['usage'], ['backup', backup], ['migrate', 'status']]) {
    const { stdout, stderr } = await catalyst.run(args, { env });
    answers.push({ what: `catalyst ${args.join(' ')}`, text: `${stdout}\n${stderr}` });
  }
}

async function everything(t, database) {
  answers.length = 0;
  const planted = new Planted();
  const master = planted.add('master key', randomBytes(32).toString('hex'));
  const env = { CATALYST_SECURITY__MASTER_KEY: master, ...(database ? { CATALYST_DATABASE__URL: database } : {}) };
  const double = await startProvider(t, { key: null });
  const catalyst = await startCatalyst(t, { config: { loops: 2, identity: QUICK_PASSWORDS, log: { level: 'debug' } }, env });
  catalyst.databaseUrl = database;
  await exercise(t, catalyst, planted, double);
  await commands(catalyst, planted, env);
  const log = await readLog(catalyst);
  await catalyst.stop();

  const wrong = [];
  for (const { what, text, answer } of answers) for (const name of planted.in(text, answer)) wrong.push(`${what} shows: ${name}`);
  for (const { number, bytes } of log) for (const name of planted.in(bytes.toString('latin1'))) wrong.push(`event ${number} holds: ${name}`);
  for (const name of planted.in(catalyst.stderr)) wrong.push(`the log holds: ${name}`);
  for (const name of planted.in(catalyst.stdout)) if (name !== 'token of the first start') wrong.push(`standard output holds: ${name}`);
  const files = filesOf(catalyst.dataDir);
  for (const file of files)
    for (const name of planted.in(readFileSync(file, 'latin1'))) wrong.push(`${path.relative(catalyst.dataDir, file)} holds: ${name}`);
  if (database) {
    const { stdout } = await promisify(execFile)('pg_dump', ['--data-only', database], { maxBuffer: 256 << 20 });
    for (const name of planted.in(stdout)) wrong.push(`the database holds: ${name}`);
  }
  assert.deepEqual(wrong, []);
  assert.ok(planted.secrets.size >= 20 && files.length >= 3 && log.length > 20);
  // The search itself finds what is there.
  for (const secret of planted.secrets.keys()) assert.ok(planted.in(`x${secret}x`).length);
  t.diagnostic(`${planted.secrets.size} secrets in ${answers.length} answers, ${log.length} events, ${files.length} files`);
}

test('no planted secret is found anywhere, on SQLite', { skip: NO_BINARY }, (t) => everything(t));
test('no planted secret is found anywhere, on PostgreSQL', { skip: NO_BINARY || NO_POSTGRES }, async (t) =>
  everything(t, await (await startPostgres(t)).database()),
);
