// audit_verify.mjs - a second verifier of the log, written from RFC 6962, RFC 9162 and the C2SP pages alone: leaves, roots,
// proofs, signed heads, and what a tampered log has wrong with it first. It shares nothing with the program.

import { createHash, createPublicKey, verify as verifySignature } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

const sha256 = (...parts) => parts.reduce((h, p) => h.update(p), createHash('sha256')).digest();
export const leafOf = (bytes) => sha256(Buffer.of(0), bytes);
const nodeOf = (left, right) => sha256(Buffer.of(1), left, right);

/** The largest power of two below n. */
const split = (n) => 2 ** Math.floor(Math.log2(n - 1));

/** MTH(D[n]), RFC 9162 section 2.1.1, of the leaves' hashes. */
export function rootOf(leaves) {
  if (leaves.length === 0) return sha256(Buffer.alloc(0));
  if (leaves.length === 1) return leaves[0];
  const k = split(leaves.length);
  return nodeOf(rootOf(leaves.slice(0, k)), rootOf(leaves.slice(k)));
}

/** RFC 9162 section 2.1.3.2. */
export function inclusionHolds(leaf, index, size, proof, root) {
  if (index >= size) return false;
  let [fn, sn, r] = [index, size - 1, leaf];
  for (const p of proof) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      r = nodeOf(p, r);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
    } else r = nodeOf(r, p);
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return sn === 0 && r.equals(root);
}

/** RFC 9162 section 2.1.4.2. */
export function consistencyHolds(first, firstRoot, second, secondRoot, proof) {
  if (first < 1 || first > second) return false;
  if (first === second) return proof.length === 0 && firstRoot.equals(secondRoot);
  const path = Number.isInteger(Math.log2(first)) ? [firstRoot, ...proof] : [...proof];
  if (path.length === 0) return false;
  let [fn, sn] = [first - 1, second - 1];
  while (fn % 2 === 1) [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  let [fr, sr] = [path[0], path[0]];
  for (const c of path.slice(1)) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      [fr, sr] = [nodeOf(c, fr), nodeOf(c, sr)];
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
    } else sr = nodeOf(sr, c);
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  return sn === 0 && fr.equals(firstRoot) && sr.equals(secondRoot);
}

// --- C2SP signed-note, tlog-checkpoint ---

/** {name, id, key} of "name+hash+base64". Throws when the hash is not the key's. */
export function readKey(vkey) {
  const [, name, hash, text] = vkey.match(/^([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/);
  const bytes = Buffer.from(text, 'base64');
  const id = sha256(Buffer.from(`${name}\n`), bytes).subarray(0, 4);
  if (bytes[0] !== 1 || bytes.length !== 33 || id.toString('hex') !== hash) throw new Error(`not a key: ${vkey}`);
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), bytes.subarray(1)]);
  return { name, bytes, key: createPublicKey({ key: der, format: 'der', type: 'spki' }) };
}

/** {origin, size, root} of a signed head. Throws when none of the keys has signed it, under the name of its origin. */
export function openHead(note, keys) {
  const end = note.lastIndexOf('\n\n');
  const text = note.slice(0, end + 1);
  const [origin, size, root] = text.split('\n');
  for (const line of note.slice(end + 2).split('\n').filter(Boolean)) {
    const [, name, base64] = line.match(/^\u2014 (\S+) (\S+)$/);
    const bytes = Buffer.from(base64, 'base64');
    for (const k of keys) {
      const id = sha256(Buffer.from(`${origin}\n`), k.bytes).subarray(0, 4);
      if (name === origin && id.equals(bytes.subarray(0, 4)) && verifySignature(null, Buffer.from(text), k.key, bytes.subarray(4)))
        return { origin, size: Number(size), root: Buffer.from(root, 'base64') };
    }
  }
  throw new Error(`not signed by this log:\n${note}`);
}

/** Notes that stand one behind the other, an empty line between two. */
export const notesOf = (text) => (text === '' ? [] : text.trimEnd().split(/\n\n(?!\u2014)/).map((n) => (n.endsWith('\n') ? n : `${n}\n`)));

// --- a log ---

/** The leaves that tiles of height 8 hold; tile(level, number) gives bytes or null. */
export function leavesOfTiles(tile) {
  const leaves = [];
  for (let number = 0; ; number++) {
    const bytes = tile(0, number) ?? Buffer.alloc(0);
    for (let at = 0; at + 32 <= bytes.length; at += 32) leaves.push(bytes.subarray(at, at + 32));
    if (bytes.length < 8192) return leaves;
  }
}

/** What the tiles of a tree must be: {"level/number": bytes}. */
export function tilesOf(leaves) {
  const tiles = {};
  for (let level = 0, row = leaves; row.length > 0; level++) {
    for (let at = 0; at < row.length; at += 256) tiles[`${level}/${at / 256}`] = Buffer.concat(row.slice(at, at + 256));
    row = Array.from({ length: Math.floor(row.length / 256) }, (_, i) => rootOf(row.slice(i * 256, i * 256 + 256)));
  }
  return tiles;
}

/**
 * log: {size (of the tree; later events are in none yet), records: [{number, id, bytes, leaf}] in the order of their numbers, tile(level, number), heads: [note], keys,
 * exported: [note], dropped: [[first, last]]}. null when it is what was signed; else {what, number}: the first bad record.
 */
