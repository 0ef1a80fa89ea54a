// cluster_revoke.test.mjs - what is ended, revoked or changed at one node holds at the other within a second, running streams included.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { Caller, newMember } from '../lib/api.mjs';
import { bodyOf, call, startCall } from '../lib/call.mjs';
import { Catalyst, NO_BINARY, stopAtEnd, temporaryFolder } from '../lib/catalyst.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { scope } from '../lib/defer.mjs';
import { NO_POSTGRES } from '../lib/postgres.mjs';
import { openStream } from '../lib/stream.mjs';
import { bearer, letIn, refresh } from '../lib/token.mjs';
import { gate, until } from '../lib/wait.mjs';

const WITHIN = { deadline_ms: 1000 };

describe('at the other node', { skip: NO_BINARY || NO_POSTGRES }, () => {
  const suite = scope();
  let cluster, ada;
  before(async () => {
    cluster = await startCluster(suite);
    ada = cluster.ada;
  });
  after(() => suite.end());

  test('a session that was ended is refused, and its stream ends', async (t) => {
    const bob = await newMember(ada, 'viewer');
    const there = cluster.at(1, bob);
    const stream = await openStream(t, there);
    const [session] = (await there.must(200, there.get('/api/auth/sessions'))).items;
    await bob.must(204, bob.delete(`/api/auth/sessions/${session.id}`));
    assert.equal((await there.get('/api/auth/me')).status, 401);
    await stream.ended(WITHIN);
  });

  test('signing out and a new password end streams of the sessions that are gone', async (t) => {
    const bob = await newMember(ada, 'viewer', { name: 'Bob Twice' });
    const second = await new Caller(cluster.nodes[1].origin, { workspace: ada.workspace }).signIn('bob.twice@example.com');
    const stream = await openStream(t, second);
    const change = { current_password: 'hollow turnip engraves cobalt', new_password: 'sturdy lantern orbits marble' };
    await bob.must(204, bob.post('/api/auth/password', change));
    await stream.ended(WITHIN);
    assert.equal((await second.get('/api/auth/me')).status, 401);
    const mine = await openStream(t, cluster.at(1, bob));
    await bob.must(204, bob.post('/api/auth/logout'));
    await mine.ended(WITHIN);
  });

  test('a program that was signed out is refused, and its stream ends; its refresh token is good at either node until then', async (t) => {
    const bob = await newMember(ada, 'developer');
    const first = await letIn(bob);
    const there = (token) => bearer({ origin: cluster.nodes[1].origin }, token);
    assert.equal((await there(first.access_token).get('/api/auth/me')).status, 200);
    const tokens = (await refresh(cluster.nodes[1].origin, first.refresh_token)).json;
    assert.equal((await bearer(bob, tokens.access_token).get('/api/auth/me')).status, 200);
    const stream = await openStream(t, there(tokens.access_token));
    await bob.must(204, bob.delete(`/api/auth/sessions/${tokens.session_id}`));
    assert.equal((await bearer(bob, tokens.access_token).get('/api/auth/me')).status, 401);
    await stream.ended(WITHIN);
    await until('it is refused there too', async () => (await there(tokens.access_token).get('/api/auth/me')).status === 401, WITHIN);
    assert.equal((await refresh(cluster.nodes[1].origin, tokens.refresh_token)).json.error, 'invalid_grant');
    // The same when a stolen refresh token comes back at the other node.
    const second = await letIn(bob);
    const next = (await refresh(bob.origin, second.refresh_token)).json;
    const last = (await refresh(bob.origin, next.refresh_token)).json;
    const open = await openStream(t, there(last.access_token));
    assert.equal((await refresh(bob.origin, second.refresh_token)).status, 400);
    await open.ended(WITHIN);
  });

  test('an API key that was revoked, or whose old secret is not valid any more, is refused, and its stream ends', async (t) => {
    const make = () => ada.must(201, ada.post('/api/keys', { name: 'k', scopes: ['projects.read', 'chat.read'], expires_in_days: 3 }));
    const [revoked, rotated] = [await make(), await make()];
    const holder = (k) => new Caller(cluster.nodes[1].origin, { key: k.key });
    const streams = [await openStream(t, holder(revoked)), await openStream(t, holder(rotated))];
    await ada.must(204, ada.delete(`/api/keys/${revoked.id}`));
    await ada.must(201, ada.post(`/api/keys/${rotated.id}/rotate`, { overlap_hours: 0 }));
    for (const stream of streams) await stream.ended(WITHIN);
    for (const k of [revoked, rotated]) assert.equal((await holder(k).get('/api/projects')).status, 401);
  });

  test('another role and the end of a membership close streams', async (t) => {
    const bob = await newMember(ada, 'admin');
    const there = cluster.at(1, bob);
    const first = await openStream(t, there);
    const at = `/api/workspaces/${ada.workspace}/members/${bob.user.id}`;
    await ada.must(200, ada.put(at, { role: 'viewer' }));
    await first.ended(WITHIN);
    assert.equal((await there.get('/api/settings')).status, 403);
    const second = await openStream(t, there);
    await ada.must(204, ada.delete(at));
    await second.ended(WITHIN);
    assert.equal((await there.get('/api/projects')).status, 404);
  });

  test('a virtual key that was revoked is refused, and its stream is cut', async (t) => {
    const key = await cluster.newKey();
    const scene = cluster.scene(1, key);
    await until('the key at the other node', async () => (await call(scene, 'chat')).status === 200, WITHIN);
    const open = gate();
    t.after(() => open.open());
    cluster.double.next({ gate: open });
    const stream = await startCall(t, scene, 'chat', bodyOf('chat', { stream: true }));
    await until('its first event', () => stream.received.includes('data: '));
    await ada.must(204, ada.delete(`/api/gateway/keys/${key.id}`));
    await until('the stream to be cut', () => /revoked/.test(stream.received.toString()), WITHIN);
    assert.equal((await call(scene, 'chat')).status, 401);
  });

  test('a provider that was switched off, and prices', async () => {
    const key = await cluster.newKey();
    const scene = cluster.scene(1, key);
    await until('the key at the other node', async () => (await call(scene, 'chat')).status === 200, WITHIN);
    const at = `/api/gateway/providers/${cluster.providers.openai.id}`;
    const prices = { 'gpt-4o-mini': { input: '7', output: '9' } };
    await ada.must(200, ada.patch(at, { prices }));
    const there = cluster.at(1);
    const priceThere = async () =>
      (await there.must(200, there.get('/api/gateway/models?text=gpt-4o-mini'))).items.find((m) => m.model === 'gpt-4o-mini')?.output_price_usd;
    await until('the new price', async () => Number(await priceThere()) === 9, WITHIN);
    await ada.must(200, ada.patch(at, { is_enabled: false }));
    await until('the model to be gone', async () => (await call(scene, 'chat')).status !== 200, WITHIN);
    await ada.must(200, ada.patch(at, { is_enabled: true }));
    await until('the model to be back', async () => (await call(scene, 'chat')).status === 200, WITHIN);
  });

  test('settings and flags', async () => {
    const there = cluster.at(1);
    const flag = { state: 'ENABLED', variants: { on: true, off: false }, defaultVariant: 'off' };
    const value = async () => (await there.must(200, there.get('/api/flags/evaluate'))).flags.new_table;
    const made = await ada.put('/api/flags/new_table', flag);
    assert.equal(made.status < 300, true, made.text);
    await until('the flag', async () => (await value()) === false, WITHIN);
    const level = async () => (await there.must(200, there.get('/api/settings'))).settings.find((s) => s.key === 'log.level').value;
    await ada.must(200, ada.patch('/api/settings', { values: { 'log.level': 'warn' } }));
    await until('the other log level', async () => (await level()) === 'warn', WITHIN);
    await ada.must(200, ada.patch('/api/settings', { values: { 'log.level': null } }));
    await until('the old log level', async () => (await level()) === 'info', WITHIN);
    await until('the line that says so', () => cluster.nodes[1].log.some((l) => l.event === 'config_reloaded' && l.why === 'another node'));
  });

  test('a setting that it cannot take is refused there, and the log says so', async () => {
    const [, other] = cluster.nodes;
    const whole = readFileSync(other.configFile, 'utf8');
    writeFileSync(other.configFile, `${whole}\nnonsense: true\n`);
    await ada.must(200, ada.patch('/api/settings', { values: { 'limits.headers': 77 } }));
    await until('the refusal', () => other.log.some((l) => l.event === 'config_refused' && l.why === 'another node'), WITHIN);
    const told = await until('the event', async () => {
      const rows = await cluster.query(`SELECT convert_from(bytes, 'UTF8') AS bytes FROM events WHERE type = 'setting.refused'`);
      return rows.length === 1 && JSON.parse(rows[0].bytes);
    });
    assert.equal(told.resource.id, told.metadata.node);
    assert.equal(told.status, 'failure');
    writeFileSync(other.configFile, whole);
    await ada.must(200, ada.patch('/api/settings', { values: { 'limits.headers': null } }));
  });

  test('another master key is refused, and says what to do; an owned database gets no set-up link', async (t) => {
    const stranger = new Catalyst({
      dataDir: temporaryFolder(t),
      config: cluster.nodes[0].config,
      env: { CATALYST_SECURITY__MASTER_KEY: randomBytes(32).toString('hex') },
    });
    stopAtEnd(t, stranger);
    await assert.rejects(stranger.start().ready());
    assert.match(stranger.stderr, /master key .* copy DIR\/master\.key/);
    assert.doesNotMatch(cluster.nodes[1].stdout, /set it up/);
  });
});
