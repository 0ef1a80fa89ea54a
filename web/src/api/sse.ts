/** One event of a stream (WHATWG HTML 9.2). */
export interface StreamEvent {
  id: string | null;
  event: string;
  data: string;
}

/** Takes text as it arrives and gives whole events. */
export function createParser(onEvent: (event: StreamEvent) => void): (text: string) => void {
  let pending = '';
  let id: string | null = null;
  let event = '';
  let data: string[] = [];
  return (text) => {
    pending += text;
    const lines = pending.split(/\r\n|\n|\r(?!$)/);
    pending = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) onEvent({ id, event: event || 'message', data: data.join('\n') });
        id = null;
        event = '';
        data = [];
        continue;
      }
      const colon = line.indexOf(':');
      if (colon === 0) continue;
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (name === 'data') data.push(value);
      else if (name === 'event') event = value;
      else if (name === 'id') id = value;
    }
  };
}
