// kills.mjs - kill -9 under load, again and again: every call whose answer a client saw complete is in the
// journal, once.

import assert from 'node:assert/strict';
import { bodyOf, callBytes } from './call.mjs';
import { startCatalyst, startGateway } from './catalyst.mjs';
import { RawConnection } from './raw.mjs';
import { until } from './wait.mjs';

/** Numbers that a seed decides, so that a failure can be tried again. */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** One client: calls until its connection breaks; notes the ids of answers that it saw to their end. */
async function client(scene, n, seen, isOver) {
  const dialects = ['chat', 'messages', 'responses', 'embeddings'];
  let c;
  try {
    c = await RawConnection.open(scene.catalyst.port);
    for (let i = n; !isOver(); i++) {
      const dialect = dialects[i % dialects.length];
      const stream = i % 3 !== 0 && dialect !== 'embeddings';
      await c.send(callBytes(scene, dialect, bodyOf(dialect, { stream })));
      const answer = await c.readAnswer();
      assert.equal(answer.status, 200, answer.body.toString());
      if (stream)
        assert.match(answer.body.toString().slice(-120), /\[DONE\]|message_stop|response\.completed|\}\n\n$/);
      seen.add(answer.header('x-catalyst-request-id'));
    }
  } catch (error) {
    if (!isOver() && !/connection ended|ECONN/.test(error.message)) throw error;
  } finally {
    c?.close();
  }
}

export async function killAgainAndAgain(t, { kills, clients = 8, strict = false }) {
  const seed = Number(process.env.CATALYST_SEED ?? Date.now() % 1e9);
  const draw = random(seed);
  t.diagnostic(`CATALYST_SEED=${seed}`);
  const more = { loops: 2, journal: { strict, segment_bytes: '64KiB' } };
  const first = await startGateway(t, { config: ({ standard }) => ({ ...standard, ...more }) });
  let { catalyst } = first;
  const seen = new Set();
  for (let kill = 0; kill < kills; kill++) {
    const scene = { ...first, catalyst };
    let isOver = false;
    const before = seen.size;
    const all = Array.from({ length: clients }, (_, n) => client(scene, n, seen, () => isOver));
    // The moment is the point, so this waits for time: up to 300 ms after the load has begun to show.
    await until('load', () => seen.size > before, { deadline_ms: 20_000 });
    await new Promise((resolve) => setTimeout(resolve, draw() * 300));
    const died = catalyst.kill();
    await died;
    isOver = true;
    await Promise.all(all);
    for (const double of Object.values(first.double)) double.queue.length = 0;
    catalyst = await startCatalyst(t, { config: first.config, dataDir: catalyst.dataDir });
    const records = await catalyst.requests();
    const ids = records.map((r) => r.request_id);
    const unique = new Set(ids);
    assert.equal(unique.size, ids.length, `kill ${kill + 1}: a call stands in the journal twice`);
    const missing = [...seen].filter((id) => !unique.has(id));
    assert.deepEqual(
      missing,
      [],
      `kill ${kill + 1}: of ${seen.size} calls seen complete, ${missing.length} are missing`,
    );
  }
  t.diagnostic(`${kills} kills, ${seen.size} calls seen complete, none missing, none twice`);
  return { seen, catalyst };
}
