// keys.mjs - virtual and management keys in the product's text form, made here so that tests need no command
// for them.

import { createHash, randomInt } from 'node:crypto';
import zlib from 'node:zlib';

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

const draw = (n) => Array.from({ length: n }, () => BASE62[randomInt(62)]).join('');

/** PREFIX_<8 id>_<32 secret>_<6 CRC-32 of all before>. */
export function makeKey(prefix = 'cvk') {
  const text = `${prefix}_${draw(8)}_${draw(32)}`;
  let crc = zlib.crc32(text);
  let check = '';
  for (let i = 0; i < 6; i++) {
    check = BASE62[crc % 62] + check;
    crc = Math.floor(crc / 62);
  }
  return `${text}_${check}`;
}

export const sha256 = (text) => createHash('sha256').update(text).digest('hex');

/**
 * The same key with one letter of the secret changed, as when it was copied by hand: its checksum no longer
 * holds.
 */
export function withTypo(key) {
  const at = 20;
  return key.slice(0, at) + (key[at] === 'x' ? 'y' : 'x') + key.slice(at + 1);
}
