// anchors.test.mjs - heads of the log go to places outside the database. What holds for every kind of anchor: it gets signed heads, an
// outage is told of honestly (report, metric, doctor), what was missed is caught up with, and a server on an older copy is refused.

import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { existsSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { owner, QUICK_PASSWORDS } from '../lib/api.mjs';
import { DatabaseCopy } from '../lib/audit_copy.mjs';
import { leafOf, notesOf, openHead, readKey, readSegment } from '../lib/audit_verify.mjs';
import { NO_BINARY, startCatalyst, stopAtEnd, temporaryFolder } from '../lib/catalyst.mjs';
import { defer, scope } from '../lib/defer.mjs';
import { sealedLog } from '../lib/rebuild.mjs';
import { until } from '../lib/wait.mjs';

const { default: S3rver } = await import('s3rver').catch(() => ({}));
const KEYS = { access_key: 'S3RVER', secret_key: 'S3RVER' };
const SECRET = 'turnips are not beets';
const MOST_PAUSE_MS = 20_000;

const listen = (server, port = 0) => new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve(server.address().port)));
const close = (server) => new Promise((resolve) => (server.closeAllConnections?.(), server.close(resolve)));

/** A receiver behind a port, which can go away and come back. make(): a new server of it. */
async function comeAndGo(t, make) {
  let server = make();
  const port = await listen(server);
  const place = {
    port,
    down: async () => (await close(server), (server = null)),
    up: async () => void (await listen((server = make()), port)),
  };
  defer(t, () => server && close(server));
  return place;
}

const web = (t, answer) =>
  comeAndGo(t, () =>
    createServer(async (request, response) => {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const { status = 200, body = '' } = answer(request, Buffer.concat(chunks));
      response.writeHead(status).end(body);
    }),
  );

/** AWS Signature Version 4, from its documentation: every x-amz- field must be under it. */
function isSigned({ method, url, headers }, body) {
  const hmac = (key, text) => createHmac('sha256', key).update(text).digest();
  const sha256 = (data) => createHash('sha256').update(data).digest('hex');
  const m = headers.authorization?.match(/^AWS4-HMAC-SHA256 Credential=([^/]+)\/((\d{8})\/([^/]+)\/(s3)\/aws4_request), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/);
  if (!m) return false;
  const [, id, scope, day, region, service, names, signature] = m;
  const signed = names.split(';');
  if (id !== KEYS.access_key || Object.keys(headers).some((n) => (n.startsWith('x-amz-') || n === 'host') && !signed.includes(n))) return false;
  if (headers['x-amz-content-sha256'] !== sha256(body)) return false;
  const canonical = [method, url, '', ...signed.map((n) => `${n}:${headers[n].trim()}`), '', names, headers['x-amz-content-sha256']].join('\n');
  const text = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, sha256(canonical)].join('\n');
  const key = [day, region, service, 'aws4_request'].reduce(hmac, `AWS4${KEYS.secret_key}`);
  return hmac(key, text).toString('hex') === signature;
}

