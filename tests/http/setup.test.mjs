// The first start: the link, the page's request, the command beside a server and without one, once.

import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Caller, PASSWORD, QUICK_PASSWORDS, setUp } from '../lib/api.mjs';
import { NO_BINARY, runCatalyst, startCatalyst, temporaryFolder } from '../lib/catalyst.mjs';
import { until } from '../lib/wait.mjs';

const skip = NO_BINARY;
const config = { identity: QUICK_PASSWORDS };
const body = { email: 'ada@example.com', name: 'Ada Byron', password: PASSWORD, workspace_name: 'Engines' };

/** The token of the link that the server has printed. */
const printedToken = (catalyst) =>
  until('the link of the first start', () => /\/setup#([0-9a-f]{64})\n/.exec(catalyst.stdout)?.[1]);

test('the printed link makes the owner and the first workspace, once', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const token = await printedToken(catalyst);
  assert.match(catalyst.stdout, new RegExp(`http://127\\.0\\.0\\.1:${catalyst.port}/setup#`));
  const page = new Caller(catalyst.origin);
  assert.deepEqual((await page.get('/api/setup')).json, { is_needed: true });

  const wrong = await page.post('/api/setup', { ...body, token: '0'.repeat(64) });
  assert.equal(wrong.status, 403);

  const made = await page.post('/api/setup', { ...body, token });
  assert.equal(made.status, 201, made.text);
  assert.equal(made.json.user.email, 'ada@example.com');
  assert.equal(made.json.user.is_instance_admin, true);
  assert.equal(made.json.workspace.name, 'Engines');
  assert.equal(made.json.workspace.role, 'owner');
  assert.equal(made.headers.get('location'), `/api/workspaces/${made.json.workspace.id}`);
  const cookie = made.headers.getSetCookie().find((c) => c.startsWith('cat_session='));
  assert.match(cookie, /^cat_session=[0-9a-f]{64}; Path=\/; Max-Age=2592000; HttpOnly; SameSite=Lax$/);

  const me = await page.get('/api/auth/me');
  assert.equal(me.json.csrf_token, made.json.csrf_token);
  assert.deepEqual(
    me.json.workspaces.map((w) => [w.name, w.role]),
    [['Engines', 'owner']],
  );
  assert.equal(me.json.key, null);

  const stranger = new Caller(catalyst.origin);
  assert.deepEqual((await stranger.get('/api/setup')).json, { is_needed: false });
  assert.equal((await stranger.post('/api/setup', { ...body, token })).status, 404);
  assert.equal((await stranger.post('/api/setup', { ...body, token: 'x' })).status, 404);
});

test('every wrong field is told at once, and the link is still good afterwards', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const token = await printedToken(catalyst);
  const page = new Caller(catalyst.origin);
  const bad = await page.post('/api/setup', { token, email: 'nobody', name: '', password: 'x', extra: 1 });
  assert.equal(bad.status, 400);
  assert.deepEqual(bad.json.errors.map((e) => e.field).sort(), ['email', 'extra', 'name', 'workspace_name']);
  for (const [password, code] of [
    ['short', 'too_short'],
    ['ada byron engines 1', 'too_common'],
    ['passwordpassword', 'too_common'],
  ]) {
    const answer = await page.post('/api/setup', { ...body, token, password });
    assert.equal(answer.status, 400);
    assert.deepEqual(
      answer.json.errors.map((e) => [e.field, e.code]),
      [['password', code]],
    );
  }
  assert.equal((await page.post('/api/setup', { ...body, token })).status, 201);
});

test('a link ends with the next start, which prints another', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const first = await printedToken(catalyst);
  await catalyst.stop();
  catalyst.stdout = '';
  await catalyst.start().ready();
  const second = await printedToken(catalyst);
  assert.notEqual(first, second);
  const page = new Caller(catalyst.origin);
  assert.equal((await page.post('/api/setup', { ...body, token: first })).status, 403);
  assert.equal((await page.post('/api/setup', { ...body, token: second })).status, 201);
  await catalyst.stop();
  catalyst.stdout = '';
  await catalyst.start().ready();
  assert.equal(catalyst.stdout, '');
});

