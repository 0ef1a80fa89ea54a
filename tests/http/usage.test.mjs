// usage.test.mjs - tokens by kind, exact money, labels, and the commands and metrics that show them.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { PATHS, bodyOf, call, isAnthropic } from '../lib/call.mjs';
import { NO_BINARY, startGateway, temporaryFolder } from '../lib/catalyst.mjs';
import { scope } from '../lib/defer.mjs';
import { makeKey } from '../lib/keys.mjs';
import { exchange, request } from '../lib/raw.mjs';

const upstream = (scene, dialect) => scene.double[isAnthropic(dialect) ? 'anthropic' : 'openai'];
const kinds = (input, cache_read, cache_write, cache_write_1h, output, reasoning) => ({
  input,
  cache_read,
  cache_write,
  cache_write_1h,
  output,
  reasoning,
});
const only = (tokens) => Object.fromEntries(Object.keys(kinds()).map((k) => [k, tokens[k]]));

// Dialect, transcript, model, tokens by kind, and the cost in nano-USD computed by hand from the list prices
// of the model.
const CALLS = [
  // 176 x 0.15 + 1024 x 0.075 + 7 x 0.60 USD per million
  ['chat', 'chat-plain', 'gpt-4o-mini', kinds(176, 1024, 0, 0, 7, 0), 107_400],
  // 312 x 0.15 + 48 x 0.60
  ['chat', 'chat-tools', 'gpt-4o-mini', kinds(312, 0, 0, 0, 48, 0), 75_600],
  // 274 x 1.10 + 256 x 0.275 + 1093 x 4.40; reasoning is part of the output
  ['chat', 'chat-reasoning', 'o4-mini', kinds(274, 256, 0, 0, 1093, 1088), 5_181_000],
  // 388 x 0.40 + 512 x 0.10 + 12 x 1.60
  ['responses', 'responses-plain', 'gpt-4.1-mini', kinds(388, 512, 0, 0, 12, 0), 225_600],
  // 60 x 0.25 + 512 x 0.025 + 128 x 0.25 (no price for writes: the input's) + 330 x 2.00
  ['responses', 'responses-reasoning', 'gpt-5-mini', kinds(60, 512, 128, 0, 330, 320), 719_800],
  // 30 x 0.40 + 16 x 1.60
  ['responses', 'responses-incomplete', 'gpt-4.1-mini', kinds(30, 0, 0, 0, 16, 0), 37_600],
  // 25 x 3 + 11 x 15
  ['messages', 'messages-plain', 'claude-sonnet-4-5-20250929', kinds(25, 0, 0, 0, 11, 0), 240_000],
  // 17 x 3 + 2048 x 0.30 + 512 x 3.75 + 256 x 6 + 5 x 15
  ['messages', 'messages-cache', 'claude-sonnet-4-5-20250929', kinds(17, 2048, 512, 256, 5, 0), 4_196_400],
  // 61 x 3 + 104 x 15
  ['messages', 'messages-thinking', 'claude-sonnet-4-5-20250929', kinds(61, 0, 0, 0, 104, 71), 1_743_000],
  // 472 x 3 + 89 x 15
  ['messages', 'messages-tools', 'claude-sonnet-4-5-20250929', kinds(472, 0, 0, 0, 89, 0), 2_751_000],
];