/** kind: {name, config, notes(): heads that arrived, down(), up()}; segments(): those that arrived. */
const KINDS = {
  async file(t) {
    const folder = path.join(temporaryFolder(t), 'elsewhere');
    return {
      config: { kind: 'file', path: folder, segments: true },
      notes: () => notesOf(readFileSync(path.join(folder, 'heads')).toString()),
      segments: () => readdirSync(path.join(folder, 'segments')).sort().map((name) => readFileSync(path.join(folder, 'segments', name))),
      down: () => (renameSync(folder, `${folder}.away`), writeFileSync(folder, 'a file')),
      up: () => (rmSync(folder), renameSync(`${folder}.away`, folder)),
    };
  },

  /** An S3 server by others, which looks at neither signatures (of version 4) nor object lock. */
  async s3rver(t) {
    const directory = temporaryFolder(t);
    let server;
    const run = async (port) => {
      server = new S3rver({ address: '127.0.0.1', port, silent: true, directory, configureBuckets: [{ name: 'audit' }] });
      return (await server.run()).port;
    };
    const port = await run(0);
    defer(t, () => server && server.close());
    const objects = (prefix) =>
      readdirSync(path.join(directory, 'audit'), { recursive: true })
        .filter((name) => name.startsWith(prefix) && name.endsWith('._S3rver_object'))
        .sort()
        .map((name) => readFileSync(path.join(directory, 'audit', name)));
    return {
      config: { kind: 's3', url: `http://127.0.0.1:${port}/audit`, prefix: 'log/of-one', ...KEYS, segments: true },
      notes: () => objects('log/of-one/heads/').map(String),
      segments: () => objects('log/of-one/segments/'),
      down: async () => (await server.close(), (server = null)),
      up: () => run(port),
    };
  },

  /** A bucket with object lock: it takes only what is signed, and only objects that are locked for as long as was set, with a checksum. */
  async locked(t) {
    const objects = new Map();
    const place = await web(t, (request, body) => {
      const name = request.url;
      if (!isSigned(request, body)) return { status: 403, body: '<Error><Code>SignatureDoesNotMatch</Code></Error>' };
      if (request.method === 'GET') return objects.has(name) ? { body: objects.get(name) } : { status: 404 };
      const h = request.headers;
      const days = (Date.parse(h['x-amz-object-lock-retain-until-date']) - Date.now()) / 86_400_000;
      const isLocked = h['x-amz-object-lock-mode'] === 'COMPLIANCE' && days > 29.9 && days < 30.1;
      const isWhole = h['x-amz-checksum-sha256'] === createHash('sha256').update(body).digest('base64');
      if (!isLocked || !isWhole) return { status: 400, body: '<Error><Code>InvalidRequest</Code></Error>' };
      objects.set(name, body);
      return {};
    });
    return {
      ...place,
      config: { kind: 's3', url: `http://127.0.0.1:${place.port}/locked`, retain_days: 30, ...KEYS },
      notes: () => [...objects].filter(([name]) => name.startsWith('/locked/catalyst-audit/heads/')).map(([, body]) => body.toString()),
    };
  },

  async webhook(t) {
    const notes = [];
    const place = await web(t, (request, body) => {
      const [, seconds, mac] = request.headers['x-catalyst-signature'].match(/^t=(\d+),v1=([0-9a-f]{64})$/);
      const mine = createHmac('sha256', SECRET).update(`${seconds}.${body}`).digest('hex');
      if (mac !== mine || Math.abs(Date.now() / 1000 - seconds) > 60) return { status: 403 };
      const said = JSON.parse(body);
      assert.equal(said.note.split('\n')[1], String(said.size));
      assert.equal(Buffer.from(said.note.split('\n')[2], 'base64').toString('hex'), said.root);
      notes.push(said.note);
      return {};
    });
    return { ...place, config: { kind: 'webhook', url: `http://127.0.0.1:${place.port}/heads`, secret: SECRET }, notes: () => notes };
  },

  async tcp(t) {
    const notes = [];
    const place = await comeAndGo(t, () =>
      createTcpServer((socket) => {
        let text = '';
        socket.on('error', () => {}).on('data', (piece) => {
          text += piece;
          for (let m; (m = text.match(/^(\d+) /)) && text.length >= m[0].length + Number(m[1]); ) {
            notes.push(noteOfLine(text.slice(m[0].length, m[0].length + Number(m[1]))));
            text = text.slice(m[0].length + Number(m[1]));
          }
        });
      }),
    );
    return { ...place, config: { kind: 'syslog', url: `tcp://127.0.0.1:${place.port}` }, notes: () => notes };
  },

  /** Nobody confirms a datagram, so an outage is not noticed. */
  async udp(t) {
    const notes = [];
    const socket = createSocket('udp4').on('message', (line) => notes.push(noteOfLine(line.toString())));
    const port = await new Promise((resolve) => socket.bind(0, '127.0.0.1', () => resolve(socket.address().port)));
    defer(t, () => socket.close());
    return { config: { kind: 'syslog', url: `udp://127.0.0.1:${port}` }, notes: () => notes, isBlind: true };
  },
};

