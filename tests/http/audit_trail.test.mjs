// audit_trail.test.mjs - the log proves itself: heads and proofs hold by a second verifier, written from the RFC alone; every way to tamper
// with the database or with an export is found, and the first bad record is named, by the program and by the second verifier alike.

import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, sign as signWith } from 'node:crypto';
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { newMember, owner, QUICK_PASSWORDS } from '../lib/api.mjs';
import { DatabaseCopy, ExportCopy } from '../lib/audit_copy.mjs';
import { consistencyHolds, firstBad, inclusionHolds, leafOf, notesOf, openHead, readExport, readKey, rootOf } from '../lib/audit_verify.mjs';
import { NO_BINARY, startCatalyst, stopAtEnd, temporaryFolder } from '../lib/catalyst.mjs';
import { scope } from '../lib/defer.mjs';
import { ENGINES, startPostgres } from '../lib/postgres.mjs';
import { change, query, sealedLog } from '../lib/rebuild.mjs';
import { until } from '../lib/wait.mjs';

const CONFIG = {
  loops: 1,
  identity: QUICK_PASSWORDS,
  audit: { head_interval_ms: '100ms' },
  api: { rate_per_minute: 0, rate_per_address_per_minute: 0 },
};

for (const [engine, skip] of ENGINES) {
  describe(`the audit trail: ${engine}`, { skip: NO_BINARY || skip }, () => {
    const suite = scope();
    const isPostgres = engine === 'PostgreSQL';
    const N = isPostgres ? 40 : 270; // more than a tile holds, once
    let catalyst, ada, second, ended, older, whole, at; // whole: what is in the copy `ended`

    const make = (caller, name) => caller.must(201, caller.post('/api/projects', { name }));
    const heads = async (caller, tree = 'workspace') => (await caller.must(200, caller.get(`/api/audit/heads?tree=${tree}&limit=200`))).items;
    const allSigned = (c = catalyst) =>
      until('everything to be signed', async () => {
        const [row] = await query(c, `SELECT (SELECT count(*) FROM audit_trees WHERE head_size < size) AS unsigned_trees,
          (SELECT count(*) FROM events WHERE number IS NULL) AS unsealed, (SELECT max(number) FROM events) - (SELECT max(size) FROM audit_trees) AS behind`);
        return row.unsigned_trees == 0 && row.unsealed == 0 && row.behind == 0;
      });

    before(async () => {
      const database = isPostgres ? await (await startPostgres(suite)).database() : undefined;
      catalyst = await startCatalyst(suite, { config: CONFIG, env: database ? { CATALYST_DATABASE__URL: database } : {} });
      catalyst.databaseUrl = database;
      ada = await owner(catalyst);
      second = ada.with({ workspace: (await ada.must(201, ada.post('/api/workspaces', { name: 'Second' }))).id });
      for (let i = 0; i < N; i += 10) {
        await Promise.all(Array.from({ length: 9 }, (_, k) => make(ada, `p ${i + k}`)));
        await make(second, `q ${i}`);
        if (i % 30 === 0) await allSigned();
      }
      await allSigned();
    });
    after(() => suite.end());

    test('heads go on from each other, and every event is proved to be in its workspace and in the instance', async () => {
      const log = await sealedLog(catalyst);
      for (const [caller, tree, events] of [
        [ada, 'workspace', log.filter((e) => e.event.workspace === ada.workspace)],
        [second, 'workspace', log.filter((e) => e.event.workspace === second.workspace)],
        [ada, 'instance', log],
      ]) {
        const leaves = events.map((e) => leafOf(e.bytes));
        const signed = (await heads(caller, tree)).map((h) => ({ ...h, ...openHead(h.note, [readKey(h.key)]) })).reverse();
        assert.ok(signed.length > 1);
        for (const h of signed) assert.ok(rootOf(leaves.slice(0, h.size)).equals(h.root), `the head over ${h.size}`);
        for (const [i, h] of signed.entries()) {
          const from = signed[Math.max(0, i - 1)];
          const p = await caller.must(200, caller.get(`/api/audit/proof?tree=${tree}&from=${from.size}&to=${h.size}`));
          const hashes = p.hashes.map((x) => Buffer.from(x, 'hex'));
          assert.ok(consistencyHolds(from.size, from.root, h.size, h.root, hashes), `from ${from.size} to ${h.size}`);
          assert.ok(!consistencyHolds(from.size, from.root, h.size, leafOf(Buffer.of()), hashes));
        }
        const last = signed.at(-1);
        for (let number = 1; number <= last.size; number += 1 + Math.floor(last.size / 12)) {
          const p = await caller.must(200, caller.get(`/api/audit/proof?tree=${tree}&number=${number}&to=${last.size}`));
          const hashes = p.hashes.map((x) => Buffer.from(x, 'hex'));
          assert.equal(p.origin, last.origin);
          assert.ok(inclusionHolds(leaves[number - 1], number - 1, last.size, hashes, last.root), `event ${number} of ${last.size}`);
          assert.ok(!inclusionHolds(leaves[number % last.size], number - 1, last.size, hashes, last.root));
        }
      }
    });

    test('a workspace gets no head and no proof of another, nor of the instance', async () => {
      const bob = await newMember(second, 'admin');
      const viewer = await newMember(ada, 'viewer');
      const spy = bob.with({ workspace: ada.workspace });
      for (const path of ['heads', 'proof?number=1', 'proof?from=1', 'anchors']) {
        assert.equal((await spy.get(`/api/audit/${path}`)).status, 404, path);
        assert.equal((await viewer.get(`/api/audit/${path}`)).status, 403, path);
      }
      assert.equal((await spy.post('/api/audit/verify', {})).status, 404);
      for (const path of ['heads?tree=instance', 'proof?tree=instance&number=1', 'proof?tree=instance&from=1'])
        assert.equal((await bob.get(`/api/audit/${path}`)).status, 403, path);
      assert.equal((await bob.post('/api/audit/verify', { tree: 'instance' })).status, 403);
      // What he is given is of his own workspace, whatever number he asks for.
      const [head] = await heads(bob);
      assert.ok(head.note.split('\n')[0].endsWith(`/${second.workspace}`));
      assert.equal((await bob.get(`/api/audit/proof?number=${head.size + 1000}`)).status, 404);
      assert.equal((await bob.get('/api/audit/proof?number=1&from=1')).status, 400);
      assert.equal((await bob.get('/api/audit/proof?number=0')).status, 400);
      const own = await bob.must(200, bob.get('/api/audit/proof?number=1'));
      const others = await ada.must(200, ada.get('/api/audit/proof?number=1'));
      assert.notEqual(own.leaf, others.leaf);
    });

    test('a job verifies the log, and tells in the log what it found', async () => {
      for (const tree of ['workspace', 'instance']) {
        const { job: { id } } = await ada.must(202, ada.post('/api/audit/verify', { tree }));
        const job = await until('the verification', async () => {
          const j = await ada.must(200, ada.get(`/api/jobs/${id}`));
          return !['queued', 'running'].includes(j.state) && j;
        });
        assert.equal(job.state, 'succeeded', JSON.stringify(job));
        assert.equal(job.result.ok, true, JSON.stringify(job.result));
        assert.ok(job.result.boxes_opened > 0 && job.result.heads > 1);
      }
      const seen = await until('the event', async () => (await ada.must(200, ada.get('/api/audit/logs?action=audit.verified'))).items.length === 2);
      assert.ok(seen);
    });

    test('head, proof and export of the command line agree with the second verifier', async (t) => {
      await allSigned();
      const env = catalyst.env;
      const head = await catalyst.run(['audit', 'head'], { env });
      const keys = readFileSync(path.join(catalyst.dataDir, 'audit', 'keys')).toString().trim().split('\n').map(readKey);
      const { size, root, origin } = openHead(head.stdout, keys);
      assert.equal(origin, keys[0].name);
      const proof = JSON.parse((await catalyst.run(['audit', 'proof', '7'], { env })).stdout);
      assert.ok(inclusionHolds(Buffer.from(proof.leaf, 'hex'), 6, proof.size, proof.hashes.map((x) => Buffer.from(x, 'hex')), Buffer.from(proof.root, 'hex')));
      const grown = JSON.parse((await catalyst.run(['audit', 'proof', '--from', '9', '--to', String(size)], { env })).stdout);
      const hashes = grown.hashes.map((x) => Buffer.from(x, 'hex'));
      assert.ok(consistencyHolds(9, Buffer.from(grown.from_root, 'hex'), size, root, hashes));
      for (const workspace of [null, ada.workspace]) {
        const folder = path.join(temporaryFolder(t), 'log');
        const only = workspace ? ['--workspace', workspace] : [];
        const done = await catalyst.run(['audit', 'export', folder, ...only], { env });
        assert.equal(done.code, 0, done.stderr);
        const verified = await catalyst.run(['audit', 'verify', folder, '--json', '--threads', '2']);
        assert.equal(verified.code, 0, verified.stdout + verified.stderr);
        const log = readExport(folder);
        assert.equal(firstBad(log), null);
        const report = JSON.parse(verified.stdout);
        assert.equal(report.root, rootOf(log.records.map((r) => r.leaf)).toString('hex'));
        assert.equal(report.events, log.size);
        // It goes on where it stood.
        await make(ada, `one more for ${workspace}`);
        await allSigned();
        assert.equal((await catalyst.run(['audit', 'export', folder, ...only], { env })).code, 0);
        assert.ok(readExport(folder).size > log.size);
        assert.equal(firstBad(readExport(folder)), null);
        assert.equal((await catalyst.run(['audit', 'verify', folder])).code, 0);
      }
      assert.equal((await catalyst.run(['audit', 'verify', '/nowhere'])).code, 1);
      assert.equal((await catalyst.run(['audit', 'verify', '--threads', 'x'], { env })).code, 2);
      assert.equal((await catalyst.run(['audit', 'verify', '--workspace', 'x'], { env })).code, 2);
      assert.equal((await catalyst.run(['audit', 'proof'], { env })).code, 2);
      assert.equal((await catalyst.run(['audit', 'proof', String(size + 1e6)], { env })).code, 1);
    });

    // --- tampering ---

    /** Both verifiers on a copy of the database; what they found must be the same: {what, number}, or null. */
    async function verdict(copy, workspace = null, ...args) {
      const { code, stdout, stderr } = await copy.run(['audit', 'verify', '--json', ...(workspace ? ['--workspace', workspace] : []), ...args]);
      assert.notEqual(stdout, '', stderr);
      const { ok, first_bad } = JSON.parse(stdout);
      assert.equal(code, ok ? 0 : 1);
      const found = first_bad && { what: first_bad.what, number: first_bad.number };
      if (!args.length) assert.deepEqual(firstBad(await copy.read(workspace)), found, `the second verifier, and ${first_bad?.text}`);
      return found;
    }

    test('the log goes on from an older copy', async () => {
      await catalyst.stop();
      older = await DatabaseCopy.of(suite, catalyst);
      await catalyst.start().ready();
      ada = ada.with({ origin: catalyst.origin });
      second = second.with({ origin: catalyst.origin });
      await make(ada, 'later');
      await make(second, 'later');
      await allSigned();
      await catalyst.stop();
      ended = await DatabaseCopy.of(suite, catalyst);
      whole = await ended.read();
      const { records } = whole;
      // An event of Ada's workspace with two more of it behind it, and not one of the last.
      at = records.findIndex((r, i) => i > 18 && [0, 1, 2].every((k) => records[i + k].workspace === ada.workspace.replaceAll('-', ''))) + 1;
      assert.ok(at > 18 && at < records.length - 8);
      assert.equal(await verdict(ended), null);
      assert.equal(await verdict(ended, ada.workspace), null);
    });

    const other = (bytes) => Buffer.from(bytes.toString().replace('"status":"success"', '"status":"failure"'));
    const flipped = (bytes, i) => Object.assign(Buffer.from(bytes), { [i]: bytes[i] ^ 1 });
    const columns = 'workspace_id, at_us, type, actor_id, resource_type, resource_id';
    /** A forged event with the hash of its bytes, as a copy of another's row. */
    const forged = (c, r, id) => {
      const bytes = Buffer.from(r.bytes.toString().replace(r.id, id));
      return `INSERT INTO events (id, ${columns}, bytes, leaf, number, workspace_number) SELECT ${c.id(id.replaceAll('-', ''))}, ${columns}, ${c.blob(bytes)},
        ${c.blob(leafOf(bytes))}, ${r.numberInAll}, ${r.workspaceNumber} FROM events WHERE id = ${c.id(r.id.replaceAll('-', ''))}`;
    };
    const FRESH = '01900000-0000-7000-8000-0000000000aa';

    /** what is done to copy c, whose event `at` is r (its log: l); what must be found, and at which number (null: `at`). */
    const TAMPERINGS = {
      'a byte of an event is changed': ['edited', (c, r) => [`UPDATE events SET bytes = ${c.blob(flipped(r.bytes, 200))} WHERE number = ${at}`]],
      'a leaf hash is changed': ['edited', (c, r) => [`UPDATE events SET leaf = ${c.blob(flipped(r.leaf, 3))} WHERE number = ${at}`]],
      'an event is changed, and its hash made again': [
        'edited',
        (c, r) => [`UPDATE events SET bytes = ${c.blob(other(r.bytes))}, leaf = ${c.blob(leafOf(other(r.bytes)))} WHERE number = ${at}`],
      ],
      "an event is given another's id": ['edited', (c) => [`UPDATE events SET id = ${c.id(FRESH.replaceAll('-', ''))} WHERE number = ${at}`]],
      'an event is deleted': ['deleted', () => [`DELETE FROM events WHERE number = ${at}`]],
      'an event is deleted, and those after it numbered again': [
        'deleted',
        (c, r) => [`DELETE FROM events WHERE number = ${at}`, ...c.renumber(at + 1, -1, r)],
      ],
      'an event is inserted, and those after it numbered again': ['inserted', (c, r) => [...c.renumber(at, 1, r), forged(c, { ...r }, FRESH)]],
      'two events change their places': [
        'reordered',
        (c, r, l) => [
          `UPDATE events SET number = -1 WHERE number = ${at}`,
          `UPDATE events SET number = ${at}, workspace_number = ${r.workspaceNumber} WHERE number = ${at + 1}`,
          `UPDATE events SET number = ${at + 1}, workspace_number = ${l.records[at].workspaceNumber} WHERE number = -1`,
        ],
      ],
      'the last events are cut off': ['truncated', (c, r, l) => [`DELETE FROM events WHERE number > ${l.size - 3}`], (l) => l.size - 2],
      'the last events are cut off, with their leaves and heads': [
        'rolled_back',
        (c, r, l) => {
          const size = l.size - 2;
          const tile = l.tiles[`0/${Math.floor(size / 256)}`].subarray(0, (size % 256) * 32);
          const tree = c.id('0'.repeat(32));
          return [
            `DELETE FROM events WHERE number > ${size}`,
            `UPDATE audit_tiles SET hashes = ${c.blob(tile)} WHERE tree_id = ${tree} AND level = 0 AND number = ${Math.floor(size / 256)}`,
            `UPDATE audit_trees SET size = ${size}, head_size = (SELECT max(size) FROM audit_heads WHERE tree_id = ${tree} AND size <= ${size}) WHERE tree_id = ${tree}`,
            `DELETE FROM audit_heads WHERE tree_id = ${tree} AND size > ${size}`,
          ];
        },
        (l) => l.size - 1,
      ],
      'an event is changed, and all hashes and tiles made again': [
        'rewritten',
        async (c, r) => void (await c.rewrite(at, other(r.bytes))),
        (l) => Math.max(0, ...l.heads.map((h) => openHead(h, l.keys).size).filter((s) => s < at)) + 1,
      ],
      'a body is gone, and nothing says that it was dropped': ['body_lost', (c) => [`UPDATE events SET bytes = ${c.blob(Buffer.of())} WHERE number = ${at}`]],
      'a leaf in a tile is changed': [
        'tile',
        (c, r, l) => {
          const [n, i] = [Math.floor((at - 1) / 256), (at - 1) % 256];
          return [`UPDATE audit_tiles SET hashes = ${c.blob(flipped(l.tiles[`0/${n}`], i * 32))} WHERE level = 0 AND number = ${n} AND tree_id = ${c.id('0'.repeat(32))}`];
        },
      ],
      'a head is changed': [
        'head',
        (c, r, l) => {
          const note = l.heads.find((h) => openHead(h, l.keys).size > at);
          return [`UPDATE audit_heads SET note = '${note.replace(/\n\d+\n/, '\n5\n')}' WHERE note = '${note}'`];
        },
        () => 0,
      ],
      ...(isPostgres
        ? {}
        : {
            'an upper tile is changed': [
              'tile',
              (c, r, l) => [`UPDATE audit_tiles SET hashes = ${c.blob(flipped(l.tiles['1/0'], 0))} WHERE level = 1 AND tree_id = ${c.id('0'.repeat(32))}`],
              () => 0,
            ],
          }),
    };
    const inBoth = new Set(['an event is deleted', 'two events change their places', 'a byte of an event is changed']); // trees
    // What is read of a database is the same on both engines: PostgreSQL is tried with three of them.
    const onPostgres = /deleted, and those|leaves and heads|tiles made again/;
    const once = isPostgres ? () => {} : test;
    for (const [name, [what, tamper, numberOf]] of Object.entries(TAMPERINGS)) {
      if (isPostgres && !onPostgres.test(name)) continue;
      test(`${name}: found, and named`, async (t) => {
        const c = await DatabaseCopy.of(t, ended);
        const record = whole.records[at - 1];
        const statements = await tamper(c, record, whole);
        if (statements) await c.change(...statements);
        assert.deepEqual(await verdict(c), { what, number: numberOf ? numberOf(whole) : at });
        if (inBoth.has(name)) assert.deepEqual(await verdict(c, ada.workspace), { what, number: record.workspaceNumber });
      });
    }

    once('a thief of the database and the data folder who signs with a key of their own is found by what was kept elsewhere', async (t) => {
      const c = await DatabaseCopy.of(t, ended);
      const l = whole;
      await c.rewrite(at, other(l.records[at - 1].bytes));
      const { publicKey, privateKey } = generateKeyPairSync('ed25519');
      const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(12);
      const leaves = (await c.read()).records.map((r) => r.leaf);
      const origin = l.keys[0].name;
      const bytes = Buffer.concat([Buffer.of(1), raw]);
      const id = createHash('sha256').update(`${origin}\n`).update(bytes).digest().subarray(0, 4);
      const text = `${origin}\n${l.size}\n${rootOf(leaves.slice(0, l.size)).toString('base64')}\n`;
      const note = `${text}\n\u2014 ${origin} ${Buffer.concat([id, signWith(null, Buffer.from(text), privateKey)]).toString('base64')}\n`;
      const tree = c.id('0'.repeat(32));
      await c.change(
        `DELETE FROM audit_heads WHERE tree_id = ${tree} AND size < ${l.size}`,
        `UPDATE audit_heads SET note = '${note}' WHERE tree_id = ${tree}`,
        `UPDATE signing_keys SET public_key = ${c.blob(raw)} WHERE purpose = 'log'`,
      );
      assert.deepEqual(await verdict(c), { what: 'rolled_back', number: 1 });
      const folder = temporaryFolder(t);
      cpSync(path.join(c.dataDir, 'audit'), folder, { recursive: true });
      writeFileSync(path.join(c.dataDir, 'audit', 'head'), note);
      writeFileSync(path.join(c.dataDir, 'audit', 'keys'), `${origin}+${id.toString('hex')}+${bytes.toString('base64')}\n`);
      assert.equal(await verdict(c), null, 'within itself it is a log');
      const elsewhere = ['--head', path.join(folder, 'head'), '--keys', path.join(folder, 'keys')];
      assert.deepEqual(await verdict(c, null, ...elsewhere), { what: 'rolled_back', number: 1 });
      assert.deepEqual(firstBad({ ...(await c.read()), keys: l.keys, exported: l.exported }), { what: 'rolled_back', number: 1 });
    });

    test('an older copy is told by a head outside it, starts only when it is accepted, and the break stands in the log', async (t) => {
      const c = await DatabaseCopy.of(t, older, { folder: ended });
      const { size, records } = await older.read();
      assert.deepEqual(await verdict(c), { what: 'rolled_back', number: size + 1 });
      stopAtEnd(t, c);
      await c.start().ended;
      assert.notEqual(c.exit.code, 0);
      assert.match(c.stderr, /accept-restore/);
      assert.match(c.stderr, /ends at event/);
      assert.equal((await c.read()).records.length, records.length, 'nothing was added');
      assert.equal((await c.run(['audit', 'accept-restore'])).code, 2, 'it wants a reason');
      const accepted = await c.run(['audit', 'accept-restore', '--reason', 'the disk broke']);
      assert.equal(accepted.code, 0, accepted.stderr);
      assert.match(accepted.stdout, /— catalyst\//);
      await c.start().ready();
      const caller = ada.with({ origin: c.origin });
      await make(caller, 'after the restore');
      await allSigned(c);
      const [event] = (await sealedLog(c)).filter((e) => e.event.type === 'audit.restore_accepted');
      assert.equal(event.number, records.length + 1);
      assert.equal(event.event.metadata.reason, 'the disk broke');
      await c.stop();
      const again = await c.run(['audit', 'accept-restore', '--reason', 'twice']);
      assert.match(again.stdout, /^Nothing to accept/);
      assert.equal((await c.run(['audit', 'verify'])).code, 0);
      // What was lost still does not come out of it.
      const lost = await c.run(['audit', 'verify', '--head', path.join(ended.dataDir, 'audit', 'head'), '--json']);
      assert.equal(JSON.parse(lost.stdout).heads_given_up, 1);
      assert.equal(JSON.parse(lost.stdout).breaks, 1);
    });

    once('a running server that finds itself on an older copy appends nothing', async (t) => {
      const c = await DatabaseCopy.of(t, older);
      stopAtEnd(t, c);
      await c.start().ready();
      const caller = ada.with({ origin: c.origin });
      await make(caller, 'it still works');
      await allSigned(c);
      cpSync(path.join(ended.dataDir, 'audit', 'head'), path.join(c.dataDir, 'audit', 'head'));
      await c.logged('the alarm', (line) => line.event === 'audit_log_rolled_back');
      const refused = await caller.post('/api/projects', { name: 'no more' });
      assert.equal(refused.status, 503, refused.text);
      const [{ n }] = await query(c, `SELECT count(*) AS n FROM projects WHERE name = 'no more'`);
      assert.equal(Number(n), 0);
    });

    once('a log that is rewritten while the server runs is never signed again, and raises an alarm', async (t) => {
      const c = await DatabaseCopy.of(t, older);
      const l = await c.read();
      await c.change(`UPDATE events SET bytes = ${c.blob(flipped(l.records[at - 1].bytes, 150))} WHERE number = ${at}`);
      stopAtEnd(t, c);
      await c.start().ready(); // the heads do come out: what is wrong is found by the comparison that goes round and round
      await c.logged('the alarm', (line) => line.event === 'audit_log_rewritten' && line.number === at);
      const caller = ada.with({ origin: c.origin });
      const event = await until('the event', async () =>
        (await query(c, `SELECT number FROM events WHERE type = 'audit.rewritten' AND number IS NOT NULL`))[0],
      );
      assert.ok(event.number > l.size);
      const signed = Number((await query(c, 'SELECT count(*) AS n FROM audit_heads'))[0].n);
      await make(caller, 'goes on');
      await until('the tree to grow', async () => (await query(c, 'SELECT max(size) AS size FROM audit_trees'))[0].size > event.number);
      assert.match((await (await fetch(`${c.origin}/metrics`)).text()), /catalyst_audit_alarm 1/);
      await c.stop();
      assert.equal(Number((await query(c, 'SELECT count(*) AS n FROM audit_heads'))[0].n), signed);
      assert.deepEqual(await verdict(c), { what: 'edited', number: at });
    });

    // --- exports ---

    once('every way to tamper with an export is found, and the first bad record named', async (t) => {
        const folder = path.join(temporaryFolder(t), 'log');
        assert.equal((await ended.run(['audit', 'export', folder])).code, 0);
        const edited = (events, bytes) => (events[at - 1] = Buffer.concat([events[at - 1].subarray(0, 56), leafOf(bytes), bytes]));
        const number = (body) => body.readBigInt64LE(8);
        const renumbered = (body, by) => (body.writeBigInt64LE(number(body) + BigInt(by), 8), body);
        const ways = {
          'a byte of the file': ['edited', (x) => writeFileSync(x.segment, flipped(readFileSync(x.segment), readFileSync(x.segment).indexOf(x.events()[at - 1]) + 300))],
          'a byte of an event': ['edited', (x, e) => ((e[at - 1] = flipped(e[at - 1], 300)), x.write(e))],
          'a leaf hash': ['edited', (x, e) => ((e[at - 1] = flipped(e[at - 1], 60)), x.write(e))],
          'an event with its hash': ['edited', (x, e) => (edited(e, other(e[at - 1].subarray(88))), x.write(e))],
          'deleted': ['deleted', (x, e) => x.write(e.toSpliced(at - 1, 1))],
          'deleted and renumbered': ['deleted', (x, e) => x.write(e.toSpliced(at - 1, 1).map((b, i) => (i >= at - 1 ? renumbered(b, -1) : b)))],
          'inserted and renumbered': [
            'inserted',
            (x, e) => {
              const one = Buffer.from(e[at - 1].toString('latin1').replaceAll(dashless(e[at - 1]), FRESH), 'latin1');
              Buffer.from(FRESH.replaceAll('-', ''), 'hex').copy(one, 24);
              leafOf(one.subarray(88)).copy(one, 56);
              x.write([...e.slice(0, at - 1), one, ...e.slice(at - 1).map((b) => renumbered(b, 1))]);
            },
          ],
          'two in another order': ['reordered', (x, e) => ((e.splice(at - 1, 2, renumbered(e[at], -1), renumbered(e[at - 1], 1))), x.write(e))],
          'cut off': ['truncated', (x, e) => writeFileSync(x.segment, readFileSync(x.segment).subarray(0, readFileSync(x.segment).indexOf(e.at(-2)) + 9)), (l) => l.size - 1],
          'rewritten with hashes and tiles': [
            'rewritten',
            (x, e) => (edited(e, other(e[at - 1].subarray(88))), x.write(e), x.writeTiles(e)),
            (l) => Math.max(0, ...l.heads.map((h) => openHead(h, l.keys).size).filter((s) => s < at)) + 1,
          ],
          'a tile': [
            'tile',
            (x) => {
              const l = readExport(x.folder);
              const e = x.events();
              e[at - 1] = flipped(e[at - 1], 60);
              x.writeTiles(e);
              assert.ok(l.size > 256);
              const upper = path.join(x.folder, 'tile', '1', '000.p', '1');
              writeFileSync(upper, l.tile(1, 0));
            },
          ],
          'a head': ['head', (x) => writeFileSync(path.join(x.folder, 'heads'), readFileSync(path.join(x.folder, 'heads')).toString().replace(/\n\d+\n/, '\n3\n')), () => 0],
        };
        const dashless = (body) => body.subarray(24, 40).toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
        for (const [name, [what, tamper, numberOf]] of Object.entries(ways)) {
          const x = new ExportCopy(t, folder);
          tamper(x, x.events());
          const { code, stdout, stderr } = await ended.run(['audit', 'verify', x.folder, '--json']);
          assert.equal(code, 1, `${name}: ${stdout}${stderr}`);
          const { first_bad } = JSON.parse(stdout);
          const wanted = { what, number: numberOf ? numberOf(readExport(folder)) : at };
          assert.deepEqual({ what: first_bad.what, number: first_bad.number }, wanted, `${name}: ${first_bad.text}`);
          assert.deepEqual(firstBad(readExport(x.folder)), wanted, `${name}, by the second verifier`);
        }
        // An older export is whole in itself, and behind a head that lies elsewhere.
        const old = path.join(temporaryFolder(t), 'log');
        assert.equal((await older.run(['audit', 'export', old])).code, 0);
        assert.equal((await older.run(['audit', 'verify', old])).code, 0);
        const head = path.join(ended.dataDir, 'audit', 'head');
        const { code, stdout } = await older.run(['audit', 'verify', old, '--head', head, '--json']);
        assert.equal(code, 1);
        const log = readExport(old);
        const wanted = { what: 'rolled_back', number: log.size + 1 };
        assert.deepEqual((({ what, number }) => ({ what, number }))(JSON.parse(stdout).first_bad), wanted);
        assert.deepEqual(firstBad({ ...log, exported: notesOf(readFileSync(head).toString()) }), wanted);
        rmSync(path.join(old, 'manifest.json'));
        assert.equal((await older.run(['audit', 'verify', old])).code, 1);
        assert.ok(existsSync(old));
      });
  });
}