describe('what calls cost', { skip: NO_BINARY }, () => {
  const suite = scope();
  let scene;
  before(async () => {
    const prices = {
      'priced-half': { input: '0.0005', output: '0.000499' },
      'priced-large': { input: '123456.789012', output: '0.000001' },
    };
    scene = await startGateway(suite, {
      config: ({ standard }) => ({
        ...standard,
        providers: [{ ...standard.providers[0], prices }, standard.providers[1]],
      }),
    });
  });
  after(suite.end);

  for (const [dialect, name, model, tokens, cost] of CALLS) {
    for (const stream of [false, true]) {
      test(`${name}${stream ? ', streamed' : ''}: each kind, and the exact cost`, async () => {
        upstream(scene, dialect).next({ transcript: name });
        const answer = await call(scene, dialect, bodyOf(dialect, { model, stream }));
        const record = await scene.catalyst.record(answer.id);
        assert.deepEqual(only(record.tokens), tokens);
        assert.equal(record.cost_nanousd, cost);
        assert.equal(record.cost_usd, `0.${String(cost).padStart(9, '0')}`);
        assert.equal(record.estimated, false);
        assert.equal(record.streamed, stream);
        assert.equal(record.outcome, 'completed');
        assert.equal(record.status, 200);
        assert.equal(record.dialect, dialect);
        assert.equal(record.model, model);
        assert.equal(record.provider, isAnthropic(dialect) ? 'anthropic' : 'openai');
        assert.equal(record.key, 'alice');
        assert.equal(record.project, 'demo');
        assert.equal(record.bytes_in, Buffer.byteLength(bodyOf(dialect, { model, stream })));
        assert.equal(record.bytes_out, answer.body.length);
      });
    }
  }

  test('embeddings cost their input', async () => {
    const answer = await call(scene, 'embeddings');
    const record = await scene.catalyst.record(answer.id);
    assert.deepEqual(only(record.tokens), kinds(8, 0, 0, 0, 0, 0));
    assert.equal(record.cost_nanousd, 160); // 8 x 0.02
  });

  test('counting tokens costs nothing', async () => {
    const answer = await call(scene, 'count_tokens');
    const record = await scene.catalyst.record(answer.id);
    assert.deepEqual(only(record.tokens), kinds(0, 0, 0, 0, 0, 0));
    assert.equal(record.cost_nanousd, 0);
    assert.equal(record.estimated, false);
  });

  test('rounding is half up, once per call, and large sums are exact', async () => {
    const usage = (prompt_tokens, completion_tokens) => ({
      body: {
        id: 'x',
        object: 'chat.completion',
        choices: [{ index: 0, message: { role: 'assistant', content: '' }, finish_reason: 'stop' }],
        usage: { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens },
      },
    });
    // Prices of 500, 499, 123,456,789,012 and 1 pico-USD per token.
    for (const [model, input, output, cost] of [
      ['priced-half', 1, 0, 1],
      ['priced-half', 1, 1, 1],
      ['priced-half', 1, 2, 1],
      ['priced-half', 2, 1, 1],
      ['priced-half', 1, 3, 2],
      ['priced-half', 3, 0, 2],
      ['priced-large', 1_000_000, 3, 123_456_789_012_000],
      ['priced-large', 72_000_000, 499, 8_888_888_808_864_000],
    ]) {
      scene.double.openai.next(usage(input, output));
      const answer = await call(scene, 'chat', bodyOf('chat', { model }));
      const record = await scene.catalyst.record(answer.id);
      assert.equal(record.cost_nanousd, cost, `${model} ${input} ${output}`);
    }
  });

  test('a model without a price has no cost, and is never free', async () => {
    const answer = await call(scene, 'chat', bodyOf('chat', { model: 'gpt-unheard-of-99' }));
    const record = await scene.catalyst.record(answer.id);
    assert.equal(record.cost_nanousd, null);
    assert.equal(record.cost_usd, null);
    assert.equal(record.tokens.input, 176);
  });

  test('answers without usage are estimated from what passed, and marked', async () => {
    // "What is the capital of France?" has 30 bytes, so 8 tokens; the answers have 34 and 14.
    for (const [dialect, output] of [
      ['chat', 9],
      ['responses', 4],
      ['messages', 4],
    ]) {
      for (const stream of [false, true]) {
        upstream(scene, dialect).next({ transcript: `${dialect}-no-usage` });
        const answer = await call(scene, dialect, bodyOf(dialect, { stream }));
        const record = await scene.catalyst.record(answer.id);
        assert.equal(record.estimated, true, `${dialect} ${stream}`);
        assert.equal(record.outcome, 'completed');
        assert.deepEqual(only(record.tokens), kinds(8, 0, 0, 0, output, 0), `${dialect} ${stream}`);
        assert.ok(record.cost_nanousd > 0);
      }
    }
  });

  test('phases of a call stand in order', async () => {
    const answer = await call(scene, 'chat', bodyOf('chat', { stream: true }));
    const record = await scene.catalyst.record(answer.id);
    const times = ['sent_us', 'head_us', 'first_us', 'total_us'].map((n) => record[n]);
    assert.ok(
      times.every((v) => Number.isInteger(v) && v >= 0),
      JSON.stringify(record),
    );
    assert.deepEqual(
      times,
      times.toSorted((a, b) => a - b),
    );
  });

  test('usage --json is the sum of the records', async () => {
    const records = await scene.catalyst.requests();
    const usage = await scene.catalyst.usage();
    assert.equal(usage.calls, records.length);
    const priced = records.filter((r) => r.cost_nanousd !== null);
    assert.equal(
      usage.cost_nanousd,
      priced.reduce((sum, r) => sum + r.cost_nanousd, 0),
    );
    assert.match(usage.cost_usd, /^\d+\.\d{9}$/);
    assert.equal(usage.unknown_cost_calls, records.length - priced.length);
    assert.equal(usage.estimated_calls, records.filter((r) => r.estimated).length);
    for (const kind of Object.keys(kinds()))
      assert.equal(
        usage.tokens[kind],
        records.reduce((sum, r) => sum + r.tokens[kind], 0),
        kind,
      );
    const by = await scene.catalyst.usage('--by', 'model');
    assert.equal(
      by.groups.reduce((sum, g) => sum + g.calls, 0),
      records.length,
    );
    assert.equal(by.groups.find((g) => g.model === 'o4-mini').cost_nanousd, 2 * 5_181_000);
  });
});