/** The note of a line of RFC 5424. */
function noteOfLine(line) {
  const m = line.match(/^<109>1 (\S+) \S+ catalyst \d+ audit\.head \[head@32473 origin="[^"]+" size="\d+" root="[0-9a-f]{64}" note="([^"]+)"\] head of \d+ events$/);
  assert.ok(m && !Number.isNaN(Date.parse(m[1])), line);
  return Buffer.from(m[2], 'base64').toString();
}

describe('anchors', { skip: NO_BINARY || (!S3rver && 'npm s3rver is not installed') }, () => {
  const suite = scope();
  const kinds = {};
  let catalyst, ada;
  let n = 0;

  const make = () => ada.must(201, ada.post('/api/projects', { name: `project ${++n}` }));
  const report = async () => Object.fromEntries((await ada.must(200, ada.get('/api/audit/anchors'))).items.map((a) => [a.name, a]));
  const newest = async () => (await ada.must(200, ada.get('/api/audit/heads?tree=instance&limit=1'))).items[0];
  const keys = () => readFileSync(path.join(catalyst.dataDir, 'audit', 'keys')).toString().trim().split('\n').map(readKey);
  const sizes = (kind) => kind.notes().map((note) => openHead(note, keys()).size);
  const allHave = async (names = Object.keys(kinds)) => {
    await make();
    await until('everything to be signed', async () => (await newest()).size === (await sealedLog(catalyst)).length);
    return until('the newest head to be at every anchor', async () => {
      const [head, said] = [await newest(), await report()];
      return names.every((name) => sizes(kinds[name]).includes(head.size) && said[name].head_size === head.size) && { head, said };
    }, { deadline_ms: MOST_PAUSE_MS });
  };

  before(async () => {
    for (const [name, open] of Object.entries(KINDS)) kinds[name] = { name, ...(await open(suite)) };
    const wrong = { ...kinds.locked.config, name: 'wrong', secret_key: 'not the key' };
    const anchors = [...Object.values(kinds).map(({ name, config }) => ({ name, ...config })), wrong];
    const config = { loops: 1, identity: QUICK_PASSWORDS, audit: { head_interval_ms: '100ms', anchors } };
    catalyst = await startCatalyst(suite, { config });
    ada = await owner(catalyst);
  });
  after(() => suite.end());

  test('every anchor gets signed heads, and says how far it is', async () => {
    const { head, said } = await allHave();
    for (const kind of Object.values(kinds)) {
      const view = said[kind.name];
      assert.deepEqual([view.kind, view.is_configured, view.failing_since, view.error], [kind.config.kind, true, null, null], kind.name);
      assert.equal(view.head_at, head.signed_at);
      assert.ok(Date.parse(view.tried_at) >= Date.parse(head.signed_at));
      assert.equal(view.has_segments, kind.segments !== undefined);
      assert.equal(view.segment_number, kind.segments ? head.size : 0);
      for (const note of kind.notes()) assert.ok(openHead(note, keys()).size <= head.size);
    }
    for (const kind of [kinds.file, kinds.s3rver]) {
      const records = kind.segments().flatMap((bytes) => readSegment(bytes).records);
      const log = await sealedLog(catalyst);
      assert.deepEqual(records.map((r) => r.bytes.toString()), log.slice(0, records.length).map((e) => e.bytes.toString()));
      assert.ok(records.length >= head.size && records.every((r) => leafOf(r.bytes).equals(r.leaf)));
    }
  });

  test('an anchor that never worked says since when and why', async () => {
    const { wrong } = await until('it to fail', async () => ((r) => r.wrong?.failing_since && r)(await report()));
    assert.equal(wrong.head_size, 0);
    assert.equal(wrong.head_at, null);
    assert.match(wrong.error, /403 SignatureDoesNotMatch/);
    assert.ok(!wrong.error.includes('not the key'));
    assert.ok(wrong.behind > 0);
  });

  test('an outage is told of, and what was missed is caught up with', async () => {
    const { head } = await allHave();
    const seeing = Object.values(kinds).filter((kind) => !kind.isBlind);
    for (const kind of seeing) await kind.down();
    await make();
    const failing = await until('all of them to fail', async () => {
      const said = await report();
      return seeing.every(({ name }) => said[name].failing_since !== null) && said;
    });
    for (const { name } of seeing) {
      assert.equal(failing[name].head_size, head.size, name);
      assert.ok(failing[name].behind > 0 && failing[name].error.length > 5, name);
      assert.ok(Date.parse(failing[name].failing_since) > Date.parse(head.signed_at), name);
    }
    assert.equal(failing.udp.failing_since, null);
    const metrics = await (await fetch(`${catalyst.origin}/metrics`)).text();
    const told = (name) => Number(metrics.match(new RegExp(`catalyst_audit_anchor_failing\\{anchor="${name}"\\} (\\d)`))?.[1]);
    for (const { name } of seeing) assert.equal(told(name), 1, name);
    assert.equal(told('udp'), 0);
    const { stdout } = await catalyst.run(['doctor', '--json']);
    const findings = JSON.parse(stdout).checks.filter((f) => f.about === 'audit anchors');
    assert.equal(findings.length, Object.keys(kinds).length + 1);
    for (const { name } of seeing)
      assert.ok(findings.some((f) => f.state === 'warn' && f.detail.startsWith(`${name} (`) && f.detail.includes('failing since')), name);
    assert.ok(findings.some((f) => f.state === 'ok' && f.detail.startsWith('udp (syslog)')));
    const known = await catalyst.run(['audit', 'head', '--anchors']);
    assert.match(known.stdout, /# anchor webhook \(webhook\): has the head over \d+ events; failing since/);
    for (const kind of seeing) await kind.up();
    const { said } = await allHave();
    for (const { name } of seeing) assert.deepEqual([said[name].failing_since, said[name].error], [null, null], name);
    for (const kind of [kinds.file, kinds.s3rver]) {
      const numbers = kind.segments().flatMap((bytes) => readSegment(bytes).records.map((r) => r.number));
      assert.deepEqual([...new Set(numbers)].sort((a, b) => a - b), numbers.map((_, i) => i + 1), 'no event is missing, and none there twice');
    }
  });

  test('what was sent last is there when the server ends, and an older copy of the database is refused by any anchor that can be read', async (t) => {
    await catalyst.stop();
    const older = await DatabaseCopy.of(t, catalyst);
    await catalyst.start().ready();
    ada = ada.with({ origin: catalyst.origin });
    await make();
    await catalyst.stop();
    const last = openHead(readFileSync(path.join(catalyst.dataDir, 'audit', 'head')).toString(), keys()).size;
    for (const kind of Object.values(kinds)) await until(`${kind.name} to have it`, () => sizes(kind).includes(last));
    const whole = readFileSync(catalyst.configFile).toString();
    for (const name of ['file', 's3rver', 'locked']) {
      const only = whole.split(/\n(?= *- )/).filter((part, i) => i === 0 || part.includes(`name: ${name}\n`));
      writeFileSync(older.configFile, `${only.join('\n')}\n`);
      rmSync(path.join(older.dataDir, 'audit'), { recursive: true, force: true }); // whoever puts an old copy back, does that too
      stopAtEnd(t, older);
      await older.start().ended;
      assert.notEqual(older.exit.code, 0, name);
      assert.match(older.stderr, new RegExp(`The head is in the anchor ${name}`));
      assert.ok(!existsSync(path.join(older.dataDir, 'audit', 'head')));
    }
  });
});
