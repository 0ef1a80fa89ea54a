// What every endpoint under /api has in common, seen from outside: problems, all wrong fields at once, Idempotency-Key, ETag, lists, limits,
// slow and vanished clients.

import assert from 'node:assert/strict';
import test from 'node:test';
import { Caller, QUICK_PASSWORDS, owner } from '../lib/api.mjs';
import { NO_BINARY, runCatalyst, startCatalyst } from '../lib/catalyst.mjs';
import { RawConnection, exchange, request } from '../lib/raw.mjs';
import { until } from '../lib/wait.mjs';

const skip = NO_BINARY;
const config = { identity: QUICK_PASSWORDS };
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const start = async (t, more = {}) => {
  const catalyst = await startCatalyst(t, { config: { ...config, ...more } });
  return { catalyst, ada: await owner(catalyst) };
};

const names = async (caller) => (await caller.must(200, caller.get('/api/projects?limit=200'))).items.map((p) => p.name).sort();

test('an error is a problem document that says what was wrong and what would be right', { skip }, async (t) => {
  const { ada } = await start(t);
  const answer = await ada.post('/api/projects?dry=1', { nmae: 'x', description: 7, id: 'mine', settings: [] });
  assert.equal(answer.status, 400);
  assert.equal(answer.type, 'application/problem+json');
  const problem = answer.json;
  assert.equal(problem.type, 'about:blank');
  assert.equal(problem.title, 'Bad Request');
  assert.equal(problem.status, 400);
  assert.equal(problem.instance, '/api/projects');
  assert.equal(problem.code, 'invalid_request');
  assert.match(problem.request_id, UUID);
  assert.equal(answer.headers.get('x-request-id'), problem.request_id);
  assert.deepEqual(
    problem.errors.map((e) => [e.field, e.code]),
    [
      ['dry', 'unknown_field'],
      ['nmae', 'unknown_field'],
      ['id', 'read_only'],
      ['name', 'required'],
      ['description', 'wrong_type'],
      ['settings', 'wrong_type'],
    ],
  );
  assert.equal(problem.errors[1].message, "is no field here; did you mean 'name'?");
  assert.match(problem.detail, /^6 fields are wrong: dry, nmae, id, name, description, settings$/);
  assert.deepEqual(await names(ada), []);
});

test('every answer has its id and keeps out of caches and frames', { skip }, async (t) => {
  const { ada } = await start(t);
  const stranger = new Caller(ada.origin);
  const ids = new Set();
  for (const answer of [
    await ada.get('/api/projects'),
    await ada.post('/api/projects', { name: '' }),
    await ada.get('/api/nowhere'),
    await ada.delete('/api/projects'),
    await ada.call('POST', '/api/projects', 'x', { 'content-type': 'text/plain' }),
    await stranger.get('/api/projects'),
    await stranger.get('/api/openapi.json'),
  ]) {
    assert.match(answer.headers.get('x-request-id'), UUID);
    ids.add(answer.headers.get('x-request-id'));
    assert.equal(answer.headers.get('cache-control'), 'no-store');
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
    assert.equal(answer.headers.get('referrer-policy'), 'no-referrer');
    assert.match(answer.headers.get('content-security-policy'), /^default-src 'none'/);
  }
  assert.equal(ids.size, 7);
});

test('404, 405, 415, 413 and JSON that is none', { skip }, async (t) => {
  const { ada } = await start(t);
  assert.equal((await ada.get('/api/nowhere')).code, 'not_found');
  assert.equal((await ada.get('/api/projects/')).status, 404);
  assert.equal((await ada.get('/api')).status, 404);
  const method = await ada.call('DELETE', '/api/projects');
  assert.equal(method.status, 405);
  assert.equal(method.headers.get('allow'), 'GET, HEAD, POST');
  const type = await ada.call('POST', '/api/projects', '{"name":"x"}', { 'content-type': 'application/x-www-form-urlencoded' });
  assert.equal(type.status, 415);
  assert.match(type.json.detail, /application\/json/);
  const large = await ada.post('/api/projects', { name: 'x', description: 'd'.repeat(1 << 20) });
  assert.equal(large.status, 413);
  assert.equal(large.type, 'application/problem+json');
  const broken = await ada.call('POST', '/api/projects', '{"name":');
  assert.deepEqual([broken.status, broken.code], [400, 'invalid_json']);
  const twice = await ada.call('POST', '/api/projects', '{"name":"a","name":"b"}');
  assert.equal(twice.status, 400);
  const latin1 = await ada.call('POST', '/api/projects', Buffer.from('{"name":"\xfc"}', 'latin1').toString('latin1'));
  assert.equal(latin1.status, 201); // fetch has sent it as UTF-8
  const bytes = await fetch(`${ada.origin}/api/projects`, {
    method: 'POST',
    headers: ada.headers('POST', { 'content-type': 'application/json' }),
    body: Buffer.from('{"name":"\xfc"}', 'latin1'),
  });
  assert.equal(bytes.status, 400);
  assert.deepEqual(await names(ada), ['ü']);
});

