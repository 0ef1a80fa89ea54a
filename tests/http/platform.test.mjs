// Settings of the database and feature flags, on both engines: what they change, who may, and what the log tells.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { QUICK_PASSWORDS, Caller, newMember, owner } from '../lib/api.mjs';
import { NO_BINARY, startCatalyst } from '../lib/catalyst.mjs';
import { scope } from '../lib/defer.mjs';
import { ENGINES, startPostgres } from '../lib/postgres.mjs';
import { exchange, request } from '../lib/raw.mjs';
import { sealedLog } from '../lib/rebuild.mjs';
import { until } from '../lib/wait.mjs';
import { toYaml } from '../lib/yaml.mjs';

const status = async (catalyst, target, fields) => (await exchange(catalyst.port, request('GET', target, fields))).status;
const LONG = { 'X-Long': 'x'.repeat(4000) };
const PLANTED = 'planted-token-7c1f';

const filesBelow = (dir) =>
  readdirSync(dir, { recursive: true })
    .map((name) => path.join(dir, name))
    .filter((file) => statSync(file).isFile());

for (const [engine, skip] of ENGINES) {
  describe(`settings and flags: ${engine}`, { skip: NO_BINARY || skip }, () => {
    const suite = scope();
    let postgres = null;
    before(async () => {
      if (engine === 'PostgreSQL') postgres = await startPostgres(suite);
    });
    after(() => suite.end());

    async function start(t, config = {}) {
      const url = postgres ? await postgres.database() : null;
      const env = url ? { CATALYST_DATABASE__URL: url } : {};
      const catalyst = await startCatalyst(t, { config: { loops: 2, identity: QUICK_PASSWORDS, ...config }, env });
      catalyst.databaseUrl = url;
      return { catalyst, ada: await owner(catalyst) };
    }

    const settingOf = (answer, key) => answer.settings.find((s) => s.key === key);

    test('settings take effect at once, lie below the file, and survive a restart', async (t) => {
      const { catalyst, ada } = await start(t, { limits: { headers: 90 } });
      const first = await ada.must(200, ada.get('/api/settings'));
      assert.deepEqual(
        (({ value, origin, type, is_in_database }) => ({ value, origin, type, is_in_database }))(settingOf(first, 'limits.head_bytes')),
        { value: '16KiB', origin: 'default', type: 'size', is_in_database: false },
      );
      assert.equal(settingOf(first, 'listen.address'), undefined, 'what takes effect at start is not settable');
      const values = { 'limits.head_bytes': 2048, 'limits.headers': 50, 'log.level': 'debug', 'outbound.no_proxy': ['a.test', 'b.test'] };
      const changed = await ada.must(200, ada.patch('/api/settings', { values }));
      assert.equal(settingOf(changed, 'limits.head_bytes').origin, 'database');
      assert.equal(settingOf(changed, 'outbound.no_proxy').value, 'a.test,b.test');
      const covered = settingOf(changed, 'limits.headers');
      assert.deepEqual([covered.value, covered.origin, covered.is_in_database], ['90', 'file', true]);
      assert.match(covered.where, /catalyst\.yaml:\d+$/);
      await until('the smaller limit', async () => (await status(catalyst, '/healthz', LONG)) === 431);

      const shown = await catalyst.run(['config', 'show', '--origin', '--json'], { env: catalyst.env });
      const json = JSON.parse(shown.stdout);
      assert.deepEqual(json.limits.head_bytes, { value: 2048, origin: 'database', where: 'database' });
      assert.equal(json.limits.headers.origin, 'file');

      await catalyst.stop();
      await catalyst.start().ready();
      assert.equal(await status(catalyst, '/healthz', LONG), 431, 'it is in force from the first request');
      const again = await ada.with({ origin: catalyst.origin });
      await again.must(200, again.patch('/api/settings', { values: { 'limits.head_bytes': null } }));
      await until('the default', async () => (await status(catalyst, '/healthz', LONG)) === 200);
      const replaced = await again.must(200, again.put('/api/settings', { values: { 'log.level': 'warn' } }));
      assert.deepEqual(
        replaced.settings.filter((s) => s.is_in_database).map((s) => s.key),
        ['log.level'],
      );
    });

    test('wrong settings are refused, all at once, and nothing changes', async (t) => {
      const { catalyst, ada } = await start(t);
      const refused = await ada.patch('/api/settings', {
        values: {
          'limits.head_bytes': 'many',
          'limits.haeders': 5,
          loops: 4,
          'log.level': ['debug'],
          'outbound.allow_addresses': 'a,b',
          'limits.headers': 60,
        },
      });
      assert.equal(refused.status, 400, refused.text);
      const fields = Object.fromEntries(refused.json.errors.map((e) => [e.field, e.message]));
      assert.deepEqual(Object.keys(fields).sort(), ['values.limits.haeders', 'values.limits.head_bytes', 'values.log.level', 'values.loops']);
      assert.match(fields['values.limits.haeders'], /did you mean 'limits\.headers'/);
      assert.match(fields['values.loops'], /only the file/);
      // what only a room can tell
      const proxy = await ada.patch('/api/settings', { values: { 'outbound.proxy': 'socks5://x:1' } });
      assert.equal(proxy.status, 400);
      assert.match(proxy.json.errors[0].message, /only http:\/\/ proxies/);
      assert.equal((await ada.patch('/api/settings', { values: [] })).status, 400);
      const now = await ada.must(200, ada.get('/api/settings'));
      assert.ok(now.settings.every((s) => !s.is_in_database));
      assert.ok(!catalyst.log.some((l) => l.event === 'config_reloaded'));
    });

    test('only an administrator of the instance sees and sets them, with a session', async (t) => {
      const { catalyst, ada } = await start(t);
      const bob = await newMember(ada, 'admin');
      const key = new Caller(catalyst.origin, { key: ada.made.api_key });
      const nobody = new Caller(catalyst.origin);
      for (const [caller, wanted] of [
        [bob, 403],
        [key, 403],
        [nobody, 401],
      ]) {
        assert.equal((await caller.get('/api/settings')).status, wanted, caller.name);
        assert.equal((await caller.put('/api/settings', { values: {} })).status, wanted, caller.name);
        assert.equal((await caller.patch('/api/settings', { values: { 'log.level': 'debug' } })).status, wanted, caller.name);
      }
    });

    test('a secret is sealed, works, and is nowhere to be read', async (t) => {
      const { catalyst, ada } = await start(t);
      const answer = await ada.must(200, ada.patch('/api/settings', { values: { 'metrics.token': PLANTED } }));
      assert.equal(settingOf(answer, 'metrics.token').value, '****');
      await until('the token', async () => (await status(catalyst, '/metrics', { Authorization: `Bearer ${PLANTED}` })) === 200);
      await ada.must(200, ada.patch('/api/settings', { values: { 'outbound.proxy': `http://u:${PLANTED}@127.0.0.1:9` } }));
      const shown = await catalyst.run(['config', 'show', '--origin'], { env: catalyst.env });
      assert.match(shown.stdout, /token: "\*\*\*\*" {2}# database/);
      const log = await sealedLog(catalyst);
      const events = log.filter(({ event }) => event.type === 'setting.changed').map(({ event }) => event);
      assert.deepEqual(
        events.map((e) => [e.after.key, e.after.value, typeof e.after.secret_fingerprint]),
        [
          ['metrics.token', null, 'string'],
          ['outbound.proxy', null, 'string'],
        ],
      );
      const metrics = await exchange(catalyst.port, request('GET', '/metrics', { Authorization: `Bearer ${PLANTED}` }));
      assert.ok(!metrics.body.includes(PLANTED));
      const texts = [catalyst.stderr, catalyst.stdout, shown.stdout, ...log.map((l) => l.bytes.toString())];
      assert.ok(texts.every((text) => !text.includes(PLANTED)));
      await catalyst.stop();
      for (const file of filesBelow(catalyst.dataDir)) assert.ok(!readFileSync(file).includes(PLANTED), file);
      await catalyst.start().ready();
      assert.equal(await status(catalyst, '/metrics', { Authorization: `Bearer ${PLANTED}` }), 200, 'it opens again');
    });

    test('the log says what each setting was and is', async (t) => {
      const { catalyst, ada } = await start(t);
      await ada.must(200, ada.patch('/api/settings', { values: { 'limits.headers': 60, 'log.level': 'debug' } }));
      await ada.must(200, ada.patch('/api/settings', { values: { 'limits.headers': 70 } }));
      await ada.must(200, ada.patch('/api/settings', { values: { 'limits.headers': 70 } })); // no change
      await ada.must(200, ada.put('/api/settings', { values: {} }));
      const events = (await sealedLog(catalyst)).map((l) => l.event).filter((e) => e.type.startsWith('setting.'));
      assert.deepEqual(
        events.map((e) => [e.type, e.before?.value ?? null, e.after?.value ?? null]),
        [
          ['setting.changed', null, '60'],
          ['setting.changed', null, 'debug'],
          ['setting.changed', '60', '70'],
          ['setting.removed', '70', null],
          ['setting.removed', 'debug', null],
        ],
      );
      assert.ok(events.every((e) => e.workspace === null));
      assert.equal(new Set(events.map((e) => e.resource.id)).size, 2, 'a setting keeps its id');
      const tag = (await ada.get('/api/settings')).headers.get('etag');
      await ada.must(200, ada.patch('/api/settings', { values: { 'limits.headers': 61 } }, { 'if-match': tag }));
      assert.equal((await ada.patch('/api/settings', { values: { 'limits.headers': 62 } }, { 'if-match': tag })).status, 412);
    });

    test('SIGHUP takes what the database and the file say then', async (t) => {
      const { catalyst, ada } = await start(t);
      await ada.must(200, ada.patch('/api/settings', { values: { 'limits.head_bytes': 2048 } }));
      writeFileSync(catalyst.configFile, toYaml({ loops: 2, identity: QUICK_PASSWORDS, limits: { head_bytes: 8192 } }), { mode: 0o600 });
      catalyst.signal('SIGHUP');
      await catalyst.logged('the reload', (l) => l.event === 'config_reloaded' && l.why === 'SIGHUP');
      await until('the file to win', async () => (await status(catalyst, '/healthz', LONG)) === 200);
      const now = await ada.must(200, ada.get('/api/settings'));
      assert.equal(settingOf(now, 'limits.head_bytes').origin, 'file');
    });

    const BY_ROLE = {
      state: 'ENABLED',
      variants: { on: true, off: false },
      defaultVariant: 'off',
      targeting: { if: [{ in: [{ var: 'role' }, ['owner', 'admin']] }, 'on', null] },
    };

    test('flags are made, changed, evaluated by role and deleted', async (t) => {
      const { catalyst, ada } = await start(t);
      const bob = await newMember(ada, 'developer');
      const made = await ada.must(201, ada.put('/api/flags/new-page', BY_ROLE));
      assert.deepEqual([made.name, made.version, made.targeting], ['new-page', 1, BY_ROLE.targeting]);
      await ada.must(201, ada.put('/api/flags/limit', { state: 'ENABLED', variants: { small: 1, large: 100 }, defaultVariant: 'small' }));
      await ada.must(201, ada.put('/api/flags/dark', { state: 'DISABLED', variants: { on: true }, defaultVariant: 'on' }));
      assert.deepEqual((await ada.must(200, ada.get('/api/flags/evaluate'))).flags, { dark: null, limit: 1, 'new-page': true });
      assert.deepEqual((await bob.must(200, bob.get('/api/flags/evaluate'))).flags, { dark: null, limit: 1, 'new-page': false });
      const { flags } = await bob.must(200, bob.get('/api/flags'));
      assert.deepEqual(flags['new-page'], BY_ROLE, 'exactly as flagd reads it');
      const again = await ada.put('/api/flags/new-page', BY_ROLE);
      assert.deepEqual([again.status, again.json.version], [200, 1], 'no change');
      const tag = again.headers.get('etag');
      const all = { ...BY_ROLE, targeting: null, defaultVariant: 'on' };
      await ada.must(200, ada.put('/api/flags/new-page', all, { 'if-match': tag }));
      assert.equal((await ada.put('/api/flags/new-page', BY_ROLE, { 'if-match': tag })).status, 412);
      assert.equal((await bob.must(200, bob.get('/api/flags/evaluate'))).flags['new-page'], true);
      assert.equal((await bob.put('/api/flags/new-page', BY_ROLE)).status, 403);
      assert.equal((await bob.delete('/api/flags/new-page')).status, 403);
      assert.equal((await ada.delete('/api/flags/limit')).status, 204);
      assert.equal((await ada.delete('/api/flags/limit')).status, 404);
      const events = (await sealedLog(catalyst)).map((l) => l.event).filter((e) => e.type.startsWith('flag.'));
      assert.deepEqual(
        events.map((e) => e.type),
        ['flag.created', 'flag.created', 'flag.created', 'flag.changed', 'flag.deleted'],
      );
      assert.deepEqual(events[3].before, { defaultVariant: 'off', targeting: BY_ROLE.targeting });
      assert.deepEqual(events[3].after, { defaultVariant: 'on', targeting: null });
    });

    test('flags of one workspace are not those of another', async (t) => {
      const { ada } = await start(t);
      await ada.must(201, ada.put('/api/flags/mine', BY_ROLE));
      const second = await ada.must(201, ada.post('/api/workspaces', { name: 'Second' }));
      const there = ada.with({ workspace: second.id });
      assert.deepEqual((await there.must(200, there.get('/api/flags'))).flags, {});
      assert.deepEqual((await there.must(200, there.get('/api/flags/evaluate'))).flags, {});
      assert.equal((await there.delete('/api/flags/mine')).status, 404);
      await there.must(201, there.put('/api/flags/mine', { ...BY_ROLE, state: 'DISABLED' }));
      assert.equal((await ada.must(200, ada.get('/api/flags/evaluate'))).flags.mine, true);
    });

    test('wrong flags are refused with the member that is wrong', async (t) => {
      const { ada } = await start(t);
      const rows = [
        ['bad name', BY_ROLE, 'name', /letters, digits/],
        ['f', { ...BY_ROLE, defaultVariant: 'none' }, 'defaultVariant', /one of the variants/],
        ['f', { ...BY_ROLE, variants: { on: true, off: 'x' } }, 'variants', /'off' is not/],
        ['f', { ...BY_ROLE, targeting: { unless: [1] } }, 'targeting', /'unless' is no operator/],
        ['f', { ...BY_ROLE, state: 'on' }, 'state', /ENABLED/],
        ['f', { ...BY_ROLE, targeting: { '==': ['x'.repeat(3000), 1] } }, 'targeting', /./],
      ];
      for (const [name, body, field, says] of rows) {
        const answer = await ada.put(`/api/flags/${encodeURIComponent(name)}`, body);
        assert.equal(answer.status, 400, answer.text);
        const error = answer.json.errors.find((e) => e.field === field);
        assert.ok(error, answer.text);
        assert.match(error.message, says);
      }
    });
  });
}
