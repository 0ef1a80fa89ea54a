// budgets.test.mjs - hard budgets hold whatever races, grows or dies: the double's own ledger is the judge.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bodyOf, call } from '../lib/call.mjs';
import { NO_BINARY, startCatalyst, startGateway } from '../lib/catalyst.mjs';
import { Meter } from '../lib/meter.mjs';
import { RawConnection, exchange } from '../lib/raw.mjs';
import { callBytes } from '../lib/call.mjs';
import { until } from '../lib/wait.mjs';

const USD = 1e9;

/** A gateway whose key has a budget, in front of doubles with a meter. */
async function metered(t, { budget_usd, budget_period = 'total', tokens, config = {}, ...more }) {
  const meter = new Meter({ tokens });
  const scene = await startGateway(t, {
    openai: { act: meter.act },
    anthropic: { act: meter.act },
    config: ({ standard }) => ({
      ...standard,
      keys: [{ ...standard.keys[0], budget_usd: String(budget_usd), budget_period }],
      ...config,
    }),
    ...more,
  });
  return { ...scene, meter };
}

const spentByRecords = async (scene) =>
  (await scene.catalyst.requests()).reduce((sum, r) => sum + (r.cost_nanousd ?? 0), 0);

describe('hard budgets', { skip: NO_BINARY }, () => {
  test('1,000 parallel calls against $1 never spend more than $1', { timeout: 120_000 }, async (t) => {
    const scene = await metered(t, {
      budget_usd: 1,
      // Half of the calls use all that they were allowed, the others little.
      tokens: (body) => (Math.random() < 0.5 ? {} : { output: 100 }),
    });
    const one = async () => {
      const answer = await call(scene, 'chat', undefined, { deadline_ms: 60_000 });
      assert.ok([200, 402].includes(answer.status), answer.text);
      return answer;
    };
    const answers = await Promise.all(Array.from({ length: 1000 }, one));
    const refused = answers.filter((a) => a.status === 402);
    assert.ok(refused.length > 0 && refused.length < 1000, `${refused.length} refused`);
    assert.ok(scene.meter.spent <= USD, `${scene.meter.spent} spent`);
    for (const answer of refused) {
      const { error } = answer.json();
      assert.equal(error.code, 'budget_exceeded');
      assert.match(error.message, /total budget of key 'alice' has .* of 1\.00 USD left/);
      assert.equal(error.budget.limit_usd, '1.000000000');
      assert.equal(error.budget.resets_at, null);
      assert.equal(answer.header('x-should-retry'), 'false');
    }
    // Until nothing fits any more: what is left is less than the least call.
    await until(
      'the money to be gone',
      async () => {
        const batch = await Promise.all(Array.from({ length: 50 }, one));
        return batch.every((a) => a.status === 402);
      },
      { deadline_ms: 60_000 },
    );
    assert.ok(scene.meter.spent <= USD);
    assert.ok(scene.meter.spent > 0.999 * USD, `only ${scene.meter.spent} of the budget could be used`);
    assert.equal(await spentByRecords(scene), scene.meter.spent);
  });

  test('an agent that asks for 64,000 tokens in a growing conversation can use its $5', { timeout: 120_000 }, async (t) => {
    // A quarter of the bytes is what the tokens are; the cache has all but the newest turn.
    let seen = 0;
    const scene = await metered(t, {
      budget_usd: 5,
      tokens: (body, x) => {
        const all = Math.ceil(x.body.length / 4);
        const fresh = all - seen;
        const used = { input: 3, cache_read: seen, cache_write: Math.max(0, fresh), output: 700 };
        seen = all;
        return used;
      },
    });
    const system = [{ type: 'text', text: 'word '.repeat(3000), cache_control: { type: 'ephemeral' } }];
    const messages = [{ role: 'user', content: 'x'.repeat(40_000) }];
    let lowered = 0;
    let calls = 0;
    let last;
    for (;;) {
      // As agents do: the breakpoint moves along with the last turn.
      const marked = messages.map((m, i) =>
        i < messages.length - 1
          ? m
          : { ...m, content: [{ type: 'text', text: m.content, cache_control: { type: 'ephemeral' } }] },
      );
      last = await call(
        scene,
        'messages',
        JSON.stringify({ model: 'claude-sonnet-4-5-20250929', max_tokens: 64_000, system, messages: marked }),
      );
      if (last.status !== 200) break;
      calls++;
      if (last.header('x-catalyst-max-tokens')) {
        lowered++;
        assert.equal(scene.meter.calls.at(-1).limit, Number(last.header('x-catalyst-max-tokens')));
      }
      messages.push({ role: 'assistant', content: 'y'.repeat(2000) }, { role: 'user', content: 'z'.repeat(3000) });
      assert.ok(calls < 2000);
    }
    assert.equal(last.status, 402, last.text);
    assert.ok(scene.meter.spent <= 5 * USD, `${scene.meter.spent}`);
    // What cannot be used is what the last call could have cost with nothing of it in the cache.
    const { error } = last.json();
    assert.match(error.type, /billing_error/);
    assert.ok(Number(error.budget.left_usd) < Number(error.budget.needed_usd));
    assert.ok(scene.meter.spent > 4.2 * USD, `${calls} calls could use only ${scene.meter.spent / USD} USD`);
    assert.ok(lowered > 0);
    t.diagnostic(`${calls} calls, ${lowered} of them with a lowered limit, used ${(scene.meter.spent / USD).toFixed(4)} of 5 USD; ${error.message}`);
  });

  test('an input that alone cannot fit is refused with the numbers, and never sent', async (t) => {
    const scene = await metered(t, { budget_usd: 0.01 });
    const answer = await call(scene, 'chat', bodyOf('chat', { messages: [{ role: 'user', content: 'x'.repeat(100_000) }] }));
    assert.equal(answer.status, 402);
    const { budget, message } = answer.json().error;
    assert.ok(Number(budget.input_usd) > 0.01);
    assert.ok(budget.input_tokens_at_most >= 100_000);
    assert.match(message, /input alone 0\.015/);
    assert.equal(scene.double.openai.exchanges.length, 0);
    const record = (await scene.catalyst.records(1))[0];
    assert.equal(record.outcome, 'refused');
    assert.equal(record.status, 402);
    assert.equal(record.cost_nanousd, 0);
  });

  test('a limit that the client names is kept when it fits; one is put in where there is none', async (t) => {
    const scene = await metered(t, { budget_usd: 100, tokens: () => ({ output: 5 }) });
    await call(scene, 'chat', bodyOf('chat', { max_tokens: 77 }));
    assert.equal(scene.double.openai.last.json().max_tokens, 77);
    assert.equal(scene.double.openai.last.json().max_completion_tokens, undefined);
    const answer = await call(scene, 'chat');
    assert.equal(scene.double.openai.last.json().max_completion_tokens, 16_384);
    assert.equal(answer.header('x-catalyst-max-tokens'), undefined);
    await call(scene, 'responses');
    assert.equal(scene.double.openai.last.json().max_output_tokens, 32_768);
    // Without a budget nothing is put in.
    const free = await startGateway(t);
    await call(free, 'chat');
    assert.equal(free.double.openai.last.json().max_completion_tokens, undefined);
  });

  test('thinking that would not fit under the lowered limit is refused', async (t) => {
    const scene = await metered(t, { budget_usd: 0.2 });
    const body = (budget_tokens) =>
      bodyOf('messages', { max_tokens: 64_000, thinking: { type: 'enabled', budget_tokens } });
    assert.equal((await call(scene, 'messages', body(60_000))).status, 402);
    const answer = await call(scene, 'messages', body(4000));
    assert.equal(answer.status, 200);
    const limit = Number(answer.header('x-catalyst-max-tokens'));
    assert.ok(limit > 4000 && limit < 64_000);
  });

  test('several choices are all reserved for', async (t) => {
    const scene = await metered(t, { budget_usd: 0.01 });
    const answer = await call(scene, 'chat', bodyOf('chat', { n: 4, max_tokens: 16_000 }));
    assert.equal(answer.status, 200);
    const limit = Number(answer.header('x-catalyst-max-tokens'));
    assert.ok(limit * 4 * 600 <= 0.01 * USD && limit > 3500, `${limit}`);
    assert.ok(scene.meter.spent <= 0.01 * USD);
  });

  test('a limit that is no number is refused, for nobody knows how it would be read', async (t) => {
    const scene = await metered(t, { budget_usd: 1 });
    for (const more of [{ max_tokens: '64000' }, { n: '4' }, { max_tokens: 1.5 }]) {
      const answer = await call(scene, 'chat', bodyOf('chat', more));
      assert.equal(answer.status, 400, answer.text);
      assert.equal(answer.json().error.param, Object.keys(more)[0]);
    }
    assert.equal(scene.double.openai.exchanges.length, 0);
  });

  test('a model of unknown price is refused under a hard budget, and taken without one', async (t) => {
    const scene = await metered(t, { budget_usd: 1 });
    const answer = await call(scene, 'chat', bodyOf('chat', { model: 'gpt-unheard-of' }));
    assert.equal(answer.status, 402);
    assert.match(answer.json().error.message, /price of 'gpt-unheard-of' is not known/);
    assert.equal(answer.header('x-should-retry'), 'false');
    const free = await startGateway(t);
    assert.equal((await call(free, 'chat', bodyOf('chat', { model: 'gpt-unheard-of' }))).status, 200);
  });

  test('a call that fails before any answer gives its reservation back', async (t) => {
    const scene = await metered(t, { budget_usd: 0.02 });
    const down = { fault: 'reset' };
    for (let i = 0; i < 10; i++) {
      scene.double.openai.next(down);
      assert.equal((await call(scene, 'chat')).status, 502);
    }
    assert.equal((await call(scene, 'chat', bodyOf('chat', { max_tokens: 1000 }))).status, 200);
  });

  test('a cancelled stream is settled at what was produced', async (t) => {
    const scene = await metered(t, { budget_usd: 1 });
    scene.double.openai.next({ fault: 'stall', after: 3 });
    const c = await RawConnection.open(scene.catalyst.port);
    await c.send(callBytes(scene, 'chat', bodyOf('chat', { stream: true })));
    await until('the stream to begin', () => c.received.includes('data: '));
    c.close();
    const record = await until('the record', async () => (await scene.catalyst.requests()).find((r) => r.outcome === 'cancelled'));
    assert.ok(record.cost_nanousd > 0 && record.cost_nanousd < 0.001 * USD);
    // All but that is free again: a call for nearly the whole dollar fits.
    const answer = await call(scene, 'chat', bodyOf('chat', { n: 100, max_tokens: 16_000 }));
    assert.equal(answer.status, 200);
    assert.ok(answer.header('x-catalyst-max-tokens') === undefined || Number(answer.header('x-catalyst-max-tokens')) > 15_900);
  });

  test('a budget of the file outlives a restart', async (t) => {
    const scene = await metered(t, { budget_usd: 0.01 });
    const isGone = async () => (await call(scene, 'chat', bodyOf('chat', { max_tokens: 4000 }))).status === 402;
    await until('the money to be gone', isGone, { deadline_ms: 20_000 });
    const { spent } = scene.meter;
    await scene.catalyst.stop();
    scene.catalyst = await startCatalyst(t, { config: scene.config, dataDir: scene.catalyst.dataDir });
    assert.ok(await isGone(), 'the money is there again');
    assert.equal(scene.meter.spent, spent);
  });

  test('an answer without usage is never estimated above what was reserved for it', async (t) => {
    const scene = await metered(t, { budget_usd: 1 });
    const said = { id: 'x', object: 'chat.completion', model: 'gpt-4o-mini', choices: [{ index: 0, message: { role: 'assistant', content: 'antidisestablishmentarianism '.repeat(2000) }, finish_reason: 'stop' }] };
    scene.double.openai.next({ body: said });
    assert.equal((await call(scene, 'chat', bodyOf('chat', { max_tokens: 1000 }))).status, 200);
    const [record] = await scene.catalyst.records(1);
    assert.ok(record.estimated);
    assert.equal(record.tokens.output, 1000);
  });
});