test('HEAD is GET without the body', { skip }, async (t) => {
  const { ada } = await start(t);
  const made = await ada.must(201, ada.post('/api/projects', { name: 'one' }));
  const get = await ada.get(`/api/projects/${made.id}`);
  const head = await ada.call('HEAD', `/api/projects/${made.id}`);
  assert.equal(head.status, 200);
  assert.equal(head.text, '');
  assert.equal(head.headers.get('content-length'), String(Buffer.byteLength(get.text)));
  assert.equal(head.headers.get('etag'), get.headers.get('etag'));
});

test('a POST with the same Idempotency-Key is done once', { skip }, async (t) => {
  const { ada } = await start(t);
  const key = { 'idempotency-key': '0199f3a2-7c1e-7bbb-8a6e-2f1d9c0b4e55' };
  const first = await ada.post('/api/projects', { name: 'one' }, key);
  const again = await ada.post('/api/projects', { name: 'one' }, key);
  assert.equal(first.status, 201);
  assert.equal(again.status, 201);
  assert.equal(first.headers.get('idempotency-replayed'), null);
  assert.equal(again.headers.get('idempotency-replayed'), 'true');
  assert.deepEqual(again.json, first.json);
  assert.equal(again.headers.get('location'), first.headers.get('location'));
  assert.equal(again.headers.get('etag'), first.headers.get('etag'));
  const other = await ada.post('/api/projects', { name: 'two' }, key);
  assert.deepEqual([other.status, other.code], [422, 'idempotency_key_reused']);
  const bad = await ada.post('/api/projects', { name: 'two' }, { 'idempotency-key': 'x'.repeat(256) });
  assert.equal(bad.status, 400);
  // What failed may be tried again with its key.
  const failed = await ada.post('/api/projects', { name: 'one' }, { 'idempotency-key': 'k2' });
  assert.notEqual(failed.status, 201);
  assert.equal((await ada.post('/api/projects', { name: 'three' }, { 'idempotency-key': 'k2' })).status, 201);
  // Another's key of the same name is another key.
  const { key: secret } = await ada.must(201, ada.post('/api/keys', { name: 'k', scopes: ['projects.create', 'projects.read'] }));
  const program = new Caller(ada.origin, { key: secret });
  assert.equal((await program.post('/api/projects', { name: 'four' }, key)).headers.get('idempotency-replayed'), null);
  assert.deepEqual(await names(ada), ['four', 'one', 'three']);
});

test('twenty requests with one Idempotency-Key at the same time are done once', { skip }, async (t) => {
  const { ada } = await start(t);
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => ada.post('/api/projects', { name: 'one' }, { 'idempotency-key': 'k' })),
  );
  assert.deepEqual([...new Set(answers.map((a) => a.status))], [201]);
  assert.equal(new Set(answers.map((a) => a.json.id)).size, 1);
  assert.equal(answers.filter((a) => a.headers.get('idempotency-replayed') === null).length, 1);
  assert.deepEqual(await names(ada), ['one']);
});

test('the replay of an answer that showed a secret does not show it', { skip }, async (t) => {
  const { catalyst, ada } = await start(t);
  const key = { 'idempotency-key': 'k' };
  const wanted = { name: 'k', scopes: ['projects.read'] };
  const first = await ada.must(201, ada.post('/api/keys', wanted, key));
  assert.match(first.key, /^cat_/);
  const again = await ada.post('/api/keys', wanted, key);
  assert.equal(again.status, 201);
  assert.equal(again.json.id, first.id);
  assert.equal('key' in again.json, false);
  assert.equal((await new Caller(ada.origin, { key: first.key }).get('/api/projects')).status, 200);
  assert.ok(!catalyst.stderr.includes(first.key));
});

test('ETag and If-Match: what has changed since is not overwritten', { skip }, async (t) => {
  const { ada } = await start(t);
  const made = await ada.post('/api/projects', { name: 'one', description: 'a' });
  const path = `/api/projects/${made.json.id}`;
  const tag = made.headers.get('etag');
  assert.match(tag, /^"[^"]+"$/);
  assert.equal((await ada.get(path, { 'if-none-match': tag })).status, 304);
  const changed = await ada.patch(path, { description: 'b' }, { 'if-match': tag });
  assert.equal(changed.status, 200);
  assert.notEqual(changed.headers.get('etag'), tag);
  const stale = await ada.patch(path, { description: 'c' }, { 'if-match': tag });
  assert.deepEqual([stale.status, stale.code], [412, 'precondition_failed']);
  const put = await ada.put(path, { name: 'one' }, { 'if-match': tag });
  assert.equal(put.status, 412);
  assert.equal((await ada.get(path)).json.description, 'b');
  assert.equal((await ada.patch(path, { description: 'd' }, { 'if-match': '*' })).status, 200);
});

