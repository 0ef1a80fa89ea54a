// mail.mjs - reading mails as a mail program would: headers unfolded and decoded, parts decoded. Written from RFC 5322, 2045 and 2047 alone.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { until } from './wait.mjs';

function words(text) {
  return text
    .replace(/(=\?[^?]+\?[bq]\?[^?]*\?=)\s+(?==\?)/gi, '$1')
    .replace(/=\?utf-8\?b\?([^?]*)\?=/gi, (_, b) => `\u0001${Buffer.from(b, 'base64').toString('latin1')}\u0002`)
    .replace(/\u0002\u0001/g, '')
    .replace(/\u0001([^\u0002]*)\u0002/g, (_, b) => new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(b, 'latin1')));
}

function quotedPrintable(text) {
  const bytes = text.replace(/=\r\n/g, '').replace(/=([0-9A-F]{2})/g, (_, h) => String.fromCharCode(parseInt(h, 16)));
  return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(bytes, 'latin1')).replace(/\r\n/g, '\n');
}

function split(raw) {
  const end = raw.indexOf('\r\n\r\n');
  if (end < 0) throw new Error('a message without an empty line');
  const headers = {};
  for (const line of raw.slice(0, end).replace(/\r\n[ \t]/g, ' ').split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon <= 0) throw new Error(`no header: ${line}`);
    const name = line.slice(0, colon).toLowerCase();
    if (name in headers) throw new Error(`${name} stands twice`);
    headers[name] = words(line.slice(colon + 1).trim());
  }
  return { headers, body: raw.slice(end + 4) };
}

/** {raw, headers, subject, to, text, html, links}; throws for what no mail program should be sent. */
export function parseMail(raw) {
  const lines = raw.split('\r\n');
  for (const line of lines) {
    if (/[\r\n]/.test(line)) throw new Error('a bare CR or LF');
    if (Buffer.byteLength(line) > 998) throw new Error('a line of more than 998 bytes');
  }
  const { headers, body } = split(raw);
  const boundary = /boundary="([^"]+)"/.exec(headers['content-type'])?.[1];
  if (!boundary) throw new Error('no multipart');
  const parts = body.split(`--${boundary}`).slice(1, -1).map((part) => split(part.replace(/^\r\n/, '')));
  const of = (type) => quotedPrintable(parts.find((p) => p.headers['content-type'].startsWith(type)).body);
  const text = of('text/plain');
  return {
    raw,
    headers,
    subject: headers.subject,
    to: /<([^>]+)>/.exec(headers.to)[1],
    text,
    html: of('text/html'),
    links: text.match(/https?:\/\/\S+/g) ?? [],
  };
}

/** Mails in the spool folder of a server, the oldest first; to: only those to this address. */
export function spooled(catalyst, to) {
  const dir = path.join(catalyst.dataDir, 'mail');
  if (!existsSync(dir)) return [];
  return readdirSync(dir)
    .filter((name) => name.endsWith('.eml'))
    .sort()
    .map((name) => ({ ...parseMail(readFileSync(path.join(dir, name), 'latin1')), file: path.join(dir, name), mode: statSync(path.join(dir, name)).mode & 0o777 }))
    .filter((mail) => !to || mail.to === to);
}

/** The first mail to this address for which `match` is true (a function, or a part of the subject), when it is there. */
export function mailTo(catalyst, to, match = () => true) {
  const is = typeof match === 'function' ? match : (mail) => mail.subject.includes(match);
  return until(`a mail to ${to}`, () => spooled(catalyst, to).find(is));
}