export function firstBad({ size, records, tile, heads, keys, exported = [], dropped = [] }) {
  const tiles = leavesOfTiles(tile);
  const signed = [];
  let damaged = false;
  for (const note of heads) {
    try {
      signed.push(openHead(note, keys));
    } catch {
      damaged = true;
    }
  }
  signed.sort((a, b) => a.size - b.size);
  const isSigned = (leaves, number) => {
    const head = signed.find((h) => h.size >= number);
    return !head || (leaves.length >= head.size && rootOf(leaves.slice(0, head.size)).equals(head.root));
  };
  const leaves = records.map((r) => r.leaf);
  for (let i = 0; i < size; i++) {
    const [r, number] = [records[i], i + 1];
    if (!r) return { what: 'truncated', number };
    if (r.number !== number) return { what: r.number > number ? 'deleted' : 'inserted', number };
    if (r.bytes.length === 0) {
      if (!dropped.some(([first, last]) => number >= first && number <= last)) return { what: 'body_lost', number };
    } else if (!leafOf(r.bytes).equals(r.leaf) || JSON.parse(r.bytes.toString()).id !== r.id) return { what: 'edited', number };
    if (tiles[i]?.equals(r.leaf)) continue;
    if (!tiles[i]) return { what: 'tile', number };
    if (!isSigned(tiles, number)) return { what: isSigned(leaves, number) ? 'tile' : 'rewritten', number };
    const [isNext, nextIs] = [tiles[i + 1]?.equals(r.leaf), leaves[i + 1]?.equals(tiles[i])];
    if (isNext && nextIs) return { what: 'reordered', number };
    if (isNext) return { what: 'deleted', number };
    return { what: nextIs ? 'inserted' : 'edited', number };
  }
  let good = 0;
  for (const head of signed) {
    if (head.size > size) return { what: 'truncated', number: size + 1 };
    if (!rootOf(leaves.slice(0, head.size)).equals(head.root)) return { what: 'rewritten', number: good + 1 };
    good = head.size;
  }
  for (const note of exported) {
    const head = openHead(note, keys);
    if (head.size > size) return { what: 'rolled_back', number: size + 1 };
    if (!rootOf(leaves.slice(0, head.size)).equals(head.root)) return { what: 'rolled_back', number: good + 1 };
  }
  if (Object.entries(tilesOf(leaves.slice(0, size))).some(([at, bytes]) => !tile(...at.split('/').map(Number))?.equals(bytes))) return { what: 'tile', number: 0 };
  return damaged ? { what: 'head', number: 0 } : null;
}

// --- an export ---

const uuidText = (b) => b.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');

/** The events of a segment: {first, records}; what is damaged has bytes that are not its leaf's. */
export function readSegment(bytes) {
  if (bytes.subarray(0, 8).toString() !== 'CATAUDIT') return { records: [] };
  const isOfWorkspace = !bytes.subarray(32, 48).equals(Buffer.alloc(16));
  const records = [];
  let at = bytes.readUInt32LE(12);
  while (at + 8 <= bytes.length) {
    const len = bytes.readUInt32LE(at);
    const frame = bytes.subarray(at + 8, at + 8 + len);
    if (frame.length < len) break;
    at += 8 + len;
    if (frame[0] !== 1) continue;
    records.push({
      number: Number(frame.readBigInt64LE(isOfWorkspace ? 16 : 8)),
      id: uuidText(frame.subarray(24, 40)),
      leaf: frame.subarray(56, 88),
      bytes: frame.subarray(88),
    });
  }
  return { records };
}

/** tlog-tiles: 1234067 is "x001/x234/067". */
export function tilePath(number) {
  const groups = [];
  for (let n = number; groups.length === 0 || n > 0; n = Math.floor(n / 1000)) groups.unshift(String(n % 1000).padStart(3, '0'));
  return groups.map((g, i) => (i < groups.length - 1 ? `x${g}` : g)).join('/');
}

/** An export as a log for firstBad; keys from elsewhere may be given. */
export function readExport(folder, { keys } = {}) {
  const read = (...inside) => readFileSync(path.join(folder, ...inside));
  const { size } = JSON.parse(read('manifest.json'));
  const file = (level, number, unit) => {
    const n = Math.min(256, Math.floor(size / 256 ** unit) - number * 256);
    const name = path.join(folder, 'tile', String(level), tilePath(number) + (n < 256 ? `.p/${n}` : ''));
    return n > 0 && existsSync(name) ? readFileSync(name) : null;
  };
  const records = readdirSync(path.join(folder, 'segments'))
    .sort()
    .flatMap((name) => readSegment(read('segments', name)).records);
  for (let number = 0; number * 256 < size; number++) {
    let rest = file('entries', number, 0) ?? Buffer.alloc(0);
    for (let i = number * 256; i < Math.min(size, number * 256 + 256) && records[i]; i++) {
      const len = rest.length >= 2 ? rest.readUInt16BE(0) : 0;
      const entry = rest.subarray(2, 2 + len);
      if (rest.length < 2 || !entry.equals(records[i].bytes)) records[i].bytes = Buffer.from('{}'); // the two say different things
      rest = rest.subarray(2 + len);
    }
  }
  return {
    size,
    records,
    tile: (level, number) => file(level, number, level),
    heads: notesOf(read('heads').toString()),
    keys: keys ?? read('keys').toString().trim().split('\n').map(readKey),
  };
}