test('PATCH is a merge patch, PUT replaces', { skip }, async (t) => {
  const { ada } = await start(t);
  const made = await ada.must(201, ada.post('/api/projects', { name: 'one', description: 'a', repository: '/srv/x', settings: { a: 1, b: { c: 2 } } }));
  const path = `/api/projects/${made.id}`;
  const patched = await ada.must(
    200,
    ada.call('PATCH', path, { repository: null, settings: { a: null, b: { d: 3 } } }, { 'content-type': 'application/merge-patch+json' }),
  );
  assert.equal(patched.name, 'one');
  assert.equal(patched.description, 'a');
  assert.equal(patched.repository, null);
  assert.deepEqual(patched.settings, { b: { c: 2, d: 3 } });
  const wrong = await ada.patch(path, { name: null, nope: 1, settings: 5 });
  assert.deepEqual(
    wrong.json.errors.map((e) => [e.field, e.code]),
    [
      ['nope', 'unknown_field'],
      ['name', 'wrong_type'],
      ['settings', 'wrong_type'],
    ],
  );
  const put = await ada.must(200, ada.put(path, { name: 'two' }));
  assert.equal(put.description, '');
  assert.deepEqual(put.settings, {});
});

test('a list goes on from its cursor, and refuses limits and cursors that are none', { skip }, async (t) => {
  const { ada } = await start(t);
  for (let i = 0; i < 7; i++) await ada.must(201, ada.post('/api/projects', { name: `p${i}` }));
  const seen = [];
  let cursor = '';
  do {
    const page = await ada.must(200, ada.get(`/api/projects?limit=3${cursor && `&cursor=${encodeURIComponent(cursor)}`}`));
    assert.ok(page.items.length <= 3);
    seen.push(...page.items.map((p) => p.name));
    cursor = page.next_cursor;
  } while (cursor);
  assert.deepEqual(seen.sort(), ['p0', 'p1', 'p2', 'p3', 'p4', 'p5', 'p6']);
  for (const query of ['limit=0', 'limit=201', 'limit=many', 'cursor=nonsense', 'limit=3&limit=4', 'order=name', 'name=%zz'])
    assert.equal((await ada.get(`/api/projects?${query}`)).status, 400, query);
});

test('the workspace is named by header, by query, or is the only one', { skip }, async (t) => {
  const { ada } = await start(t);
  const nowhere = ada.with({ workspace: null });
  assert.equal((await nowhere.get('/api/projects')).status, 200);
  const second = await ada.must(201, ada.post('/api/workspaces', { name: 'Second' }));
  const several = await nowhere.get('/api/projects');
  assert.equal(several.status, 400);
  assert.match(several.json.detail, /X-Catalyst-Workspace/);
  assert.equal((await nowhere.get(`/api/projects?workspace=${second.id}`)).status, 200);
  assert.equal((await ada.with({ workspace: second.id }).get('/api/projects')).status, 200);
  assert.equal((await ada.with({ workspace: 'nonsense' }).get('/api/projects')).status, 400);
  assert.equal((await ada.with({ workspace: '0199f3a2-7c1e-7bbb-8a6e-2f1d9c0b4e55' }).get('/api/projects')).status, 404);
});

test('requests beyond the rate get 429 with the time to wait', { skip }, async (t) => {
  const { ada } = await start(t, { api: { rate_per_minute: 30, rate_per_address_per_minute: 0 } });
  let answer;
  for (let i = 0; i < 40; i++) {
    answer = await ada.get('/api/projects');
    if (answer.status !== 200) break;
    assert.match(answer.headers.get('ratelimit-policy'), /^"principal";q=30;w=60$/);
    assert.match(answer.headers.get('ratelimit'), /^"principal";r=\d+;t=\d+$/);
  }
  assert.deepEqual([answer.status, answer.code], [429, 'rate_limited']);
  assert.ok(Number(answer.headers.get('retry-after')) >= 1);
  assert.match(answer.headers.get('ratelimit'), /;r=0;/);
});

