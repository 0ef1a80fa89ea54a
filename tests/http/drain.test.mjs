// drain.test.mjs - budgets and usage are right after kill -9 under load, again and again: the provider's own ledger is compared with what Catalyst
// says; and the journal waits for a database that is away.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { QUICK_PASSWORDS, owner } from '../lib/api.mjs';
import { bodyOf, call, callBytes } from '../lib/call.mjs';
import { NO_BINARY, startCatalyst, startProvider } from '../lib/catalyst.mjs';
import { newKey, startManaged } from '../lib/gateway.mjs';
import { makeKey } from '../lib/keys.mjs';
import { NO_POSTGRES, sql, startPostgres } from '../lib/postgres.mjs';
import { RawConnection, exchange, request } from '../lib/raw.mjs';
import { until } from '../lib/wait.mjs';

const USD = 1e9;
const KILLS = Number(process.env.CATALYST_KILLS ?? 10);

/** Calls until its connection breaks; the ids of answers seen whole. */
async function client(scene, n, seen, isOver) {
  let c;
  try {
    c = await RawConnection.open(scene.catalyst.port);
    for (let i = n; !isOver(); i++) {
      const dialect = i % 2 ? 'chat' : 'messages';
      await c.send(callBytes(scene, dialect, bodyOf(dialect, { max_tokens: 2000 })));
      const answer = await c.readAnswer();
      assert.ok([200, 402].includes(answer.status), answer.body.toString());
      if (answer.status === 200) seen.add(answer.header('x-catalyst-request-id'));
    }
  } catch (error) {
    if (!isOver() && !/connection ended|ECONN/.test(error.message)) throw error;
  } finally {
    c?.close();
  }
}

