// proxy.mjs - a double of an outbound HTTP proxy: CONNECT tunnels and requests in absolute form.
//
// Every name leads to `target` (a port of 127.0.0.1), as the names of the tests exist nowhere else. What was asked
// is kept in `asked` ("CONNECT provider.test:443"), with the credentials that came in `credentials`. `refuses` is
// a status that every request is answered with instead.

import http from 'node:http';
import net from 'node:net';

export class Proxy {
  static async start(options) {
    const proxy = new Proxy(options);
    await new Promise((resolve) => proxy.server.listen(0, '127.0.0.1', resolve));
    proxy.port = proxy.server.address().port;
    return proxy;
  }

  constructor({ target = null, refuses = null } = {}) {
    this.target = target;
    this.refuses = refuses;
    this.asked = [];
    this.credentials = [];
    this.sockets = new Set();
    this.server = http.createServer((request, answer) => this.forward(request, answer));
    this.server.on('connect', (request, socket, head) => this.tunnel(request, socket, head));
    this.server.on('connection', (socket) => this.keep(socket));
  }

  keep(socket) {
    this.sockets.add(socket);
    socket.on('close', () => this.sockets.delete(socket));
    socket.on('error', () => socket.destroy());
  }

  note(request) {
    this.asked.push(`${request.method} ${request.url}`);
    this.credentials.push(request.headers['proxy-authorization'] ?? null);
  }

  tunnel(request, socket, head) {
    this.note(request);
    if (this.refuses) {
      socket.end(`HTTP/1.1 ${this.refuses} Refused\r\nContent-Length: 0\r\n\r\n`);
      return;
    }
    const far = net.connect(this.target, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      if (head.length > 0) far.write(head);
      far.pipe(socket);
      socket.pipe(far);
    });
    this.keep(far);
    far.on('close', () => socket.destroy());
    socket.on('close', () => far.destroy());
  }

  forward(request, answer) {
    this.note(request);
    if (this.refuses || !/^http:\/\//.test(request.url)) {
      answer.writeHead(this.refuses ?? 400).end();
      return;
    }
    const url = new URL(request.url);
    const headers = { ...request.headers };
    delete headers['proxy-authorization'];
    const far = http.request(
      { host: '127.0.0.1', port: this.target, method: request.method, path: url.pathname + url.search, headers },
      (reply) => {
        answer.writeHead(reply.statusCode, reply.headers);
        reply.pipe(answer);
      },
    );
    far.on('error', () => answer.destroy());
    request.pipe(far);
  }

  close() {
    for (const socket of this.sockets) socket.destroy();
    return new Promise((resolve) => this.server.close(resolve));
  }
}
