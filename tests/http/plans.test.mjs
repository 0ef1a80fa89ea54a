// What a workspace may have and who may come in: plans and usage limit refuse what is beyond them, whatever races; policies,
// invitations and API keys hold against those who try to get more than was given.

import assert from 'node:assert/strict';
import { Caller, PASSWORD, QUICK_PASSWORDS, newMember, owner } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst, startProvider } from '../lib/catalyst.mjs';
import { onEngines } from '../lib/postgres.mjs';
import { sealedLog } from '../lib/rebuild.mjs';
import { until } from '../lib/wait.mjs';

const skip = NO_BINARY;
const TINY = { name: 'tiny', members: 3, projects: 1, api_keys: 2 };
const tokenOf = (invitation) => invitation.link.slice(invitation.link.indexOf('#') + 1);
let n = 0;
const address = (domain = 'example.com') => `guest${++n}@${domain}`;
const accept = (origin, invitation) =>
  new Caller(origin).post(`/api/invitations/${tokenOf(invitation)}/accept`, { name: `Guest ${++n}`, password: PASSWORD });

onEngines('plans, limits, policies, invitations and keys refuse what they are to refuse', { skip, timeout: 120_000 }, async (t, { database }) => {
  const catalyst = await startCatalyst(t, {
    config: { loops: 2, identity: QUICK_PASSWORDS, plans: [TINY], api: { rate_per_minute: 0, rate_per_address_per_minute: 0 } },
    env: database ? { CATALYST_DATABASE__URL: database } : {},
  });
  const ada = await owner(catalyst);
  const newWorkspace = async (name, plan) => {
    const { id } = await ada.must(201, ada.post('/api/workspaces', { name }));
    const boss = ada.with({ workspace: id });
    if (plan) await boss.must(200, boss.put(`/api/workspaces/${id}/billing`, { plan }));
    return { id, at: `/api/workspaces/${id}`, boss };
  };

  await t.test('a plan has so many members, projects and keys, and says which limit is reached', async () => {
    const { at, boss } = await newWorkspace('Tiny', 'tiny');
    const two = [address(), address()];
    const invitations = [];
    for (const email of two) invitations.push(await boss.must(201, boss.post(`${at}/invite`, { email, role: 'viewer' })));
    const third = await boss.post(`${at}/invite`, { email: address(), role: 'viewer' });
    assert.deepEqual([third.status, third.code], [402, 'plan_limit_reached']);
    assert.match(third.json.detail, /tiny.*3 members \(limit members\)/);
    await boss.must(201, boss.post('/api/projects', { name: 'one' }));
    const project = await boss.post('/api/projects', { name: 'two' });
    assert.deepEqual([project.status, project.code], [402, 'plan_limit_reached']);
    for (const name of ['a', 'b']) await boss.must(201, boss.post('/api/keys', { name, scopes: ['projects.read'] }));
    assert.equal((await boss.post('/api/keys', { name: 'c', scopes: ['projects.read'] })).code, 'plan_limit_reached');
    assert.equal((await boss.put(`${at}/billing`, { plan: 'nonsense' })).status, 400);
    // A smaller plan takes nothing away, and an invitation made before it finds no place.
    assert.equal((await accept(catalyst.origin, invitations[0])).status, 200);
  });

  await t.test('two who accept the last place do not both get it', async () => {
    const { at, boss } = await newWorkspace('Race');
    const made = [];
    for (let i = 0; i < 6; i++) made.push(await boss.must(201, boss.post(`${at}/invite`, { email: address(), role: 'viewer' })));
    await boss.must(200, boss.put(`${at}/billing`, { plan: 'tiny' }));
    const answers = await Promise.all(made.map((i) => accept(catalyst.origin, i)));
    assert.deepEqual(answers.map((a) => a.status).sort(), [200, 200, 402, 402, 402, 402]);
    assert.equal((await boss.get(`${at}/members`)).json.items.length, 3);
  });

  await t.test('two owners who remove each other at once leave one', async () => {
    const { at, boss } = await newWorkspace('Duel');
    const invitation = await boss.must(201, boss.post(`${at}/invite`, { email: address(), role: 'owner' }));
    const other = new Caller(catalyst.origin, { workspace: boss.workspace });
    const joined = await other.must(200, other.post(`/api/invitations/${tokenOf(invitation)}/accept`, { name: 'Other', password: PASSWORD }));
    Object.assign(other, { csrf: joined.csrf_token, user: joined.user });
    const answers = await Promise.all([boss.delete(`${at}/members/${other.user.id}`), other.delete(`${at}/members/${ada.user.id}`)]);
    const statuses = answers.map((a) => a.status).sort();
    assert.equal(statuses[0], 204, JSON.stringify(statuses));
    assert.notEqual(statuses[1], 204);
    const left = answers[0].status === 204 ? boss : other;
    const owners = (await left.get(`${at}/members`)).json.items.filter((m) => m.role === 'owner');
    assert.equal(owners.length, 1);
  });

  await t.test('the usage limit of a month is a hard budget, shown with what was used', async () => {
    const { at, boss } = await newWorkspace('Spender');
    const provider = await startProvider(t);
    await boss.must(201, boss.post('/api/gateway/providers', {
      name: 'paid', kind: 'compatible', base_url: provider.openaiUrl, models: ['dear'], prices: { dear: { input: 1000, output: 1000 } },
    }));
    const { key } = await boss.must(201, boss.post('/api/gateway/keys', { name: 'k' }));
    const ask = () =>
      fetch(`${catalyst.origin}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify({ model: 'dear', max_tokens: 10, messages: [{ role: 'user', content: 'Hello' }] }),
      });
    assert.equal((await ask()).status, 200);
    const used = await until('the ledger to know of it', async () => {
      const { current_usage_nanousd } = (await boss.get(`${at}/billing`)).json;
      return current_usage_nanousd > 0 && current_usage_nanousd;
    });
    const set = await boss.must(200, boss.put(`${at}/billing`, { plan: 'enterprise', usage_limit_usd: '0.000000001' }));
    assert.equal(set.usage_limit_nanousd, 1);
    const refused = await ask();
    assert.equal(refused.status, 402);
    assert.equal((await refused.json()).error.code, 'budget_exceeded');
    const { billing } = (await boss.get(at)).json;
    assert.deepEqual([billing.plan, billing.usage_limit_nanousd, billing.current_usage_nanousd], ['enterprise', 1, used]);
    await boss.must(200, boss.put(`${at}/billing`, { plan: 'enterprise' }));
    assert.equal((await ask()).status, 200);
    // Of two providers of a model the one that the settings name is asked.
    const other = await startProvider(t);
    await boss.must(201, boss.post('/api/gateway/providers', { name: 'other', kind: 'compatible', base_url: other.openaiUrl, models: ['dear'] }));
    assert.equal((await ask()).status, 200);
    assert.equal(other.exchanges.length, 0);
    await boss.must(200, boss.patch(at, { settings: { default_llm_provider: 'other' } }));
    await until('the other provider to be asked', async () => (await ask()).status === 200 && other.exchanges.length > 0);
  });

  await t.test('policies let nobody in whom they shut out, and nobody locks themselves out', async () => {
    const { at, boss } = await newWorkspace('Strict');
    const admin = await newMember(boss, 'admin');
    const set = (who, settings) => who.patch(at, { settings });
    assert.equal((await set(boss, { allowed_addresses: ['192.0.2.0/24'] })).status, 409);
    assert.equal((await set(boss, { allowed_addresses: ['192.0.2.0/33'], cors_origins: ['*', 'https://x/y'] })).json.errors.length, 3);
    assert.equal((await set(boss, { mfa_required: 'all' })).code, 'factor_required');
    assert.equal((await set(admin, { mfa_required: 'all' })).status, 403);
    await boss.must(200, set(boss, { mfa_required: 'roles', mfa_roles: ['admin'] }));
    assert.equal((await admin.get(at)).code, 'factor_required');
    assert.equal((await admin.get('/api/projects')).code, 'factor_required');
    await boss.must(200, set(boss, { mfa_required: 'none', allow_external_collaborators: false }));
    assert.equal((await boss.post(`${at}/invite`, { email: address('elsewhere.example'), role: 'viewer' })).status, 403);
    await boss.must(201, boss.post(`${at}/invite`, { email: address(), role: 'viewer' }));
    await boss.must(200, set(boss, { email_domains: ['Corp.example'] }));
    assert.equal((await boss.post(`${at}/invite`, { email: address(), role: 'viewer' })).status, 403);
    await boss.must(200, set(boss, { api_key_max_days: 7 }));
    const wanted = { name: 'k', scopes: ['projects.read'] };
    assert.equal((await boss.post('/api/keys', { ...wanted, expires_in_days: 8 })).status, 400);
    const made = await boss.must(201, boss.post('/api/keys', wanted));
    assert.ok(Date.parse(made.expires_at) - Date.now() <= 7 * 86_400_000);
    assert.equal((await set(new Caller(catalyst.origin, { key: made.key, workspace: boss.workspace }), { cors_origins: [] })).status, 403);
  });

  await t.test('an invitation is for one address, once, and worth what its inviter holds at the end', async () => {
    const { at, boss } = await newWorkspace('Guests');
    const project = (await boss.must(201, boss.post('/api/projects', { name: 'seen' }))).id;
    await boss.must(201, boss.post('/api/projects', { name: 'unseen' }));
    const admin = await newMember(boss, 'admin');
    const invite = (who, body) => who.post(`${at}/invite`, { email: address(), ...body });
    // More than one holds, a role that is none, projects of somebody else, members that are not for a body.
    assert.equal((await invite(admin, { role: 'owner' })).status, 403);
    assert.equal((await invite(admin, { role: 'reviewer' })).status, 403);
    assert.equal((await invite(boss, { role: 'emperor' })).status, 400);
    assert.equal((await invite(boss, { role: 'viewer', project_ids: [ada.workspace] })).status, 404);
    for (const more of [{ invited_by: ada.user.id }, { workspace_id: ada.workspace }, { expires_at: '2099-01-01T00:00:00Z' }])
      assert.equal((await invite(boss, { role: 'viewer', ...more })).status, 400);
    // In one project only.
    const limited = await boss.must(201, invite(boss, { role: 'developer', project_ids: [project] }));
    const guest = new Caller(catalyst.origin, { workspace: boss.workspace });
    const joined = await guest.must(200, guest.post(`/api/invitations/${tokenOf(limited)}/accept`, { name: 'Guest', password: PASSWORD }));
    guest.csrf = joined.csrf_token;
    assert.deepEqual((await guest.get('/api/projects')).json.items.map((p) => p.name), ['seen']);
    assert.equal((await guest.post('/api/projects', { name: 'third' })).status, 403);
    assert.equal((await guest.get(`${at}/members`)).status, 403);
    // Used twice, revoked, sent again: the old link opens nothing.
    assert.equal((await accept(catalyst.origin, limited)).status, 404);
    const revoked = await boss.must(201, invite(boss, { role: 'viewer' }));
    await boss.must(204, boss.delete(`${at}/invitations/${revoked.id}`));
    assert.equal((await accept(catalyst.origin, revoked)).status, 404);
    const mailed = await boss.must(201, invite(boss, { role: 'viewer' }));
    assert.equal(mailed.is_mailed, true);
    const again = await boss.post(`${at}/invitations/${mailed.id}/resend`, {});
    assert.equal(again.status, 429);
    assert.ok(Number(again.headers.get('retry-after')) > 0);
    assert.equal((await boss.must(201, boss.post(`${at}/invite`, { email: mailed.email, role: 'viewer' }))).is_mailed, false);
    // The inviter has left.
    const orphan = await admin.must(201, invite(admin, { role: 'viewer' }));
    await boss.must(204, boss.delete(`${at}/members/${admin.user.id}`));
    assert.equal((await accept(catalyst.origin, orphan)).status, 404);
    // Somebody else's workspace has no such invitation.
    const { at: elsewhere, boss: other } = await newWorkspace('Elsewhere');
    for (const [method, path] of [['POST', '/resend'], ['DELETE', '']])
      assert.equal((await other.call(method, `${elsewhere}/invitations/${mailed.id}${path}`, method === 'POST' ? {} : undefined)).status, 404);
  });

  await t.test('a key is for its addresses, and a use from elsewhere stands in the log, once a minute', async () => {
    const { id, boss } = await newWorkspace('Keys');
    const wanted = { name: 'far', scopes: ['projects.read'] };
    assert.equal((await boss.post('/api/keys', { ...wanted, addresses: ['10.0.0.0/40'] })).status, 400);
    const near = await boss.must(201, boss.post('/api/keys', { ...wanted, addresses: ['127.0.0.0/8', '::1'] }));
    const far = await boss.must(201, boss.post('/api/keys', { ...wanted, addresses: ['192.0.2.0/24', '2001:db8::/32'] }));
    const use = (key) => new Caller(catalyst.origin, { key, workspace: id }).get('/api/projects', { 'x-forwarded-for': '192.0.2.7' });
    assert.equal((await use(near.key)).status, 200);
    for (let i = 0; i < 3; i++) assert.equal((await use(far.key)).status, 401);
    catalyst.databaseUrl = database;
    const refusals = async () =>
      (await sealedLog(catalyst)).map((e) => JSON.parse(e.bytes)).filter((e) => e.type === 'api_key.use_refused');
    const events = await until('the event to be sealed', async () => ((await refusals()).length ? refusals() : null));
    assert.equal(events.length, 1);
  });
});
