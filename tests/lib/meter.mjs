// meter.mjs - a provider's own meter: answers of chat and messages whose tokens depend on the request, and a ledger of what
// they cost, in nano-dollars, that the test compares with what Catalyst says.

/** USD per million tokens. */
const PRICES = {
  'gpt-4o-mini': { input: 0.15, output: 0.6 },
  'claude-sonnet-4-5-20250929': { input: 3, output: 15, cache_read: 0.3, cache_write: 3.75 },
};

/** Nano-dollars, exactly: the prices are whole micro-dollars per million tokens (pico-dollars a token). */
export function cost(model, tokens) {
  const price = PRICES[model];
  let pico = 0n;
  for (const [kind, n] of Object.entries(tokens))
    pico += BigInt(Math.round((price[kind] ?? price.input) * 1e6)) * BigInt(n);
  return Number((pico + 500n) / 1000n);
}

const limitOf = (body) => Math.max(body.max_tokens ?? 0, body.max_completion_tokens ?? 0, body.max_output_tokens ?? 0);

export class Meter {
  /** tokens(body, x) gives {input, output, ...} of a call; by default a token per four bytes, and all the output that is allowed. */
  constructor({ tokens } = {}) {
    this.tokens = tokens ?? (() => ({}));
    this.spent = 0;
    this.calls = [];
    this.act = (x, dialect, body) => this.#answer(x, dialect, body);
  }

  #answer(x, dialect, body) {
    if (dialect !== 'chat' && dialect !== 'messages') return {};
    const choices = body.n ?? 1;
    const used = {
      input: Math.ceil(x.body.length / 4),
      output: limitOf(body) * choices,
      ...this.tokens(body, x),
    };
    const nanousd = cost(body.model, used);
    this.spent += nanousd;
    this.calls.push({ model: body.model, limit: limitOf(body), used, nanousd });
    if (dialect === 'messages') {
      const usage = {
        input_tokens: used.input,
        cache_read_input_tokens: used.cache_read ?? 0,
        cache_creation_input_tokens: used.cache_write ?? 0,
        output_tokens: used.output,
      };
      return {
        body: {
          id: 'msg_metered',
          type: 'message',
          role: 'assistant',
          model: body.model,
          content: [{ type: 'text', text: 'Done.' }],
          stop_reason: 'end_turn',
          stop_sequence: null,
          usage,
        },
      };
    }
    const usage = {
      prompt_tokens: used.input,
      completion_tokens: used.output,
      total_tokens: used.input + used.output,
    };
    if (!body.stream)
      return {
        body: {
          id: 'chatcmpl-metered',
          object: 'chat.completion',
          created: 1,
          model: body.model,
          choices: [{ index: 0, message: { role: 'assistant', content: 'Done.' }, finish_reason: 'stop' }],
          usage,
        },
      };
    const chunk = (more) =>
      `data: ${JSON.stringify({ id: 'chatcmpl-metered', object: 'chat.completion.chunk', created: 1, model: body.model, ...more })}\n\n`;
    return {
      sse:
        chunk({ choices: [{ index: 0, delta: { role: 'assistant', content: 'Done.' }, finish_reason: null }] }) +
        chunk({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }) +
        chunk({ choices: [], usage }) +
        'data: [DONE]\n\n',
    };
  }
}