test('of many at the same moment one becomes the owner', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const token = await printedToken(catalyst);
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      new Caller(catalyst.origin).post('/api/setup', { ...body, token, email: `p${i}@example.com` }),
    ),
  );
  assert.deepEqual(answers.map((a) => a.status).sort(), [201, 404, 404, 404, 404, 404, 404, 404]);
});

test('another site cannot make a browser set Catalyst up', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  const token = await printedToken(catalyst);
  const page = new Caller(catalyst.origin);
  for (const headers of [{ 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }, { origin: 'https://evil.example' }, { origin: 'null' }])
    assert.equal((await page.post('/api/setup', { ...body, token }, headers)).status, 403);
  assert.equal((await page.post('/api/setup', { ...body, token }, { origin: `http://localhost:${catalyst.port}` })).status, 201);
});

test('catalyst setup works beside a running server, through its socket', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config });
  assert.equal(statSync(path.join(catalyst.dataDir, 'control.sock')).mode & 0o777, 0o600);
  const made = await setUp(catalyst);
  assert.match(made.api_key, /^cat_[0-9A-Za-z]{8}_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}$/);

  const program = new Caller(catalyst.origin, { key: made.api_key });
  const me = await program.get('/api/auth/me');
  assert.equal(me.status, 200, me.text);
  assert.equal(me.json.user.id, made.user_id);
  assert.equal(me.json.csrf_token, null);
  assert.equal(me.json.key.name, 'setup');
  assert.deepEqual(
    me.json.workspaces.map((w) => [w.id, w.role]),
    [[made.workspace_id, 'owner']],
  );
  const scopes = new Set(me.json.key.scopes);
  for (const name of ['projects.create', 'gateway.keys', 'llm.providers', 'budgets.manage', 'members.invite', 'settings.update'])
    assert.ok(scopes.has(name), name);
  for (const name of ['apikeys.own', 'apikeys.manage', 'roles.manage', 'members.update', 'sso.manage', 'billing.manage'])
    assert.ok(!scopes.has(name), name);

  const again = await catalyst.run(['setup', '--email', 'b@example.com', '--password-stdin'], { input: PASSWORD });
  assert.equal(again.code, 1);
  assert.match(again.stderr, /set up already/);
  await new Caller(catalyst.origin).signIn('ada@example.com');
});

test('catalyst setup works on a data folder without a server', { skip }, async (t) => {
  const dataDir = temporaryFolder(t);
  const run = (...args) =>
    runCatalyst(
      ['setup', '--data', dataDir, '--set', 'identity.argon2_memory=8KiB', '--set', 'identity.argon2_passes=1', '--password-stdin', ...args],
      { input: `${PASSWORD}\n` },
    );
  const weak = await runCatalyst(['setup', '--data', dataDir, '--email', 'a@example.com', '--password-stdin'], { input: 'too short' });
  assert.equal(weak.code, 1);
  assert.match(weak.stderr, /password: .*15 characters/);
  const bad = await run('--email', 'nobody');
  assert.equal(bad.code, 1);
  assert.match(bad.stderr, /email/);
  assert.equal((await run()).code, 2);
  const made = await run('--email', 'grace@example.com', '--json');
  assert.equal(made.code, 0, made.stderr);
  const { workspace_id, api_key } = JSON.parse(made.stdout);
  assert.equal((await run('--email', 'grace@example.com')).code, 1);

  const catalyst = await startCatalyst(t, { config, dataDir });
  assert.equal(catalyst.stdout, '');
  const person = await new Caller(catalyst.origin).signIn('grace@example.com');
  assert.equal(person.user.name, 'grace');
  const listed = await new Caller(catalyst.origin, { key: api_key }).get('/api/workspaces');
  assert.deepEqual(
    listed.json.items.map((w) => [w.id, w.name]),
    [[workspace_id, 'Default']],
  );
});

test('everything in the data folder is for its owner only', { skip }, async (t) => {
  const mask = process.umask(0);
  t.after(() => process.umask(mask));
  const catalyst = await startCatalyst(t, { config });
  await setUp(catalyst);
  const all = readdirSync(catalyst.dataDir, { recursive: true });
  assert.ok(all.includes('db/main.db') && all.includes('control.sock'));
  const open = all.filter((name) => statSync(path.join(catalyst.dataDir, name)).mode & 0o077);
  assert.deepEqual(open, []);
});
