// requests.test.mjs - the calls as the API shows them: lists by filter and page, sums, live frames, and nobody's but one's own.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { newMember } from '../lib/api.mjs';
import { bodyOf, call } from '../lib/call.mjs';
import { NO_BINARY } from '../lib/catalyst.mjs';
import { newKey, startManaged } from '../lib/gateway.mjs';
import { until } from '../lib/wait.mjs';

/** The calls, once there are n of them. */
const calls = (caller, n, query = '') =>
  until(`${n} calls`, async () => {
    const { items } = await caller.must(200, caller.get(`/api/gateway/requests?limit=200${query}`));
    return items.length >= n && items;
  });

describe('requests', { skip: NO_BINARY }, () => {
  test('a call is listed and shown as it was', async (t) => {
    const scene = await startManaged(t);
    const k = await newKey(scene, { name: 'ci' });
    const headers = { 'x-catalyst-tags': 'nightly, ci', 'x-catalyst-task': 'task-1', 'x-catalyst-session': 's-1' };
    const answer = await call(k, 'chat', bodyOf('chat', { stream: true }), { headers });
    const [listed] = await calls(scene.ada, 1);
    const shown = await scene.ada.must(200, scene.ada.get(`/api/gateway/requests/${answer.id}`));
    assert.deepEqual(shown, listed);
    const local = (await scene.catalyst.requests())[0];
    assert.equal(shown.id, answer.id);
    assert.deepEqual(
      [shown.status, shown.outcome, shown.dialect, shown.provider, shown.model, shown.key_name, shown.is_streamed, shown.task, shown.session, shown.tags],
      [200, 'completed', 'chat', 'openai', 'gpt-4o-mini', 'ci', true, 'task-1', 's-1', ['nightly', 'ci']],
    );
    assert.deepEqual([shown.cost_usd, shown.tokens.total], [local.cost_usd, local.total_tokens]);
    assert.equal(shown.timing.total_us, local.total_us);
    assert.equal((await scene.ada.get('/api/gateway/requests/01890000-0000-7000-8000-000000000000')).status, 404);
    assert.equal((await scene.ada.get('/api/gateway/requests/none')).status, 404);
  });

  test('filters, pages and CSV', async (t) => {
    const scene = await startManaged(t);
    const a = await newKey(scene, { name: 'a' });
    const b = await newKey(scene, { name: 'b' });
    const ids = [];
    for (let i = 0; i < 7; i++) ids.push((await call(i % 2 ? a : b, i % 3 ? 'chat' : 'messages', undefined, { headers: { 'x-catalyst-session': `s${i}` } })).id);
    scene.double.next({ fault: 500 });
    ids.push((await call(a, 'chat')).id);
    ids.push((await call(a, 'chat', bodyOf('chat', { model: 'claude-unheard-of' }))).id);
    await calls(scene.ada, 9);
    const get = async (query) => (await scene.ada.must(200, scene.ada.get(`/api/gateway/requests?${query}`))).items;
    assert.equal((await get('provider=anthropic')).length, 3);
    assert.equal((await get('model=gpt-4o-mini')).length, 5);
    assert.equal((await get(`key_id=${b.made.id}`)).length, 4);
    assert.deepEqual((await get('status=500')).map((c) => c.id), [ids[7]]);
    assert.deepEqual((await get('outcome=refused')).map((c) => c.id), [ids[8]]);
    assert.deepEqual((await get('session=s3')).map((c) => c.id), [ids[3]]);
    assert.deepEqual((await get('text=UNHEARD')).map((c) => c.id), [ids[8]]);
    const at = (await get('session=s3'))[0].started_at;
    assert.equal((await get(`until=${at}`)).length + (await get(`since=${at}`)).length, 9);
    assert.equal((await scene.ada.get('/api/gateway/requests?outcome=lost')).status, 400);

    const seen = [];
    for (let cursor = ''; cursor !== null; ) {
      const page = await scene.ada.must(200, scene.ada.get(`/api/gateway/requests?limit=4&cursor=${cursor}`));
      seen.push(...page.items.map((c) => c.id));
      cursor = page.next_cursor;
    }
    assert.deepEqual([...seen].sort(), [...ids].sort());
    assert.equal(new Set(seen).size, 9);
    const csv = await scene.ada.get('/api/gateway/requests', { accept: 'text/csv' });
    assert.match(csv.type, /^text\/csv/);
    assert.equal(csv.text.trim().split('\r\n').length, 10);
    assert.match(csv.text.split('\r\n')[0], /id,started_at,.*cost_usd/);
  });

  test('sums by everything agree with the calls', async (t) => {
    const scene = await startManaged(t);
    const project = await scene.ada.must(201, scene.ada.post('/api/projects', { name: 'Engine' }));
    const k = await newKey(scene, { name: 'ci', project_id: project.id, user_id: scene.ada.user.id });
    const free = await newKey(scene, { name: 'free' });
    for (let i = 0; i < 4; i++) await call(k, i % 2 ? 'chat' : 'messages');
    await call(free, 'chat', undefined, { headers: { 'x-catalyst-user': 'bob' } });
    await call(free, 'chat', bodyOf('chat', { model: 'gpt-unheard-of' }));
    const list = await calls(scene.ada, 6);
    const cost = list.reduce((sum, c) => sum + (c.cost_nanousd ?? 0), 0);
    const usage = (query) => scene.ada.must(200, scene.ada.get(`/api/gateway/usage?${query}`));
    for (const by of ['model', 'provider', 'key', 'project', 'user', 'day', 'session']) {
      const { items, total } = await usage(`by=${by}`);
      assert.equal(total.calls, 6, by);
      assert.equal(total.cost_nanousd, cost, by);
      assert.equal(items.reduce((sum, g) => sum + g.calls, 0), 6, by);
      assert.equal(items.reduce((sum, g) => sum + g.cost_nanousd, 0), cost, by);
    }
    const users = (await usage('by=user')).items.map((g) => g.group).sort();
    assert.deepEqual(users, ['', 'bob', scene.ada.user.id].sort());
    assert.equal((await usage('by=day')).items[0].group, new Date().toISOString().slice(0, 10));
    assert.equal((await usage('by=model')).total.unknown_cost_calls, 1);
    assert.equal((await usage('by=model&project=Engine')).total.calls, 4);
    assert.equal((await usage(`by=model&project=${project.id}`)).total.calls, 4);
    assert.equal((await usage('by=model&since=2999-01-01T00:00:00Z')).total.calls, 0);
    assert.equal((await scene.ada.get('/api/gateway/usage?by=colour')).status, 400);
    const local = await scene.catalyst.usage('--by', 'model');
    assert.equal(local.calls, 6);
    assert.equal(local.cost_nanousd, cost);
  });

  test("who may not see others' calls has their own", async (t) => {
    const scene = await startManaged(t);
    const dev = await newMember(scene.ada, 'developer');
    const viewer = await newMember(scene.ada, 'viewer');
    const mine = await newKey(scene, { user_id: dev.user.id });
    const other = await newKey(scene);
    const own = (await call(mine, 'chat')).id;
    const foreign = (await call(other, 'chat')).id;
    await calls(scene.ada, 2);
    const me = (await dev.must(200, dev.get('/api/auth/me'))).workspaces[0].permissions;
    const seesAll = me.includes('analytics.view_others');
    const seen = (await calls(dev, 1)).map((c) => c.id);
    assert.deepEqual(seen.sort(), (seesAll ? [own, foreign] : [own]).sort());
    assert.equal((await dev.get(`/api/gateway/requests/${own}`)).status, 200);
    const total = (await viewer.must(200, viewer.get('/api/gateway/usage'))).total.calls;
    const viewerMe = (await viewer.must(200, viewer.get('/api/auth/me'))).workspaces[0].permissions;
    assert.equal(total, viewerMe.includes('analytics.view_others') ? 2 : 0);
    if (!viewerMe.includes('analytics.view_others'))
      assert.equal((await viewer.get(`/api/gateway/requests/${foreign}`)).status, 404);
    const elsewhere = await scene.ada.must(201, scene.ada.post('/api/workspaces', { name: 'Second' }));
    const there = scene.ada.with({ workspace: elsewhere.id });
    assert.equal((await there.get(`/api/gateway/requests/${own}`)).status, 404);
    assert.deepEqual((await there.get('/api/gateway/requests')).json.items, []);
  });

  test('a finished call is on the live stream within a second', async (t) => {
    const scene = await startManaged(t);
    const k = await newKey(scene);
    const abort = new AbortController();
    t.after(() => abort.abort());
    const response = await fetch(`${scene.catalyst.origin}/api/events?workspace=${scene.ada.workspace}`, {
      headers: scene.ada.headers('GET', { 'x-catalyst-workspace': null }),
      signal: abort.signal,
    });
    assert.equal(response.status, 200);
    let text = '';
    (async () => {
      for await (const piece of response.body) text += Buffer.from(piece).toString();
    })().catch(() => {});
    await until('the stream', () => text.length > 0 || true);
    const answer = await call(k, 'chat');
    await until('the frame', () => text.includes('event: call.finished') && text.includes(answer.id), { deadline_ms: 3000 });
    const frame = text.split('\n\n').find((f) => f.includes(answer.id));
    const data = JSON.parse(frame.split('\n').filter((l) => l.startsWith('data: ')).map((l) => l.slice(6)).join('\n'));
    assert.equal(data.key_id, k.made.id);
    assert.ok(!/^id:/m.test(frame));
  });
});