describe('labels', { skip: NO_BINARY }, () => {
  const suite = scope();
  const free = makeKey();
  let scene;
  before(async () => {
    scene = await startGateway(suite, {
      config: ({ standard }) => ({ ...standard, keys: [...standard.keys, { name: 'free', key: free }] }),
    });
  });
  after(suite.end);

  test("Catalyst's own headers label a call; the key's own project wins", async () => {
    const headers = {
      'x-catalyst-project': 'else',
      'x-catalyst-task': 'T-17',
      'x-catalyst-user': 'ada',
      'x-catalyst-tags': 'ci,nightly',
    };
    for (const [key, project] of [
      [scene.key, 'demo'],
      [free, 'else'],
    ]) {
      const answer = await call({ ...scene, key }, 'chat', undefined, { headers });
      const record = await scene.catalyst.record(answer.id);
      assert.equal(record.project, project);
      assert.equal(record.task, 'T-17');
      assert.equal(record.user, 'ada');
      assert.deepEqual(record.tags, ['ci', 'nightly']);
    }
  });

  test('sessions that clients send, in whatever way', async () => {
    const cases = [
      ['messages', {}, { 'x-claude-code-session-id': 'S1' }, 'S1'],
      [
        'messages',
        { metadata: { user_id: 'user_0123_account__session_5f2d7c0a-9be8-4e5b-8a3d-1e6f00000000' } },
        {},
        '5f2d7c0a-9be8-4e5b-8a3d-1e6f00000000',
      ],
      ['chat', { prompt_cache_key: 'S2' }, {}, 'S2'],
      ['responses', { prompt_cache_key: 'S3' }, {}, 'S3'],
      ['chat', { metadata: { session_id: 'S4' } }, {}, 'S4'],
    ];
    for (const [dialect, more, headers, session] of cases) {
      const answer = await call(scene, dialect, bodyOf(dialect, more), { headers });
      assert.equal(
        (await scene.catalyst.record(answer.id)).session,
        session,
        JSON.stringify([more, headers]),
      );
    }
    const answer = await call(scene, 'chat', bodyOf('chat', { metadata: { task_id: 'T9' } }));
    assert.equal((await scene.catalyst.record(answer.id)).task, 'T9');
  });

  test("one filter gives the cost of an agent's run", async () => {
    for (let i = 0; i < 3; i++)
      await call(scene, 'messages', undefined, {
        headers: { 'x-claude-code-session-id': 'RUN', 'x-catalyst-task': 'one' },
      });
    const usage = await scene.catalyst.usage('--session', 'RUN');
    assert.equal(usage.calls, 3);
    assert.equal(usage.cost_nanousd, 3 * 240_000);
    assert.equal((await scene.catalyst.requests('--session', 'RUN')).length, 3);
    assert.equal((await scene.catalyst.requests('--task', 'one')).length, 3);
  });

  test('labels of foreign bytes and great length harm nobody', async () => {
    const answer = await call(scene, 'chat', undefined, {
      headers: { 'x-catalyst-task': 'x'.repeat(5000), 'x-catalyst-user': 'Zo\xeb "q" \\' },
    });
    assert.equal(answer.status, 200);
    const record = await scene.catalyst.record(answer.id);
    assert.ok(record.task.length <= 256);
  });

  test('refused calls of a known key are recorded, and cost nothing', async () => {
    const answer = await call(scene, 'chat', bodyOf('chat', { model: 'claude-opus-4-5' }));
    assert.equal(answer.status, 400);
    const record = await scene.catalyst.record(answer.id);
    assert.equal(record.outcome, 'refused');
    assert.equal(record.cost_nanousd, 0);
    assert.ok(record.error);
  });
});

