// raw.mjs - bytes to a server and back, with nothing in between that would tidy them up.

import net from 'node:net';
import { takeChunked } from '../doubles/wire.mjs';
import { until, within } from './wait.mjs';

export class RawConnection {
  constructor(port, host = '127.0.0.1') {
    this.received = Buffer.alloc(0);
    this.isEnded = false; // the server sent FIN, or the connection broke
    this.error = null;
    this.socket = net.connect({ port, host, allowHalfOpen: true });
    this.socket.setNoDelay(true);
    this.connected = new Promise((resolve, reject) => {
      this.socket.once('connect', resolve);
      this.socket.once('error', reject);
    });
    this.connected.catch(() => {});
    this.ended = new Promise((resolve) => {
      const end = () => {
        this.isEnded = true;
        resolve();
      };
      this.socket.on('end', end);
      this.socket.on('close', end);
    });
    this.socket.on('error', (error) => (this.error = error));
    this.socket.on('data', (piece) => (this.received = Buffer.concat([this.received, piece])));
  }

  static async open(port, host) {
    const c = new RawConnection(port, host);
    await within(`connecting to port ${port}`, c.connected);
    return c;
  }

  /**
   * Writes; resolves when the bytes are with the kernel. Writing to a connection that the server closed is no
   * error here.
   */
  send(bytes) {
    return new Promise((resolve) => {
      if (this.socket.destroyed) return resolve();
      this.socket.write(bytes, () => resolve());
    });
  }

  /** Each piece in a write of its own, with a turn of the loop between. */
  async sendPieces(pieces) {
    for (const piece of pieces) {
      await this.send(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Everything until the server closes. */
  async readToEnd(deadline_ms = 5000) {
    await within(
      `the server to close; so far: ${JSON.stringify(this.received.toString('latin1').slice(0, 300))}`,
      this.ended,
      deadline_ms,
    );
    return this.received;
  }

  /** The next complete answer, taken off what was received. 100 Continue is an answer of its own. */
  async readAnswer({ toHead = false, deadline_ms = 5000 } = {}) {
    const what = `an answer; so far: ${JSON.stringify(this.received.toString('latin1').slice(0, 300))}`;
    return until(
      what,
      () => {
        const answer = parseAnswer(this.received, { toHead, isEnded: this.isEnded });
        if (answer) this.received = this.received.subarray(answer.length);
        else if (this.isEnded) throw new Error(`the connection ended in place of ${what}`);
        return answer;
      },
      { deadline_ms, every_ms: 1 },
    );
  }

  close() {
    this.socket.destroy();
  }

  /** Leaves with RST. */
  reset() {
    this.socket.resetAndDestroy();
  }
}

/** A complete answer at the start of bytes, or null. toHead: the request was HEAD, so no body follows. */
export function parseAnswer(bytes, { toHead = false, isEnded = false } = {}) {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const lines = bytes.toString('latin1', 0, end).split('\r\n');
  const match = /^HTTP\/1\.([01]) (\d{3}) ?(.*)$/.exec(lines[0]);
  if (!match) throw new Error(`no status line: ${JSON.stringify(lines[0])}`);
  const fields = lines.slice(1).map((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  const header = (name) => fields.find(([n]) => n === name)?.[1];
  const answer = {
    status: Number(match[2]),
    reason: match[3],
    fields,
    header,
    body: Buffer.alloc(0),
    length: end + 4,
  };
  answer.json = () => JSON.parse(answer.body.toString('utf8'));
  if (toHead || answer.status < 200 || answer.status === 204 || answer.status === 304) return answer;
  const rest = bytes.subarray(end + 4);
  if ((header('transfer-encoding') ?? '').toLowerCase() === 'chunked') {
    const taken = takeChunked(rest);
    if (!taken) return null;
    answer.body = taken.body;
    answer.length += taken.length;
  } else if (header('content-length') !== undefined) {
    const n = Number(header('content-length'));
    if (rest.length < n) return null;
    answer.body = rest.subarray(0, n);
    answer.length += n;
  } else {
    if (!isEnded) return null;
    answer.body = rest;
    answer.length += rest.length;
  }
  return answer;
}

/** One request on a connection of its own, one answer. */
export async function exchange(port, bytes, options = {}) {
  const c = await RawConnection.open(port);
  try {
    await c.send(bytes);
    return await c.readAnswer(options);
  } finally {
    c.close();
  }
}

/** A request's bytes. body: string or Buffer; its length is added unless chunked. */
export function request(method, target, fields = {}, body = null) {
  const lines = [`${method} ${target} HTTP/1.1`];
  const given = Object.entries({ Host: 'localhost', ...fields });
  for (const [name, value] of given) for (const v of [value].flat()) lines.push(`${name}: ${v}`);
  const bytes = body === null ? Buffer.alloc(0) : Buffer.from(body);
  const framed = given.some(([n]) => /^(content-length|transfer-encoding)$/i.test(n));
  if (body !== null && !framed) lines.push(`Content-Length: ${bytes.length}`);
  return Buffer.concat([Buffer.from(lines.join('\r\n') + '\r\n\r\n', 'latin1'), bytes]);
}

/** A chunked body of these pieces. */
export function chunked(...pieces) {
  const out = [];
  for (const piece of pieces) {
    const bytes = Buffer.from(piece);
    out.push(Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n'));
  }
  out.push(Buffer.from('0\r\n\r\n'));
  return Buffer.concat(out);
}

/** A port that was free a moment ago. */
export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
