// wire.mjs - a small HTTP/1.1 server that keeps what it received, byte for byte, and gives its answer's bytes
// out of hand.
//
// node:http normalises what a test wants to see (order and case of fields, chunk borders) and refuses to
// misbehave; this one records the raw head and body of every request and lets the handler write, stall, cut
// or reset at will.

import net from 'node:net';
import tls from 'node:tls';

/** One request, as it stood on the wire, and what became of its connection. */
export class Exchange {
  constructor(connection, head) {
    this.connection = connection;
    this.socket = connection.socket;
    this.head = head; // Buffer, from the request line to the empty line
    const lines = head.toString('latin1').split('\r\n');
    const [method, target] = lines[0].split(' ');
    this.method = method;
    this.target = target;
    const mark = target.indexOf('?');
    this.path = mark < 0 ? target : target.slice(0, mark);
    this.query = mark < 0 ? '' : target.slice(mark + 1);
    /** @type {[string, string][]} in the order received, names as written */
    this.fields = [];
    for (const line of lines.slice(1)) {
      if (line === '') break;
      const colon = line.indexOf(':');
      this.fields.push([line.slice(0, colon), line.slice(colon + 1).trim()]);
    }
    this.rawBody = Buffer.alloc(0); // as it stood on the wire, chunk heads included
    this.body = Buffer.alloc(0);
    this.receivedAt = 0; // performance.now() when the body was complete
    this.clientClosedAt = 0; // performance.now() when the peer closed before we had finished; 0 = it did not
    this.isFinished = false; // the handler is done with it
    this.isAnswered = false; // the whole answer was written
    this.closed = new Promise((resolve) => (this.onClosed = resolve));
  }

  /** The values of a field, by case-insensitive name. */
  values(name) {
    return this.fields.filter(([n]) => n.toLowerCase() === name).map(([, v]) => v);
  }

  header(name) {
    return this.values(name)[0];
  }

  json() {
    return JSON.parse(this.body.toString('utf8'));
  }

  get isClosed() {
    return this.clientClosedAt !== 0 || this.socket.destroyed;
  }
}

function hasToken(value, token) {
  return (value ?? '')
    .toLowerCase()
    .split(',')
    .some((t) => t.trim() === token);
}

/** Takes a complete chunked body off the front of `bytes`, or returns null when more is needed. */
export function takeChunked(bytes) {
  const parts = [];
  let at = 0;
  for (;;) {
    const eol = bytes.indexOf('\r\n', at);
    if (eol < 0) return null;
    const size = Number.parseInt(bytes.toString('latin1', at, eol), 16);
    at = eol + 2;
    if (size === 0) {
      const end =
        bytes.subarray(at, at + 2).toString('latin1') === '\r\n' ? at + 2 : bytes.indexOf('\r\n\r\n', at) + 4;
      if (end < 4 || end > bytes.length) return null;
      return { body: Buffer.concat(parts), length: end };
    }
    if (bytes.length < at + size + 2) return null;
    parts.push(bytes.subarray(at, at + size));
    at += size + 2;
  }
}

class Connection {
  constructor(server, socket) {
    this.server = server;
    this.socket = socket;
    this.pending = [];
    this.pendingLength = 0;
    this.exchange = null;
    this.isAnswering = false;
    socket.setNoDelay(true);
    socket.on('data', (piece) => this.#onData(piece));
    socket.on('error', () => this.#onGone());
    socket.on('end', () => {
      this.#onGone();
      socket.destroy();
    });
    socket.on('close', () => this.#onGone());
  }

  #onGone() {
    const x = this.exchange;
    if (x && !x.isFinished && x.clientClosedAt === 0) x.clientClosedAt = performance.now();
    if (x) x.onClosed();
  }

  #onData(piece) {
    this.pending.push(piece);
    this.pendingLength += piece.length;
    this.#advance();
  }

  #advance() {
    if (this.isAnswering || this.pendingLength === 0) return;
    let x = this.exchange;
    if (!x) {
      const bytes = this.#joined();
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) return;
      x = this.exchange = new Exchange(this, Buffer.from(bytes.subarray(0, end + 4)));
      this.#keep(bytes.subarray(end + 4));
      this.server.heads.push(x);
      if (hasToken(x.header('expect'), '100-continue')) this.socket.write('HTTP/1.1 100 Continue\r\n\r\n');
      if (this.server.onHead?.(x)) {
        this.isAnswering = true;
        return;
      }
    }
    if (hasToken(x.header('transfer-encoding'), 'chunked')) {
      const bytes = this.#joined();
      const taken = takeChunked(bytes);
      if (!taken) return;
      x.rawBody = Buffer.from(bytes.subarray(0, taken.length));
      x.body = taken.body;
      this.#keep(bytes.subarray(taken.length));
    } else {
      const length = Number(x.header('content-length') ?? 0);
      if (this.pendingLength < length) return;
      const bytes = this.#joined();
      x.rawBody = x.body = Buffer.from(bytes.subarray(0, length));
      this.#keep(bytes.subarray(length));
    }
    x.receivedAt = performance.now();
    this.isAnswering = true;
    this.server.exchanges.push(x);
    Promise.resolve(this.server.onRequest(x))
      .then((keeps) => {
        x.isFinished = true;
        this.exchange = null;
        this.isAnswering = false;
        if (keeps === false) this.socket.destroySoon();
        else this.#advance();
      })
      .catch((error) => {
        if (!this.socket.destroyed) this.server.failures.push(error);
        this.socket.destroy();
      });
  }

  #joined() {
    if (this.pending.length > 1) this.pending = [Buffer.concat(this.pending)];
    return this.pending[0] ?? Buffer.alloc(0);
  }

  #keep(rest) {
    this.pending = rest.length > 0 ? [rest] : [];
    this.pendingLength = rest.length;
  }
}

export class WireServer {
  /** onRequest(exchange) writes the answer to exchange.socket; false closes the connection behind it. */
  constructor({ onRequest, onHead, tlsOptions }) {
    this.onRequest = onRequest;
    this.onHead = onHead;
    this.exchanges = []; // complete requests, in order of completion
    this.heads = []; // every request whose head arrived
    this.failures = []; // errors of the double itself, which a test must see
    this.sockets = new Set();
    this.connectionCount = 0;
    const onConnection = (socket) => {
      this.connectionCount++;
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
      new Connection(this, socket);
    };
    this.server = tlsOptions
      ? tls.createServer(tlsOptions, onConnection)
      : net.createServer({ allowHalfOpen: true }, onConnection);
    this.server.on('tlsClientError', () => {});
  }

  async listen(port = 0, host = '127.0.0.1') {
    await new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, host, resolve);
    });
    this.port = this.server.address().port;
    return this;
  }

  async close() {
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }
}