describe('prices of the user', { skip: NO_BINARY }, () => {
  test('the configuration goes before the file, the file before the list; local kinds cost 0', async (t) => {
    const folder = temporaryFolder(t);
    const file = path.join(folder, 'prices.tsv');
    const day = new Date().toISOString().slice(0, 10); // the newest row in force counts
    const row = (model, unit, pico) => `openai\t${model}\t${day}\t${unit}\t${pico}\n`;
    writeFileSync(
      file,
      row('gpt-4o-mini', 'input', 1_000_000) +
        row('gpt-4o-mini', 'output', 2_000_000) +
        row('gpt-4.1-mini', 'input', 3_000_000) +
        row('gpt-4.1-mini', 'output', 3_000_000),
    );
    const scene = await startGateway(t, {
      config: ({ standard, double }) => ({
        ...standard,
        prices_file: file,
        providers: [
          {
            ...standard.providers[0],
            prices: { 'gpt-4.1-mini': { input: '10', output: '20', cache_read: '5' } },
          },
          {
            name: 'local',
            kind: 'ollama',
            base_url: double.openai.openaiUrl,
            api_key: double.openai.key,
            models: ['llama*'],
          },
        ],
      }),
    });
    const cost = async (dialect, model) =>
      (await scene.catalyst.record((await call(scene, dialect, bodyOf(dialect, { model }))).id)).cost_nanousd;
    assert.equal(await cost('responses', 'gpt-4.1-mini'), 388 * 10_000 + 512 * 5_000 + 12 * 20_000);
    assert.equal(await cost('chat', 'llama3.2:3b'), 0);
    const file_cost = await cost('chat', 'gpt-4o-mini');
    assert.ok(
      [176 * 1000 + 1024 * 75 + 7 * 2000, 176 * 1000 + 1024 * 1000 + 7 * 2000].includes(file_cost),
      String(file_cost),
    );
  });
});

describe('metrics', { skip: NO_BINARY }, () => {
  test('what Prometheus reads is well-formed and counts the calls', async (t) => {
    const scene = await startGateway(t);
    for (const dialect of Object.keys(PATHS)) await call(scene, dialect, bodyOf(dialect));
    await call(scene, 'chat', bodyOf('chat', { stream: true }));
    scene.double.openai.next({ fault: 429 });
    await call(scene, 'chat');
    await call(scene, 'chat', '{');
    const answer = await exchange(scene.catalyst.port, request('GET', '/metrics'));
    assert.equal(answer.status, 200);
    assert.match(
      answer.header('content-type'),
      /^text\/plain; version=0\.0\.4|^application\/openmetrics-text/,
    );
    const text = answer.body.toString();
    for (const line of text.split('\n'))
      assert.match(
        line,
        /^$|^# (HELP|TYPE|EOF|UNIT)|^[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^}]*\})? -?[0-9.e+]+(Inf)?$/,
        line,
      );
    assert.ok(!text.includes(scene.key));
    assert.match(text, /^catalyst_[a-z_]+/m);
    t.diagnostic(`${text.split('\n').length} lines`);
    if (spawnSync('promtool', ['--version']).error)
      return t.diagnostic('SKIP promtool: it is not on this machine');
    execFileSync('promtool', ['check', 'metrics'], { input: text });
  });
});