describe('the drain', { skip: NO_BINARY }, () => {
  test(`kill -9 under load, ${KILLS} times: usage and budgets agree with what the provider charged`, { timeout: 180_000 + KILLS * 15_000 }, async (t) => {
    const scene = await startManaged(t, {
      config: { journal: { segment_bytes: '64KiB' }, usage: { drain_ms: 20 } },
      tokens: () => ({ input: 50, output: 100 + Math.floor(Math.random() * 900) }),
    });
    let k = await newKey(scene, { name: 'ci', budget_usd: '1000' });
    const seen = new Set();
    for (let kill = 0; kill < KILLS; kill++) {
      let isOver = false;
      const before = seen.size;
      const all = Array.from({ length: 6 }, (_, n) => client(k, n, seen, () => isOver));
      await until('load', () => seen.size > before + 10, { deadline_ms: 20_000 });
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 300));
      await k.catalyst.kill();
      isOver = true;
      await Promise.all(all);
      scene.double.queue.length = 0;
      const catalyst = await startCatalyst(t, { config: scene.config, dataDir: scene.catalyst.dataDir });
      k = { ...k, catalyst, ada: scene.ada.with({ origin: catalyst.origin }) };

      // Every call that was seen whole is there once, by its own price.
      const records = await catalyst.requests();
      const ids = records.map((r) => r.request_id);
      assert.equal(new Set(ids).size, ids.length, `kill ${kill + 1}: a call stands there twice`);
      const missing = [...seen].filter((id) => !ids.includes(id));
      assert.deepEqual(missing, [], `kill ${kill + 1}: calls are missing`);
      // What died under way is charged its reservation: never less than the provider's ledger, and no more than all reservations.
      const crashed = records.filter((r) => r.error === 'crashed');
      const recorded = records.reduce((sum, r) => sum + (r.cost_nanousd ?? 0), 0);
      const reserved = crashed.reduce((sum, r) => sum + r.cost_nanousd, 0);
      assert.ok(crashed.every((r) => r.estimated && r.outcome === 'cut'));
      assert.ok(recorded >= scene.meter.spent, `kill ${kill + 1}: the provider charged ${scene.meter.spent}, recorded is ${recorded}`);
      assert.ok(recorded - reserved <= scene.meter.spent);
      // The budget says the same as the calls, and so does the API once they are drained.
      const key = await k.ada.must(200, k.ada.get(`/api/gateway/keys/${k.made.id}`));
      assert.equal(key.budget.spent_nanousd, recorded, `kill ${kill + 1}`);
      assert.equal(key.budget.reserved_nanousd, 0);
      const { total } = await k.ada.must(200, k.ada.get('/api/gateway/usage?by=key'));
      assert.deepEqual([total.calls, total.cost_nanousd], [records.length, recorded], `kill ${kill + 1}`);
    }
    t.diagnostic(`${KILLS} kills, ${seen.size} calls seen whole, the provider charged ${(scene.meter.spent / USD).toFixed(6)} USD`);
  });

  test('kill -9 does not give a hard budget a second life', { timeout: 120_000 }, async (t) => {
    const scene = await startManaged(t, { tokens: () => ({}) });
    let k = await newKey(scene, { name: 'ci', budget_usd: '0.05' });
    for (let kill = 0; kill < 3; kill++) {
      const batch = Array.from({ length: 20 }, () => call(k, 'chat', bodyOf('chat', { max_tokens: 1500 })).catch(() => null));
      await Promise.race(batch);
      await k.catalyst.kill();
      await Promise.allSettled(batch);
      const catalyst = await startCatalyst(t, { config: scene.config, dataDir: scene.catalyst.dataDir });
      k = { ...k, catalyst };
      assert.ok(scene.meter.spent <= 0.05 * USD, `${scene.meter.spent}`);
    }
    await until('the money to be gone', async () => (await call(k, 'chat', bodyOf('chat', { max_tokens: 1500 }))).status === 402, { deadline_ms: 60_000 });
    assert.ok(scene.meter.spent <= 0.05 * USD, `${scene.meter.spent}`);
  });

  test('drained segments go, and nothing with them', { timeout: 180_000 }, async (t) => {
    const scene = await startManaged(t, { config: { loops: 1, journal: { segment_bytes: '64KiB' } } });
    const k = await newKey(scene);
    const c = await RawConnection.open(scene.catalyst.port);
    t.after(() => c.close());
    for (let i = 0; i < 700; i++) {
      await c.send(callBytes(k, 'chat'));
      await c.readAnswer();
    }
    const segments = () => readdirSync(path.join(scene.catalyst.dataDir, 'journal')).filter((f) => f.endsWith('.seg'));
    const first = segments().sort()[0];
    await until('the first segment to go', () => !segments().includes(first), { deadline_ms: 20_000, every_ms: 100 });
    assert.equal((await scene.catalyst.requests()).length, 700);
    assert.equal((await scene.catalyst.usage()).calls, 700);
    assert.equal((await scene.catalyst.requests('--limit', '5')).length, 5);
  });

  test('calls of the file\'s keys, made before there was an owner, are in the first workspace', async (t) => {
    const double = await startProvider(t, { key: 'sk-double-1' });
    const key = makeKey();
    const config = {
      identity: QUICK_PASSWORDS,
      providers: [{ name: 'openai', kind: 'openai', base_url: double.openaiUrl, api_key: 'sk-double-1' }],
      keys: [{ name: 'alice', key, budget_usd: '1' }],
    };
    const catalyst = await startCatalyst(t, { config });
    for (let i = 0; i < 3; i++) assert.equal((await call({ catalyst, key }, 'chat')).status, 200);
    const ada = await owner(catalyst);
    const list = await until('the calls', async () => {
      const { items } = (await ada.get('/api/gateway/requests')).json;
      return items.length === 3 && items;
    });
    assert.equal(list[0].key_name, 'alice');
    assert.equal((await call({ catalyst, key }, 'chat')).status, 200);
    const { items } = await ada.must(200, ada.get('/api/gateway/keys'));
    assert.ok(items[0].budget.spent_nanousd > 0);
  });

  test('so is one that was under way when the workspace was made', async (t) => {
    const double = await startProvider(t, { key: 'sk-double-1' });
    const key = makeKey();
    const config = {
      identity: QUICK_PASSWORDS,
      providers: [{ name: 'openai', kind: 'openai', base_url: double.openaiUrl, api_key: 'sk-double-1' }],
      keys: [{ name: 'alice', key }],
    };
    const catalyst = await startCatalyst(t, { config });
    let open;
    double.next({ gate: new Promise((resolve) => (open = resolve)) });
    const slow = call({ catalyst, key }, 'chat');
    await until('the call to be under way', () => double.exchanges.length === 1);
    const ada = await owner(catalyst);
    const listed = async (n) => (await ada.get('/api/gateway/requests')).json.items.length === n;
    assert.equal((await call({ catalyst, key }, 'chat')).status, 200);
    await until('the call of the workspace', () => listed(1));
    open();
    assert.equal((await slow).status, 200);
    await until('the call that began before it', () => listed(2));
  });

  test('a budget that is made late knows what was spent before, and alerts tell once', async (t) => {
    const scene = await startManaged(t, { tokens: () => ({ input: 0, output: 1_000_000 }) }); // 0.6 USD each
    const k = await newKey(scene);
    await call(k, 'chat');
    const b = await scene.ada.must(201, scene.ada.post('/api/gateway/budgets', { scope: 'workspace', period: 'monthly', limit_usd: '1', is_hard: false }));
    const shown = () => scene.ada.must(200, scene.ada.get(`/api/gateway/budgets/${b.id}`));
    await until('the call to count', async () => (await shown()).spent_nanousd === 0.6 * USD);
    await call(k, 'chat'); // soft: it goes on beyond the limit
    await call(k, 'chat');
    await until('all three', async () => (await shown()).spent_nanousd === 1.8 * USD);
    assert.equal((await shown()).left_nanousd, 0);
    const abort = new AbortController();
    t.after(() => abort.abort());
    const response = await fetch(`${scene.catalyst.origin}/api/events?workspace=${scene.ada.workspace}`, {
      headers: { ...scene.ada.headers('GET', { 'x-catalyst-workspace': null }), 'last-event-id': '0' },
      signal: abort.signal,
    });
    let text = '';
    (async () => {
      for await (const piece of response.body) text += Buffer.from(piece).toString();
    })().catch(() => {});
    const alerts = () => (text.match(/event: budget\.threshold/g) ?? []).length;
    await until('three alerts', () => alerts() === 3);
    await call(k, 'chat');
    await until('the fourth', async () => (await shown()).spent_nanousd === 2.4 * USD);
    assert.equal(alerts(), 3);
    await scene.ada.must(200, scene.ada.patch(`/api/gateway/budgets/${b.id}`, { is_hard: true }));
    assert.equal((await call(k, 'chat')).status, 402);
    assert.equal((await scene.ada.delete(`/api/gateway/budgets/${b.id}`)).status, 204);
    assert.equal((await call(k, 'chat')).status, 200);
    assert.equal((await exchange(scene.catalyst.port, request('GET', '/readyz'))).body.toString(), '{"status":"ready"}');
  });

  test('PostgreSQL goes away: calls go on, /readyz says so, and all is caught up with', { skip: NO_POSTGRES, timeout: 120_000 }, async (t) => {
    const postgres = await startPostgres(t);
    const url = await postgres.database();
    const name = /\/(\w+)\?/.exec(url)[1];
    const scene = await startManaged(t, { url });
    const k = await newKey(scene, { budget_usd: '1' });
    const ready = async () => (await exchange(scene.catalyst.port, request('GET', '/readyz'))).body.toString();
    await call(k, 'chat');
    await until('the first call', async () => (await scene.ada.get('/api/gateway/requests')).json.items?.length === 1);
    await sql(postgres.url, `ALTER DATABASE ${name} ALLOW_CONNECTIONS false`);
    await sql(postgres.url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`);
    for (let i = 0; i < 5; i++) assert.equal((await call(k, 'chat')).status, 200);
    await until('/readyz to tell', async () => (await ready()) === '{"status":"ready","degraded":"usage_database_unavailable"}', { deadline_ms: 30_000 });
    for (let i = 0; i < 5; i++) assert.equal((await call(k, 'chat')).status, 200);
    await sql(postgres.url, `ALTER DATABASE ${name} ALLOW_CONNECTIONS true`);
    await until('it to be well again', async () => (await ready()) === '{"status":"ready"}', { deadline_ms: 30_000 });
    const items = await until('all calls', async () => {
      const list = (await scene.ada.get('/api/gateway/requests')).json.items;
      return list?.length === 11 && list;
    });
    const key = await scene.ada.must(200, scene.ada.get(`/api/gateway/keys/${k.made.id}`));
    assert.equal(key.budget.spent_nanousd, items.reduce((sum, c) => sum + c.cost_nanousd, 0));
    assert.equal((await scene.catalyst.requests()).length, 11);
  });
});
