// namespace.mjs - a network namespace for one node: its only way to PostgreSQL is a cable (veth) that can be pulled without a FIN
// or RST. Clients reach the node, and it its provider, through Unix sockets, which know no namespaces.

import { execFileSync, spawn } from 'node:child_process';
import net from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { defer } from './defer.mjs';
import { within } from './wait.mjs';

const FORWARD = fileURLToPath(new URL('forward.mjs', import.meta.url));
const ip = (...args) => execFileSync('ip', args, { stdio: 'pipe' });
let n_made = 0;

/** For node:test's `skip` option. */
export const NO_NAMESPACES = (() => {
  const name = `cat${process.pid}x`;
  try {
    ip('netns', 'add', name);
    try {
      ip('link', 'add', `${name}a`, 'type', 'veth', 'peer', 'name', `${name}b`, 'netns', name);
      ip('link', 'del', `${name}a`);
    } finally {
      ip('netns', 'del', name);
    }
    return false;
  } catch (error) {
    return `no network namespaces on this machine: ${String(error.message).split('\n').at(-1) || error.message}`;
  }
})();

function pipe(from, connect) {
  const to = connect();
  from.on('error', () => to.destroy()).on('close', () => to.destroy());
  to.on('error', () => from.destroy()).on('close', () => from.destroy());
  from.pipe(to).pipe(from);
}

/** A server that passes each connection on; port or path as net.Server.listen takes them. */
async function forward(t, listen, connect) {
  const sockets = new Set();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    pipe(socket, () => net.connect({ ...connect(), allowHalfOpen: true }));
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(listen, resolve));
  defer(t, () => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return server.address();
}

/**
 * {before, host, port, pull(), plug(), lead(port), bring(port)}: `before` runs a program in it; `host` is this side's address; whoever
 * connects to `port` here comes to the port inside that lead() was last called with; bring makes a port inside lead to the same here.
 */
export async function makeNamespace(t, folder) {
  const n = ++n_made;
  const name = `cat${process.pid}n${n}`;
  const cable = `c${process.pid}n${n}`;
  const net16 = `10.${200 + (process.pid % 50)}.${n}`;
  ip('netns', 'add', name);
  defer(t, () => ip('netns', 'del', name));
  ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
  ip('addr', 'add', `${net16}.1/24`, 'dev', cable);
  ip('link', 'set', cable, 'up');
  ip('-n', name, 'addr', 'add', `${net16}.2/24`, 'dev', 'eth0');
  ip('-n', name, 'link', 'set', 'eth0', 'up');
  ip('-n', name, 'link', 'set', 'lo', 'up');

  const child = spawn('ip', ['netns', 'exec', name, process.execPath, FORWARD], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.on('close', resolve));
  defer(t, async () => {
    child.stdin.end();
    await within('the forwarder to end', ended);
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (order) => {
    child.stdin.write(`${JSON.stringify(order)}\n`);
    const { value } = await within('the forwarder to answer', lines.next());
    return JSON.parse(value).port;
  };
  let n_sockets = 0;
  let inside = null;
  const door = await forward(t, { port: 0, host: '127.0.0.1' }, () => ({ path: inside }));
  return {
    before: ['ip', 'netns', 'exec', name],
    host: `${net16}.1`,
    port: door.port,
    pull: () => ip('link', 'set', cable, 'down'),
    plug: () => ip('link', 'set', cable, 'up'),
    async lead(port) {
      const socket = path.join(folder, `in${++n_sockets}.sock`);
      await ask({ listen: { path: socket }, connect: { port, host: '127.0.0.1' } });
      inside = socket;
    },
    async bring(port) {
      const socket = path.join(folder, `out${++n_sockets}.sock`);
      await forward(t, { path: socket }, () => ({ port, host: '127.0.0.1' }));
      await ask({ listen: { port, host: '127.0.0.1' }, connect: { path: socket } });
    },
  };
}
