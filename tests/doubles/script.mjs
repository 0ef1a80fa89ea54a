// script.mjs - streams and bodies of each dialect, built from what a model is to say, for tests whose answers
// depend on the request.
//
// A turn is a list of {text} and {tool, input, id?, freeform?}; hand-written transcripts show the dialects'
// odd corners, this gives an agent its next step.

let serial = 0;
const id = (prefix) => `${prefix}_double${String(++serial).padStart(8, '0')}`;

/** A text in pieces of a few characters, never inside a surrogate pair. */
export function pieces(text, length = 7) {
  const letters = Array.from(text);
  const out = [];
  for (let i = 0; i < letters.length; i += length) out.push(letters.slice(i, i + length).join(''));
  return out.length > 0 ? out : [''];
}

const named = (event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;

/** Anthropic messages: {sse} or {body}. */
export function messagesTurn(turn, { model, stream, usage = {} }) {
  const total = {
    input_tokens: 20,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
    output_tokens: 12,
    service_tier: 'standard',
    ...usage,
  };
  const stop = turn.some((part) => part.tool) ? 'tool_use' : 'end_turn';
  const blocks = turn.map((part) =>
    part.tool
      ? { type: 'tool_use', id: part.id ?? id('toolu'), name: part.tool, input: part.input }
      : { type: 'text', text: part.text },
  );
  const message = {
    id: id('msg'),
    type: 'message',
    role: 'assistant',
    model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: { ...total, output_tokens: 1 },
  };
  if (!stream) return { body: { ...message, content: blocks, stop_reason: stop, usage: total } };
  let sse = named({ type: 'message_start', message });
  blocks.forEach((block, index) => {
    const start = block.type === 'text' ? { ...block, text: '' } : { ...block, input: {} };
    sse += named({ type: 'content_block_start', index, content_block: start });
    if (index === 0) sse += named({ type: 'ping' });
    const deltas =
      block.type === 'text'
        ? pieces(block.text).map((text) => ({ type: 'text_delta', text }))
        : pieces(JSON.stringify(block.input)).map((partial_json) => ({
            type: 'input_json_delta',
            partial_json,
          }));
    for (const delta of deltas) sse += named({ type: 'content_block_delta', index, delta });
    sse += named({ type: 'content_block_stop', index });
  });
  sse += named({
    type: 'message_delta',
    delta: { stop_reason: stop, stop_sequence: null },
    usage: { output_tokens: total.output_tokens },
  });
  sse += named({ type: 'message_stop' });
  return { sse };
}

/** OpenAI responses: {sse} or {body}. */
export function responsesTurn(turn, { model, stream, usage = {} }) {
  const total = {
    input_tokens: 30,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: 14,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 44,
    ...usage,
  };
  const response = {
    id: id('resp'),
    object: 'response',
    created_at: 1763942400,
    status: 'in_progress',
    error: null,
    incomplete_details: null,
    model,
    output: [],
    parallel_tool_calls: true,
    tool_choice: 'auto',
    tools: [],
    usage: null,
    metadata: {},
  };
  const output = turn.map((part) => {
    if (!part.tool)
      return {
        id: id('msg'),
        type: 'message',
        status: 'completed',
        role: 'assistant',
        content: [{ type: 'output_text', annotations: [], text: part.text }],
      };
    if (part.freeform)
      return {
        id: id('ctc'),
        type: 'custom_tool_call',
        status: 'completed',
        call_id: part.id ?? id('call'),
        name: part.tool,
        input: part.input,
      };
    return {
      id: id('fc'),
      type: 'function_call',
      status: 'completed',
      call_id: part.id ?? id('call'),
      name: part.tool,
      ...(part.namespace ? { namespace: part.namespace } : {}),
      arguments: JSON.stringify(part.input),
    };
  });
  const done = { ...response, status: 'completed', output, usage: total };
  if (!stream) return { body: done };
  let n = 0;
  let sse = '';
  const say = (type, rest) => (sse += named({ type, sequence_number: n++, ...rest }));
  say('response.created', { response });
  say('response.in_progress', { response });
  output.forEach((item, output_index) => {
    const at = { item_id: item.id, output_index };
    if (item.type === 'message') {
      const { text } = item.content[0];
      say('response.output_item.added', {
        output_index,
        item: { ...item, status: 'in_progress', content: [] },
      });
      say('response.content_part.added', { ...at, content_index: 0, part: { ...item.content[0], text: '' } });
      for (const delta of pieces(text)) say('response.output_text.delta', { ...at, content_index: 0, delta });
      say('response.output_text.done', { ...at, content_index: 0, text });
      say('response.content_part.done', { ...at, content_index: 0, part: item.content[0] });
    } else if (item.type === 'custom_tool_call') {
      say('response.output_item.added', {
        output_index,
        item: { ...item, status: 'in_progress', input: '' },
      });
      for (const delta of pieces(item.input)) say('response.custom_tool_call_input.delta', { ...at, delta });
      say('response.custom_tool_call_input.done', { ...at, input: item.input });
    } else {
      say('response.output_item.added', {
        output_index,
        item: { ...item, status: 'in_progress', arguments: '' },
      });
      for (const delta of pieces(item.arguments))
        say('response.function_call_arguments.delta', { ...at, delta });
      say('response.function_call_arguments.done', { ...at, arguments: item.arguments });
    }
    say('response.output_item.done', { output_index, item });
  });
  say('response.completed', { response: done });
  return { sse };
}
