// balancer.mjs - the very examples of packaging/ in front of nodes: HAProxy and nginx, with the addresses of the test.

import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from './catalyst.mjs';
import { defer } from './defer.mjs';
import { freePort } from './raw.mjs';
import { until, within } from './wait.mjs';

const PACKAGING = fileURLToPath(new URL('../../packaging', import.meta.url));
const find = (name) => [...process.env.PATH.split(':'), '/usr/sbin'].map((folder) => path.join(folder, name)).find((file) => existsSync(file));

/** For node:test's `skip` option. */
export const NO_HAPROXY = find('haproxy') ? false : 'no haproxy on this machine';
export const NO_NGINX = find('nginx') ? false : 'no nginx on this machine';

/** Replaces what must be there. */
function replace(text, pattern, by) {
  if (!pattern.test(text)) throw new Error(`the example lacks ${pattern}`);
  return text.replace(pattern, by);
}

const withNodes = (text, ports) =>
  ['10.0.0.1:8080', '10.0.0.2:8080'].reduce((all, address, i) => replace(all, new RegExp(address.replaceAll('.', '\\.'), 'g'), `127.0.0.1:${ports[i]}`), text);

async function run(t, port, name, args) {
  const child = spawn(find(name), args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const balancer = { name, origin: `http://127.0.0.1:${port}`, port, said: '' };
  for (const out of [child.stdout, child.stderr]) out.on('data', (piece) => (balancer.said += piece));
  const ended = new Promise((resolve) => child.on('close', resolve));
  let isOver = false;
  ended.then(() => (isOver = true));
  defer(t, async () => {
    child.kill('SIGTERM');
    await within(`${name} to end`, ended, 10_000).finally(() => child.kill('SIGKILL'));
  });
  await until(`${name} to listen`, () => {
    if (isOver) throw new Error(`${name} ended: ${balancer.said}`);
    return new Promise((resolve) => {
      const probe = net.connect(port, '127.0.0.1', () => resolve(true) ?? probe.destroy());
      probe.on('error', () => resolve(false));
    });
  });
  return balancer;
}

export async function startHaproxy(t, ports) {
  const port = await freePort();
  const file = path.join(temporaryFolder(t), 'haproxy.cfg');
  const example = withNodes(readFileSync(path.join(PACKAGING, 'haproxy.cfg'), 'utf8'), ports);
  writeFileSync(file, replace(example, /bind :443 .*/, `bind 127.0.0.1:${port}`));
  return run(t, port, 'haproxy', ['-db', '-f', file]);
}

export async function startNginx(t, ports) {
  const port = await freePort();
  const folder = temporaryFolder(t);
  let example = withNodes(readFileSync(path.join(PACKAGING, 'nginx.conf'), 'utf8'), ports);
  example = replace(example, /listen 443 ssl;/, `listen 127.0.0.1:${port};`);
  example = replace(example, /ssl_certificate .*;\n\s*ssl_certificate_key .*;/, '');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${path.join(folder, kind)};`);
  writeFileSync(
    path.join(folder, 'nginx.conf'),
    `daemon off;\npid ${path.join(folder, 'pid')};\nerror_log stderr warn;\nworker_processes 1;\nevents {}\nhttp {\naccess_log off;\n${temporary.join('\n')}\n${example}\n}\n`,
  );
  return run(t, port, 'nginx', ['-p', folder, '-e', 'stderr', '-c', path.join(folder, 'nginx.conf')]);
}
