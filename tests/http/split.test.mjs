// split.test.mjs - answers of providers whose head and body come in reads that do not fall on their borders.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { call } from '../lib/call.mjs';
import { NO_BINARY, startGateway } from '../lib/catalyst.mjs';
import { defer } from '../lib/defer.mjs';

const BODY = JSON.stringify({ object: 'list', data: [], usage: { prompt_tokens: 3, total_tokens: 3 } });

/** A provider that writes these pieces, a moment apart, as its answer. */
async function providerOf(t, pieces) {
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', async () => {
      for (const piece of pieces) {
        socket.write(piece);
        await pause(50);
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  defer(t, () => server.close());
  return `http://127.0.0.1:${server.address().port}/v1`;
}

const HEAD = ['HTTP/1.1 200 OK\r\nContent-Type: appli', `cation/json\r\nContent-Length: ${BODY.length}\r\n\r\n`];

for (const [what, pieces] of [
  ['the rest of its head with the whole body', [HEAD[0], HEAD[1] + BODY]],
  ['the rest of its head with half the body', [HEAD[0], HEAD[1] + BODY.slice(0, 20), BODY.slice(20)]],
  ['the rest of its head alone', [HEAD[0], HEAD[1], BODY]],
]) {
  test(`an answer whose second read is ${what} passes whole`, { skip: NO_BINARY }, async (t) => {
    const base_url = await providerOf(t, pieces);
    const scene = await startGateway(t, { config: ({ standard }) => ({ ...standard, providers: [{ name: 'p', kind: 'openai', base_url, api_key: 'x' }] }) });
    const answer = await call(scene, 'embeddings');
    assert.equal(answer.text, BODY);
    assert.equal((await scene.catalyst.record(answer.id)).tokens.input, 3);
  });
}
