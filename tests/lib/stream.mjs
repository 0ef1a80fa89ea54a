// stream.mjs - a client of GET /api/events that can be cut off, slowed down and resumed.

import http from 'node:http';
import { until } from './wait.mjs';

/** One connection. frames: {id, event, data, at} as they came; comments: how many. */
export class EventStream {
  constructor(caller, { lastId, path = '/api/events', headers = {} } = {}) {
    this.frames = [];
    this.comments = 0;
    this.isEnded = false;
    this.error = null;
    this.status = null;
    this.pending = '';
    const fields = caller.headers('GET', { accept: 'text/event-stream', ...headers });
    if (lastId !== undefined) fields['last-event-id'] = String(lastId);
    this.answered = new Promise((resolve) => {
      this.request = http.get(new URL(path, caller.origin), { headers: fields, agent: false }, (response) => {
        this.response = response;
        this.status = response.statusCode;
        this.headers = response.headers;
        response.setEncoding('utf8');
        response.on('data', (text) => this.take(text));
        response.on('end', () => (this.isEnded = this.isWhole = true));
        response.on('close', () => (this.isEnded = true));
        response.on('error', (error) => (this.error = error));
        resolve(this);
      });
      this.request.on('error', (error) => {
        this.error = error;
        this.isEnded = true;
        resolve(this);
      });
    });
  }

  take(text) {
    this.body = (this.body ?? '') + (this.status === 200 ? '' : text);
    this.pending += text;
    for (let at; (at = this.pending.indexOf('\n\n')) >= 0; ) {
      const block = this.pending.slice(0, at);
      this.pending = this.pending.slice(at + 2);
      const frame = { id: null, event: 'message', data: null };
      for (const line of block.split('\n')) {
        if (line.startsWith(':')) this.comments++;
        else if (line.startsWith('id: ')) frame.id = Number(line.slice(4));
        else if (line.startsWith('event: ')) frame.event = line.slice(7);
        else if (line.startsWith('data: ')) frame.data = (frame.data ?? '') + line.slice(6);
      }
      if (frame.data === null) continue;
      frame.data = JSON.parse(frame.data);
      frame.at = performance.now();
      this.frames.push(frame);
    }
  }

  /** Events of the log, without the frame that says where the stream begins. */
  get log() {
    return this.frames.filter((f) => f.id !== null && f.event !== 'ready');
  }

  /** The number that a resumption would send. */
  get lastId() {
    return this.frames.findLast((f) => f.id !== null)?.id;
  }

  /** Waits for the frame `ready`. */
  async ready() {
    await this.answered;
    if (this.status !== 200) throw new Error(`the stream answered ${this.status}: ${this.body}`);
    await until('the frame "ready"', () => this.frames.some((f) => f.event === 'ready') || this.fails());
    return this;
  }

  fails() {
    if (this.error) throw this.error;
    return false;
  }

  /** The first frame that fits, once it has come. */
  frame(what, fits, options) {
    return until(what, () => this.frames.find(fits), options);
  }

  ended(options) {
    return until('the stream to end', () => this.isEnded, options);
  }

  /** Breaks off without a word. */
  cut() {
    this.request.destroy();
    this.response?.destroy();
    this.isEnded = true;
  }
}

export async function openStream(t, caller, options) {
  const stream = new EventStream(caller, options);
  t.after(() => stream.cut());
  await stream.ready();
  return stream;
}
