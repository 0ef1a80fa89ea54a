import { describe, expect, it } from 'vitest';
import { createParser, type StreamEvent } from './sse';

const STREAM =
  ': hello\n\nid: 7\nevent: project.created\ndata: {"a":1}\n\ndata: one\ndata:two\r\n\r\nevent: nothing\n\nid: 8\ndata: last\n\n';
const EVENTS: StreamEvent[] = [
  { id: '7', event: 'project.created', data: '{"a":1}' },
  { id: null, event: 'message', data: 'one\ntwo' },
  { id: '8', event: 'message', data: 'last' },
];

function read(pieces: string[]): StreamEvent[] {
  const events: StreamEvent[] = [];
  const parse = createParser((event) => events.push(event));
  for (const piece of pieces) parse(piece);
  return events;
}

describe('a stream of events', () => {
  it('is read whole', () => {
    expect(read([STREAM])).toEqual(EVENTS);
  });
  it('is read the same when it is split at any place', () => {
    for (let i = 1; i < STREAM.length; i++)
      expect(read([STREAM.slice(0, i), STREAM.slice(i)]), `at ${i}`).toEqual(EVENTS);
  });
  it('is read byte by byte', () => {
    expect(read([...STREAM])).toEqual(EVENTS);
  });
});
