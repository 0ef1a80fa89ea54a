// openai.cases.mjs - what OpenAI's SDK must get, told once and run twice: straight at the double (which
// proves the double) and through Catalyst.

import assert from 'node:assert/strict';
import test from 'node:test';
import OpenAI from 'openai';
import { events, transcript } from '../doubles/provider.mjs';
import { gate, until, within } from '../lib/wait.mjs';

const MODEL = 'gpt-4o-mini';
const ASK = [{ role: 'user', content: 'What is the capital of France?' }];
const TOOLS = [
  {
    type: 'function',
    function: {
      name: 'get_weather',
      description: 'Weather of a city',
      parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
    },
  },
  {
    type: 'function',
    function: { name: 'get_time', parameters: { type: 'object', properties: { zone: { type: 'string' } } } },
  },
];
const FLAT_TOOLS = TOOLS.map(({ function: f }) => ({
  type: 'function',
  name: f.name,
  parameters: f.parameters,
  strict: false,
}));

const whole = (name) => JSON.parse(transcript(`${name}.json`).toString('utf8'));

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

/** What a chat stream's chunks add up to. */
function assemble(chunks) {
  const message = { content: null, refusal: null, tool_calls: [] };
  let finish = null;
  for (const chunk of chunks) {
    for (const choice of chunk.choices) {
      const { delta } = choice;
      if (delta.content != null) message.content = (message.content ?? '') + delta.content;
      if (delta.refusal != null) message.refusal = (message.refusal ?? '') + delta.refusal;
      for (const call of delta.tool_calls ?? []) {
        const known = (message.tool_calls[call.index] ??= {
          id: call.id,
          type: 'function',
          function: { name: call.function.name, arguments: '' },
        });
        known.function.arguments += call.function.arguments ?? '';
      }
      finish = choice.finish_reason ?? finish;
    }
  }
  return { message, finish };
}

