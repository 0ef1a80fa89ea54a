// audit_copy.mjs - a log that somebody tampers with: copies of a database with its data folder, and of an export; what is in them, for the
// second verifier, and hands that rewrite them.

import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { leafOf, readKey, notesOf, tilePath, tilesOf } from './audit_verify.mjs';
import { Catalyst, temporaryFolder } from './catalyst.mjs';
import { sql } from './postgres.mjs';
import { change, query } from './rebuild.mjs';

const INSTANCE = '0'.repeat(32);
const bare = (id) => id.replaceAll('-', '');
export const dashed = (hex) => hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');

let n_copies = 0;

/** A database with its data folder, and no server on it. */
export class DatabaseCopy extends Catalyst {
  /** Of a Catalyst that is stopped, or of another copy. folder: of whose data folder, when it is another's. */
  static async of(t, from, { folder = from } = {}) {
    const dataDir = temporaryFolder(t);
    for (const name of readdirSync(folder.dataDir))
      if (name !== 'db') cpSync(path.join(folder.dataDir, name), path.join(dataDir, name), { recursive: true });
    let url;
    if (from.databaseUrl) {
      const [, name] = from.databaseUrl.match(/\/([^/?]+)\?/);
      const fresh = `copy${++n_copies}`;
      await sql(from.databaseUrl.replace(`/${name}?`, '/postgres?'), `CREATE DATABASE ${fresh} TEMPLATE ${name}`);
      url = from.databaseUrl.replace(`/${name}?`, `/${fresh}?`);
    } else cpSync(path.join(from.dataDir, 'db'), path.join(dataDir, 'db'), { recursive: true });
    const copy = new DatabaseCopy({ dataDir, env: url ? { CATALYST_DATABASE__URL: url } : {} });
    copy.databaseUrl = url;
    return copy;
  }

  run(args, options = {}) {
    return super.run(args, { env: this.env, ...options });
  }

  // How the engine writes things.
  blob(bytes) {
    return this.databaseUrl ? `'\\x${bytes.toString('hex')}'::bytea` : `x'${bytes.toString('hex')}'`;
  }
  id(hex) {
    return this.databaseUrl ? `'${dashed(hex)}'::uuid` : `x'${hex}'`;
  }
  hex(column) {
    return this.databaseUrl ? `encode(${column}, 'hex')` : `lower(hex(${column}))`;
  }
  idOf(column) {
    return this.databaseUrl ? `replace(${column}::text, '-', '')` : `lower(hex(${column}))`;
  }

  change(...statements) {
    return change(this, ...statements);
  }

  /** Numbers from `first` on move by so many, those of the instance and of the event's workspace. */
  renumber(first, by, record) {
    const w = `workspace_id = ${this.id(record.workspace)} AND workspace_number >= ${record.workspaceNumber}`;
    return [
      `UPDATE events SET workspace_number = workspace_number + ${by} WHERE ${w} AND number >= ${first}`,
      `UPDATE events SET number = -number WHERE number >= ${first}`,
      `UPDATE events SET number = -number + ${by} WHERE number < 0`,
    ];
  }

  /** What is in it, for firstBad. workspace: its tree instead of the instance's. */
  async read(workspace = null) {
    const tree = this.id(workspace ? bare(workspace) : INSTANCE);
    const of = workspace ? `AND workspace_id = ${tree}` : '';
    const rows = await query(
      this,
      `SELECT number, workspace_number, ${this.idOf('id')} AS id, ${this.idOf('workspace_id')} AS workspace, ${this.hex('bytes')} AS bytes,
         ${this.hex('leaf')} AS leaf FROM events WHERE number IS NOT NULL ${of} ORDER BY number`,
    );
    const tiles = await query(this, `SELECT level, number, ${this.hex('hashes')} AS hashes FROM audit_tiles WHERE tree_id = ${tree}`);
    const byPlace = Object.fromEntries(tiles.map((x) => [`${x.level}/${x.number}`, Buffer.from(x.hashes, 'hex')]));
    const [{ size }] = await query(this, `SELECT size FROM audit_trees WHERE tree_id = ${tree}`);
    const heads = await query(this, `SELECT note FROM audit_heads WHERE tree_id = ${tree}`);
    const file = (name) => readFileSync(path.join(this.dataDir, 'audit', name)).toString();
    return {
      size,
      records: rows.map((r) => ({
        number: workspace ? r.workspace_number : r.number,
        numberInAll: r.number,
        workspaceNumber: r.workspace_number,
        workspace: r.workspace,
        id: dashed(r.id),
        bytes: Buffer.from(r.bytes, 'hex'),
        leaf: Buffer.from(r.leaf, 'hex'),
      })),
      tiles: byPlace,
      tile: (level, number) => byPlace[`${level}/${number}`] ?? null,
      heads: heads.map((h) => h.note),
      keys: file('keys').trim().split('\n').map(readKey),
      exported: workspace ? [] : notesOf(file('head')),
    };
  }

