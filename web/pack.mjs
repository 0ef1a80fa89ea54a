// pack.mjs - what Vite built, compressed ahead, as the one file that the program embeds (src/core/page.h has its format).
//
//   node pack.mjs DIST PACK     writes PACK and PACK.sizes.json, and fails when a budget is exceeded
//
// Budgets are gzip bytes of what a browser has to load before it can show something: the HTML, the entry, everything
// it imports statically and their styles (the shell), then what each route adds. Fonts are shown apart.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';

const SHELL_MAX = 150 * 1024;
const ROUTE_MAX = 60 * 1024;
const TYPES = {
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
  '.json': 'application/json',
  '.png': 'image/png',
};
const PACKED = new Set(['.woff2', '.png']); // compressed by themselves

const [dist, target] = process.argv.slice(2);
if (!target) {
  console.error('usage: node pack.mjs DIST PACK');
  process.exit(2);
}
const hashOf = (bytes) => createHash('sha256').update(bytes).digest('hex').slice(0, 16);
const gzip = (bytes) => zlib.gzipSync(bytes, { level: 9 });
const brotli = (bytes) =>
  zlib.brotliCompressSync(bytes, {
    params: {
      [zlib.constants.BROTLI_PARAM_QUALITY]: 11,
      [zlib.constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    },
  });

const manifest = JSON.parse(readFileSync(path.join(dist, '.vite/manifest.json'), 'utf8'));
const files = new Map(
  readdirSync(path.join(dist, 'assets'))
    .sort()
    .map((name) => [name, readFileSync(path.join(dist, 'assets', name))]),
);
const boot = readFileSync(path.join(dist, 'boot.js'));
const bootName = `boot-${hashOf(boot).slice(0, 8)}.js`;
files.set(bootName, boot);

let html = readFileSync(path.join(dist, 'index.html'), 'utf8')
  .replace('"./boot.js"', `"./assets/${bootName}"`)
  .replaceAll(' crossorigin', '')
  .replaceAll('"./assets/', '"@BASE@assets/');
const fonts = Object.values(manifest)
  .flatMap((chunk) => [chunk.file, ...(chunk.assets ?? [])])
  .filter((name) => /latin-wght-normal.*\.woff2$/.test(name) && !/ext/.test(name));
for (const font of new Set(fonts))
  html = html.replace(
    '</title>',
    `</title>\n    <link rel="preload" as="font" type="font/woff2" crossorigin href="@BASE@${font}" />`,
  );
if (/="\.?\/(?!\/)/.test(html))
  throw new Error(`index.html holds an address that is not below @BASE@:\n${html}`);

// --- budgets ---
const entry = Object.values(manifest).find((chunk) => chunk.isEntry);
const size = (name) => gzip(files.get(path.basename(name))).length;
const closure = (key, found = new Set()) => {
  if (found.has(key)) return found;
  found.add(key);
  for (const next of manifest[key].imports ?? []) closure(next, found);
  return found;
};
const filesOf = (keys) => {
  const names = new Set();
  for (const key of keys)
    for (const name of [manifest[key].file, ...(manifest[key].css ?? [])]) names.add(name);
  return names;
};
const total = (names) => [...names].reduce((sum, name) => sum + size(name), 0);
const entryKey = Object.keys(manifest).find((key) => manifest[key] === entry);
const shell = filesOf(closure(entryKey));
const sizes = {
  shell: total(shell) + gzip(Buffer.from(html)).length + gzip(boot).length,
  routes: {},
  fonts: [...files]
    .filter(([name]) => name.endsWith('.woff2'))
    .reduce((sum, [, bytes]) => sum + bytes.length, 0),
};
for (const [key, chunk] of Object.entries(manifest))
  if (chunk.isDynamicEntry) {
    const own = [...filesOf(closure(key))].filter((name) => !shell.has(name));
    sizes.routes[chunk.name ?? key] = total(own);
  }
const exceeded = Object.entries(sizes.routes)
  .filter(([, bytes]) => bytes > ROUTE_MAX)
  .map(([name, bytes]) => `${name} adds ${bytes} bytes of gzip; its budget is ${ROUTE_MAX}`);
if (sizes.shell > SHELL_MAX)
  exceeded.unshift(`the shell has ${sizes.shell} bytes of gzip; its budget is ${SHELL_MAX}`);

// --- the pack ---
const blobs = [];
let at = 0;
const place = (bytes) => {
  const where = [at, bytes.length];
  blobs.push(bytes);
  at += bytes.length;
  return where;
};
const lines = [];
const page = Buffer.from(html);
lines.push(['html', ...place(page)]);
const routes = JSON.parse(readFileSync(new URL('./src/app/paths.json', import.meta.url), 'utf8'));
for (const route of routes) lines.push(['route', route]);
for (const [name, bytes] of files) {
  const ending = path.extname(name);
  const type = TYPES[ending];
  if (!type) throw new Error(`${name}: no media type is known for ${ending}`);
  const coded = PACKED.has(ending) ? [] : [gzip(bytes), brotli(bytes)];
  const smaller = [0, 1].map((i) =>
    coded[i] && coded[i].length < bytes.length ? coded[i] : Buffer.alloc(0),
  );
  lines.push([
    'asset',
    name,
    type,
    hashOf(bytes),
    ...place(bytes),
    ...place(smaller[0]),
    ...place(smaller[1]),
  ]);
}
const head = `catalyst-page 1\n${lines.map((line) => line.join('\t')).join('\n')}\n\n`;
writeFileSync(`${target}.sizes.json`, `${JSON.stringify(sizes, null, 2)}\n`);
writeFileSync(target, Buffer.concat([Buffer.from(head), ...blobs]));
console.log(`page: shell ${(sizes.shell / 1024).toFixed(1)} KB gzip, ${files.size} files`);
if (exceeded.length > 0) {
  console.error(exceeded.join('\n'));
  process.exit(1);
}