/** open(t) gives {baseURL, key, double, double's behaviour through Catalyst or not, isGateway}. */
export function openaiCases(open, options) {
  const scene = async (t, clientOptions = {}) => {
    const it = await open(t);
    const client = new OpenAI({
      baseURL: it.baseURL,
      apiKey: it.key,
      maxRetries: 0,
      timeout: 10_000,
      ...clientOptions,
    });
    return { ...it, client };
  };
  const it = (name, run) => test(name, { timeout: 180_000, ...options }, run);

  it('chat: a plain call', async (t) => {
    const { client, double } = await scene(t);
    const got = await client.chat.completions.create({ model: MODEL, messages: ASK });
    assert.equal(got.choices[0].message.content, 'The capital of France is Paris.');
    assert.deepEqual(got.usage, whole('chat-plain').usage);
    assert.deepEqual(double.last.json().messages, ASK);
  });

  it('chat: streams of every transcript say what the bodies say', async (t) => {
    const { client, double } = await scene(t);
    for (const name of [
      'chat-plain',
      'chat-tools',
      'chat-unicode',
      'chat-refusal',
      'chat-reasoning',
      'chat-no-usage',
    ]) {
      double.next({ transcript: name });
      const chunks = await collect(
        await client.chat.completions.create({ model: MODEL, messages: ASK, stream: true }),
      );
      const { message, finish } = assemble(chunks);
      const { message: want, finish_reason } = whole(name).choices[0];
      assert.equal(message.content ?? '', want.content ?? '', name);
      assert.equal(message.refusal ?? '', want.refusal ?? '', name);
      assert.deepEqual(message.tool_calls, want.tool_calls ?? [], name);
      assert.equal(finish, finish_reason, name);
      assert.ok(
        chunks.every((c) => c.choices.length > 0),
        `${name}: a usage chunk that nobody asked for`,
      );
      assert.ok(
        chunks.every((c) => c.usage == null),
        `${name}: usage that nobody asked for`,
      );
    }
  });

  it('chat: the usage chunk comes when it is asked for', async (t) => {
    const { client } = await scene(t);
    const chunks = await collect(
      await client.chat.completions.create({
        model: MODEL,
        messages: ASK,
        stream: true,
        stream_options: { include_usage: true },
      }),
    );
    assert.deepEqual(chunks.at(-1).choices, []);
    assert.deepEqual(chunks.at(-1).usage, whole('chat-plain').usage);
    assert.equal(chunks.filter((c) => c.usage).length, 1);
  });

  it('chat: a stream reads the same in single bytes', async (t) => {
    const { client, double } = await scene(t);
    for (const name of ['chat-tools', 'chat-unicode']) {
      double.next({ transcript: name }, { transcript: name, deliver: 'bytes' });
      const ask = { model: MODEL, messages: ASK, stream: true };
      const usual = await collect(await client.chat.completions.create(ask));
      const bytewise = await collect(await client.chat.completions.create(ask));
      assert.deepEqual(bytewise, usual, name);
    }
  });

  it('chat: a round of parallel tool calls', async (t) => {
    const { client, double } = await scene(t);
    const messages = [...ASK];
    const first = assemble(
      await collect(
        await client.chat.completions.create({ model: MODEL, messages, tools: TOOLS, stream: true }),
      ),
    );
    assert.equal(first.finish, 'tool_calls');
    assert.deepEqual(
      first.message.tool_calls.map((c) => [c.function.name, JSON.parse(c.function.arguments)]),
      [
        ['get_weather', { city: 'Zürich', unit: 'celsius', note: 'a "quoted" word' }],
        ['get_time', { zone: 'Europe/Zurich' }],
      ],
    );
    messages.push({ role: 'assistant', content: null, tool_calls: first.message.tool_calls });
    for (const call of first.message.tool_calls)
      messages.push({ role: 'tool', tool_call_id: call.id, content: '{"ok":true}' });
    const second = await client.chat.completions.create({ model: MODEL, messages, tools: TOOLS });
    assert.equal(second.choices[0].message.content, 'The capital of France is Paris.');
    assert.deepEqual(double.last.json().messages, messages);
  });

  it("chat: the SDK's own tool runner comes to its end", async (t) => {
    const { client } = await scene(t);
    const seen = [];
    const runner = client.chat.completions.runTools({
      model: MODEL,
      messages: ASK,
      stream: true,
      tools: TOOLS.map((tool) => ({
        ...tool,
        function: { ...tool.function, parse: JSON.parse, function: (input) => (seen.push(input), 'done') },
      })),
    });
    assert.equal(await runner.finalContent(), 'The capital of France is Paris.');
    assert.equal(seen.length, 2);
  });

  it('responses: a plain call, and streams of every transcript', async (t) => {
    const { client, double } = await scene(t);
    const got = await client.responses.create({ model: MODEL, input: 'What is the capital of France?' });
    assert.equal(got.output_text, 'Paris is the capital of France.');
    for (const name of [
      'responses-plain',
      'responses-tools',
      'responses-unicode',
      'responses-reasoning',
      'responses-refusal',
      'responses-incomplete',
      'responses-no-usage',
    ]) {
      double.next({ transcript: name }, { transcript: name, deliver: 'bytes' });
      const ask = { model: MODEL, input: 'x', stream: true };
      const usual = await collect(await client.responses.create(ask));
      const bytewise = await collect(await client.responses.create(ask));
      assert.deepEqual(usual.at(-1).response, whole(name), name);
      assert.deepEqual(bytewise, usual, name);
      assert.deepEqual(
        usual.map((e) => e.sequence_number),
        usual.map((_, i) => i),
        `${name}: nothing lost, nothing added`,
      );
    }
  });

  it('responses: a round of parallel tool calls', async (t) => {
    const { client, double } = await scene(t);
    const input = [{ role: 'user', content: 'Weather and time in Zürich?' }];
    const first = await client.responses.stream({ model: MODEL, input, tools: FLAT_TOOLS }).finalResponse();
    const calls = first.output.filter((item) => item.type === 'function_call');
    assert.deepEqual(
      calls.map((c) => [c.name, JSON.parse(c.arguments)]),
      [
        ['get_weather', { city: 'Zürich', unit: 'celsius' }],
        ['get_time', { zone: 'Europe/Zurich' }],
      ],
    );
    for (const { id, type, call_id, name, arguments: args } of calls)
      input.push(
        { id, type, call_id, name, arguments: args },
        { type: 'function_call_output', call_id, output: '{"ok":true}' },
      );
    const second = await client.responses.create({ model: MODEL, input, tools: FLAT_TOOLS });
    assert.equal(second.output_text, 'Paris is the capital of France.');
    assert.deepEqual(double.last.json().input, input);
  });

  it('embeddings: floats and the base64 that the SDK asks for', async (t) => {
    const { client, double } = await scene(t);
    const got = await client.embeddings.create({
      model: 'text-embedding-3-small',
      input: ['one', 'two', 'three'],
    });
    assert.equal(got.data.length, 3);
    assert.ok(Math.abs(got.data[0].embedding[2] - 0.015797421) < 1e-8);
    assert.equal(double.last.json().encoding_format, 'base64');
    const floats = await client.embeddings.create({
      model: 'text-embedding-3-small',
      input: 'one',
      encoding_format: 'float',
    });
    assert.equal(floats.data[0].embedding[0], 0.0023064255);
  });

  it('models: the list', async (t) => {
    const { client } = await scene(t);
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.ok(ids.includes(MODEL), ids.join(' '));
  });

  it("errors of the provider become the SDK's typed errors", async (t) => {
    const { client, double } = await scene(t);
    const ask = { model: MODEL, messages: ASK };
    for (const [status, type] of [
      [429, OpenAI.RateLimitError],
      [500, OpenAI.InternalServerError],
      [503, OpenAI.InternalServerError],
    ]) {
      for (const stream of [false, true]) {
        double.next({ fault: status });
        const error = await client.chat.completions.create({ ...ask, stream }).then(
          () => null,
          (e) => e,
        );
        assert.ok(error instanceof type, `${status}: ${error?.constructor.name}`);
        assert.equal(error.status, status);
        assert.ok(error.message.length > 10);
      }
    }
    double.next({ fault: 429 });
    const error = await client.responses.create({ model: MODEL, input: 'x' }).catch((e) => e);
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.equal(error.code, 'rate_limit_exceeded');
  });

  it('a wrong key is an AuthenticationError', async (t) => {
    const { client } = await scene(t, { apiKey: 'sk-wrong' });
    await assert.rejects(
      client.chat.completions.create({ model: MODEL, messages: ASK }),
      OpenAI.AuthenticationError,
    );
  });

  it('the SDK tries again after 429 and 500, and gets its answer', async (t) => {
    const { client, double } = await scene(t, { maxRetries: 3 });
    double.next({ fault: 429 }, { fault: 500 });
    const got = await client.chat.completions.create({ model: MODEL, messages: ASK });
    assert.equal(got.choices[0].message.content, 'The capital of France is Paris.');
    assert.equal(double.exchanges.length, 3);
  });

  it('an error in mid-stream is thrown', async (t) => {
    const { client, double } = await scene(t);
    double.next({ transcript: 'chat-error' });
    const chat = collect(await client.chat.completions.create({ model: MODEL, messages: ASK, stream: true }));
    await assert.rejects(chat, (e) => e instanceof OpenAI.APIError && /server had an error/.test(e.message));
    double.next({ transcript: 'responses-error' });
    const responses = collect(await client.responses.create({ model: MODEL, input: 'x', stream: true }));
    await assert.rejects(responses, (e) => e instanceof OpenAI.APIError);
  });

  it('a dropped or reset connection is an error', async (t) => {
    const { client, double, isGateway } = await scene(t);
    for (const fault of ['drop', 'reset', 'garbage']) {
      double.next({ fault });
      const error = await client.chat.completions.create({ model: MODEL, messages: ASK }).then(
        () => null,
        (e) => e,
      );
      if (isGateway) assert.equal(error?.status, 502, `${fault}: ${error}`);
      else assert.ok(error instanceof OpenAI.APIConnectionError, `${fault}: ${error}`);
    }
  });

  it('a body that is cut off is an error', async (t) => {
    const { client, double } = await scene(t);
    for (const fault of ['cut', 'reset-mid']) {
      double.next({ fault });
      const error = await client.chat.completions.create({ model: MODEL, messages: ASK }).then(
        () => null,
        (e) => e,
      );
      assert.ok(error instanceof Error, fault);
    }
  });

  it('a stream that is cut off never ends as a success', async (t) => {
    const { client, double } = await scene(t);
    for (const fault of ['cut', 'reset-mid']) {
      double.next({ fault, after: 4 });
      const chunks = [];
      const error = await (async () => {
        for await (const chunk of await client.chat.completions.create({
          model: MODEL,
          messages: ASK,
          stream: true,
        }))
          chunks.push(chunk);
      })().then(
        () => null,
        (e) => e,
      );
      assert.ok(error, `${fault}: ended as a success`);
      if (fault === 'cut') assert.equal(chunks.length, 4);
      double.next({ fault, after: 6 });
      await assert.rejects(client.responses.stream({ model: MODEL, input: 'x' }).finalResponse(), fault);
    }
  });

  it('abort in mid-stream reaches the provider', async (t) => {
    const { client, double } = await scene(t);
    for (const start of [
      (signal) => client.chat.completions.create({ model: MODEL, messages: ASK, stream: true }, { signal }),
      (signal) => client.responses.create({ model: MODEL, input: 'x', stream: true }, { signal }),
    ]) {
      const never = gate();
      double.next({ gate: never, after: 3 });
      const before = double.exchanges.length;
      const controller = new AbortController();
      const stream = await start(controller.signal);
      let n = 0;
      for await (const chunk of stream) {
        assert.ok(chunk);
        if (++n === 3) controller.abort();
      }
      assert.equal(n, 3);
      const exchange = double.exchanges[before];
      await until('the double to see its client leave', () => exchange.clientClosedAt !== 0);
    }
  });

  it("a provider that stalls is the client's to leave", async (t) => {
    const { client, double } = await scene(t, { timeout: 300 });
    double.next({ fault: 'stall-head' });
    await assert.rejects(
      client.chat.completions.create({ model: MODEL, messages: ASK }),
      OpenAI.APIConnectionTimeoutError,
    );
    await until('the double to see its client leave', () => double.last.clientClosedAt !== 0);
  });

  it('the first event arrives before the last is sent', async (t) => {
    const { client, double } = await scene(t);
    const rest = gate();
    double.next({ gate: rest, after: 2 });
    const stream = await within(
      'the head',
      client.chat.completions.create({ model: MODEL, messages: ASK, stream: true }),
    );
    const iterator = stream[Symbol.asyncIterator]();
    await within('the first event', iterator.next());
    await within('the second event', iterator.next());
    rest.open();
    let n = 2;
    while (!(await iterator.next()).done) n++;
    assert.equal(n, events(transcript('chat-plain.sse')).length - 2); // without [DONE] and the usage chunk
  });
}