test('an address has a rate of its own, also without credentials', { skip }, async (t) => {
  const catalyst = await startCatalyst(t, { config: { ...config, api: { rate_per_address_per_minute: 10 } } });
  const stranger = new Caller(catalyst.origin);
  const statuses = [];
  for (let i = 0; i < 12; i++) statuses.push((await stranger.get('/api/projects')).status);
  assert.deepEqual([...new Set(statuses)], [401, 429]);
});

test('a slow body harms nobody, one that stops is given up', { skip }, async (t) => {
  const { catalyst, ada } = await start(t, { limits: { body_grace_ms: '300ms', body_min_rate: '100KiB' } });
  const body = JSON.stringify({ name: 'slow' });
  const bytes = request('POST', '/api/projects', { ...ada.headers('POST'), 'Content-Type': 'application/json', Host: `127.0.0.1:${catalyst.port}` }, body);
  const slow = await RawConnection.open(catalyst.port);
  await slow.sendPieces(Array.from(bytes, (_, i) => bytes.subarray(i, i + 1)));
  assert.equal((await slow.readAnswer()).status, 201);
  slow.close();
  const stopped = await RawConnection.open(catalyst.port);
  await stopped.send(bytes.subarray(0, bytes.length - 5));
  assert.equal((await stopped.readAnswer()).status, 408);
  stopped.close();
  assert.deepEqual(await names(ada), ['slow']);
});

test('a client that is gone before the answer leaves a change that is done or not, and a server that goes on', { skip }, async (t) => {
  const { catalyst, ada } = await start(t);
  for (let i = 0; i < 30; i++) {
    const c = await RawConnection.open(catalyst.port);
    const headers = { ...ada.headers('POST'), 'Content-Type': 'application/json', Host: `127.0.0.1:${catalyst.port}` };
    await c.send(request('POST', '/api/projects', headers, JSON.stringify({ name: `gone ${i}` })));
    c.reset();
  }
  await until('the requests to be over', async () => {
    const metrics = await (await fetch(`${catalyst.origin}/metrics`)).text();
    return /catalyst_pool_running\{pool="api"\} 0\n/.test(metrics) && /catalyst_pool_queued\{pool="api"\} 0\n/.test(metrics);
  });
  assert.equal((await ada.post('/api/projects', { name: 'after' })).status, 201);
  assert.ok((await names(ada)).includes('after'));
});

test('pipelined requests are answered in order', { skip }, async (t) => {
  const { catalyst, ada } = await start(t);
  const headers = { ...ada.headers('POST'), 'Content-Type': 'application/json', Host: `127.0.0.1:${catalyst.port}` };
  const c = await RawConnection.open(catalyst.port);
  await c.send(Buffer.concat(['a', 'b', 'c'].map((name) => request('POST', '/api/projects', headers, JSON.stringify({ name })))));
  for (const name of ['a', 'b', 'c']) {
    const answer = await c.readAnswer();
    assert.equal(answer.status, 201);
    assert.equal(answer.json().name, name);
  }
  c.close();
});

test('the contract is public, is what the program prints, and names every endpoint that answers', { skip }, async (t) => {
  const { catalyst } = await start(t);
  const served = (await new Caller(catalyst.origin).get('/api/openapi.json')).json;
  const { code, stdout } = await runCatalyst(['openapi']);
  assert.equal(code, 0);
  assert.equal(served.openapi, '3.1.0');
  assert.deepEqual(JSON.parse(stdout), served);
  const operations = Object.entries(served.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, o]) => [method, path, o]));
  assert.ok(operations.length > 20);
  assert.equal(new Set(operations.map(([, , o]) => o.operationId)).size, operations.length);
  for (const [method, path, operation] of operations) {
    assert.ok(operation['x-permission'], `${method} ${path}`);
    assert.ok(operation.summary, `${method} ${path}`);
    const answer = await exchange(
      catalyst.port,
      request(method.toUpperCase(), path.replaceAll(/\{\w+\}/g, '0199f3a2-7c1e-7bbb-8a6e-2f1d9c0b4e55'), { Connection: 'close' }, method === 'get' ? null : ''),
    );
    assert.notEqual(answer.status, 405, `${method} ${path}`);
    assert.notEqual(answer.status, 500, `${method} ${path}`);
    if (operation.security.length > 0) assert.equal(answer.status, 401, `${method} ${path}`);
  }
});

test('answers under way are finished when the server stops', { skip }, async (t) => {
  const { catalyst, ada } = await start(t);
  const calls = Array.from({ length: 50 }, (_, i) => ada.post('/api/projects', { name: `p${i}` }).catch((error) => error));
  await Promise.race(calls);
  const { code } = await catalyst.stop();
  assert.equal(code, 0);
  for (const answer of await Promise.all(calls)) if (!(answer instanceof Error)) assert.equal(answer.status, 201);
});
