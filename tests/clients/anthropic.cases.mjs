// anthropic.cases.mjs - what Anthropic's SDK must get, told once and run twice: straight at the double (which
// proves the double) and through Catalyst.

import assert from 'node:assert/strict';
import test from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { transcript } from '../doubles/provider.mjs';
import { gate, until } from '../lib/wait.mjs';

const MODEL = 'claude-opus-5-5';
const ASK = {
  model: MODEL,
  max_tokens: 256,
  messages: [{ role: 'user', content: 'What is the capital of France?' }],
};
const TOOLS = [
  {
    name: 'get_weather',
    description: 'Weather of a city',
    input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
  { name: 'get_time', input_schema: { type: 'object', properties: { zone: { type: 'string' } } } },
];

const whole = (name) => JSON.parse(transcript(`${name}.json`).toString('utf8'));
const TRANSCRIPTS = [
  'messages-plain',
  'messages-tools',
  'messages-unicode',
  'messages-thinking',
  'messages-cache',
  'messages-refusal',
];

async function collect(stream) {
  const out = [];
  for await (const event of stream) out.push(event);
  return out;
}

export function anthropicCases(open, options) {
  const scene = async (t, clientOptions = {}) => {
    const it = await open(t);
    const client = new Anthropic({
      baseURL: it.baseURL,
      apiKey: it.key,
      authToken: null,
      maxRetries: 0,
      timeout: 10_000,
      ...clientOptions,
    });
    return { ...it, client };
  };
  const it = (name, run) => test(name, { timeout: 180_000, ...options }, run);

  it('messages: plain calls of every transcript', async (t) => {
    const { client, double } = await scene(t);
    for (const name of TRANSCRIPTS) {
      double.next({ transcript: name });
      const got = await client.messages.create(ASK);
      assert.deepEqual(got, whole(name), name);
    }
    assert.deepEqual(double.last.json(), ASK);
  });

  it('messages: streams of every transcript say what the bodies say', async (t) => {
    const { client, double } = await scene(t);
    for (const name of TRANSCRIPTS) {
      double.next({ transcript: name });
      const got = await client.messages.stream(ASK).finalMessage();
      const want = whole(name);
      assert.deepEqual(got.content, want.content, name);
      assert.equal(got.stop_reason, want.stop_reason, name);
      for (const [kind, n] of Object.entries(want.usage))
        assert.deepEqual(got.usage[kind], n, `${name} ${kind}`);
    }
  });

  it('messages: a stream reads the same in single bytes', async (t) => {
    const { client, double } = await scene(t);
    for (const name of TRANSCRIPTS) {
      double.next({ transcript: name }, { transcript: name, deliver: 'bytes' });
      const usual = await collect(await client.messages.create({ ...ASK, stream: true }));
      const bytewise = await collect(await client.messages.create({ ...ASK, stream: true }));
      assert.deepEqual(bytewise, usual, name);
      assert.equal(usual.at(-1).type, 'message_stop');
    }
  });

  it('messages: a round of parallel tool calls', async (t) => {
    const { client, double } = await scene(t);
    const messages = [{ role: 'user', content: 'Weather and time in Zürich?' }];
    const first = await client.messages.stream({ ...ASK, messages, tools: TOOLS }).finalMessage();
    assert.equal(first.stop_reason, 'tool_use');
    const uses = first.content.filter((b) => b.type === 'tool_use');
    assert.deepEqual(
      uses.map((u) => [u.name, u.input]),
      [
        ['get_weather', { city: 'Zürich', unit: 'celsius' }],
        ['get_time', { zone: 'Europe/Zurich' }],
      ],
    );
    messages.push(
      { role: 'assistant', content: first.content },
      {
        role: 'user',
        content: uses.map((u) => ({ type: 'tool_result', tool_use_id: u.id, content: 'done' })),
      },
    );
    const second = await client.messages.create({ ...ASK, messages, tools: TOOLS });
    assert.equal(second.content[0].text, 'Paris is the capital of France.');
    assert.equal(double.last.json().messages.length, 3);
  });

  it('messages: beta endpoints and their header', async (t) => {
    const { client, double } = await scene(t);
    const got = await client.beta.messages.create({ ...ASK, betas: ['context-1m-2025-08-07'] });
    assert.equal(got.content[0].text, 'Paris is the capital of France.');
    assert.equal(double.last.path, '/v1/messages');
    assert.match(double.last.header('anthropic-beta'), /context-1m-2025-08-07/);
    assert.match(double.last.header('anthropic-version'), /^20\d\d-\d\d-\d\d$/);
  });

  it('count_tokens', async (t) => {
    const { client, double } = await scene(t);
    const { model, messages } = ASK;
    assert.deepEqual(await client.messages.countTokens({ model, messages }), { input_tokens: 2095 });
    assert.equal(double.last.path, '/v1/messages/count_tokens');
  });

  it('models: the list', async (t) => {
    const { client } = await scene(t);
    const ids = [];
    for await (const model of client.models.list()) {
      ids.push(model.id);
      assert.equal(model.type, 'model');
    }
    assert.ok(
      ids.some((id) => id.startsWith('claude-')),
      ids.join(' '),
    );
  });

  it('a token in Authorization serves as the key', async (t) => {
    const it = await scene(t);
    if (!it.isGateway) return; // the double wants what the real provider wants
    const client = new Anthropic({ baseURL: it.baseURL, apiKey: null, authToken: it.key, maxRetries: 0 });
    const got = await client.messages.create(ASK);
    assert.equal(got.stop_reason, 'end_turn');
    assert.equal(it.double.last.header('authorization'), undefined);
  });

  it("errors of the provider become the SDK's typed errors", async (t) => {
    const { client, double } = await scene(t);
    for (const [status, type] of [
      [429, Anthropic.RateLimitError],
      [500, Anthropic.InternalServerError],
      [529, Anthropic.InternalServerError],
    ]) {
      for (const stream of [false, true]) {
        double.next({ fault: status });
        const error = await client.messages.create({ ...ASK, stream }).then(
          () => null,
          (e) => e,
        );
        assert.ok(error instanceof type, `${status}: ${error?.constructor.name}`);
        assert.equal(error.status, status);
        assert.equal(error.error.type, 'error');
      }
    }
  });

  it('a wrong key is an AuthenticationError', async (t) => {
    const { client } = await scene(t, { apiKey: 'sk-ant-wrong' });
    await assert.rejects(client.messages.create(ASK), Anthropic.AuthenticationError);
  });

  it('the SDK tries again after 429, 500 and 529, and gets its answer', async (t) => {
    const { client, double } = await scene(t, { maxRetries: 3 });
    double.next({ fault: 429 }, { fault: 500 }, { fault: 529 });
    const got = await client.messages.create(ASK);
    assert.equal(got.content[0].text, 'Paris is the capital of France.');
    assert.equal(double.exchanges.length, 4);
  });

  it('an error in mid-stream is thrown', async (t) => {
    const { client, double } = await scene(t);
    double.next({ transcript: 'messages-error' });
    await assert.rejects(
      client.messages.stream(ASK).finalMessage(),
      (e) => e instanceof Anthropic.APIError && /Overloaded/.test(e.message),
    );
  });

  it('a dropped or reset connection is an error', async (t) => {
    const { client, double, isGateway } = await scene(t);
    for (const fault of ['drop', 'reset', 'garbage']) {
      double.next({ fault });
      const error = await client.messages.create(ASK).then(
        () => null,
        (e) => e,
      );
      if (isGateway) assert.equal(error?.status, 502, `${fault}: ${error}`);
      else assert.ok(error instanceof Anthropic.APIConnectionError, `${fault}: ${error}`);
    }
  });

  it('a stream that is cut off never ends as a success', async (t) => {
    const { client, double } = await scene(t);
    for (const fault of ['cut', 'reset-mid']) {
      double.next({ fault, after: 4 });
      await assert.rejects(client.messages.stream(ASK).finalMessage(), fault);
    }
    double.next({ fault: 'cut' });
    await assert.rejects(client.messages.create(ASK));
  });

  it('abort in mid-stream reaches the provider', async (t) => {
    const { client, double } = await scene(t);
    const never = gate();
    double.next({ gate: never, after: 4 });
    const stream = await client.messages.create({ ...ASK, stream: true });
    let n = 0;
    for await (const event of stream) {
      assert.ok(event.type);
      if (++n === 2) stream.controller.abort();
    }
    assert.ok(n >= 2 && n <= 4, `${n} events: no more than had been sent`);
    await until('the double to see its client leave', () => double.last.clientClosedAt !== 0);
  });

  it("a provider that stalls is the client's to leave", async (t) => {
    const { client, double } = await scene(t, { timeout: 300 });
    double.next({ fault: 'stall-head' });
    await assert.rejects(client.messages.create(ASK), Anthropic.APIConnectionTimeoutError);
    await until('the double to see its client leave', () => double.last.clientClosedAt !== 0);
  });
}