  /** Puts other bytes into an event, and makes its hash and all tiles of both trees again, as a thief of the database would. */
  async rewrite(number, bytes) {
    const all = await this.read();
    const record = all.records[number - 1];
    const leaf = leafOf(bytes);
    const statements = [`UPDATE events SET bytes = ${this.blob(bytes)}, leaf = ${this.blob(leaf)} WHERE number = ${number}`];
    const logs = [[all, INSTANCE, number]];
    if (record.workspace) logs.push([await this.read(dashed(record.workspace)), record.workspace, record.workspaceNumber]);
    for (const [log, tree, at] of logs) {
      const leaves = log.records.slice(0, log.size).map((r) => r.leaf);
      leaves[at - 1] = leaf;
      for (const [place, hashes] of Object.entries(tilesOf(leaves))) {
        const [level, n] = place.split('/');
        statements.push(`UPDATE audit_tiles SET hashes = ${this.blob(hashes)} WHERE tree_id = ${this.id(tree)} AND level = ${level} AND number = ${n}`);
      }
    }
    await this.change(...statements);
  }
}

// --- exports ---

const CRC32C = Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0x82f63b78 : n >>> 1;
  return n >>> 0;
});
const crc32c = (bytes) => ~bytes.reduce((c, b) => CRC32C[(c ^ b) & 255] ^ (c >>> 8), ~0) >>> 0;

function frameOf(body) {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(body.length, 0);
  head.writeUInt32LE(crc32c(body), 4);
  return Buffer.concat([head, body]);
}

/** An export of at most 4,096 events, whose events can be changed. */
export class ExportCopy {
  constructor(t, from) {
    this.folder = temporaryFolder(t);
    cpSync(from, this.folder, { recursive: true });
    this.segment = path.join(this.folder, 'segments', '00000000000000000001.seg');
  }

  get size() {
    return JSON.parse(readFileSync(path.join(this.folder, 'manifest.json'))).size;
  }

  /** Bodies of the segment's event frames: number at 8, number in the workspace at 16, leaf at 56, the bytes from 88 on. */
  events() {
    const bytes = readFileSync(this.segment);
    const events = [];
    for (let at = 60; at < bytes.length; at += 8 + bytes.readUInt32LE(at)) {
      const body = Buffer.from(bytes.subarray(at + 8, at + 8 + bytes.readUInt32LE(at)));
      if (body[0] === 1) events.push(body);
    }
    return events;
  }

  /** Writes the segment and the bundles of entries of these events, whole in themselves. */
  write(events) {
    const end = Buffer.alloc(16);
    end[0] = 2;
    end.writeBigInt64LE(BigInt(events.length), 8);
    writeFileSync(this.segment, Buffer.concat([readFileSync(this.segment).subarray(0, 60), ...events.map(frameOf), frameOf(end)]));
    const size = Math.min(this.size, events.length);
    rmSync(path.join(this.folder, 'tile', 'entries'), { recursive: true });
    for (let at = 0; at < size; at += 256) {
      const part = events.slice(at, Math.min(at + 256, size)).flatMap((body) => {
        const length = Buffer.alloc(2);
        length.writeUInt16BE(body.length - 88);
        return [length, body.subarray(88)];
      });
      const n = Math.min(256, this.size - at);
      this.#put(['tile', 'entries', tilePath(at / 256) + (n < 256 ? `.p/${n}` : '')], Buffer.concat(part));
    }
  }

  /** Makes all tiles from these events' leaves. */
  writeTiles(events) {
    for (const [place, hashes] of Object.entries(tilesOf(events.slice(0, this.size).map((b) => b.subarray(56, 88))))) {
      const [level, number] = place.split('/').map(Number);
      this.#put(['tile', String(level), tilePath(number) + (hashes.length < 8192 ? `.p/${hashes.length / 32}` : '')], hashes);
    }
  }

  #put(inside, bytes) {
    const file = path.join(this.folder, ...inside);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, bytes);
  }
}
