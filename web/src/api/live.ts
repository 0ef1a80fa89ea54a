import { createStore, useStore } from '@/lib/store';
import { apiUrl, credentials, sessionEnded } from './client';
import { createParser, type StreamEvent } from './sse';

/** The event stream of the workspace: one connection for all tabs of this browser.
 *
 * The tab that holds the lock reads /api/events and passes every event on by a channel; when it closes, the next tab
 * gets the lock and goes on after the last event that it has seen, so nothing is missed. When the stream cannot be had,
 * the page says so and asks again from time to time instead (app/session.ts polls while the state is "polling"). */

export type LiveState = 'connecting' | 'live' | 'polling' | 'offline';
export const liveState = createStore<LiveState>('connecting');
export const useLiveState = () => useStore(liveState);

export interface LiveEvent {
  type: string;
  data: Record<string, unknown>;
}
type Listener = (event: LiveEvent) => void;
const listeners = new Set<Listener>();

export function onLive(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const RETRY_MS = [500, 1000, 2000, 5000, 10_000, 20_000];
const FAILURES_UNTIL_POLLING = 3;
const SILENCE_MAX_MS = 60_000; // the server says something at least every 25 s

type Message = { kind: 'event'; event: StreamEvent } | { kind: 'state'; state: LiveState } | { kind: 'ask' };

function deliver(event: StreamEvent) {
  let data: Record<string, unknown>;
  try {
    data = JSON.parse(event.data);
  } catch {
    return;
  }
  for (const listener of [...listeners]) listener({ type: event.event, data });
}

async function read(
  workspace: string,
  lastId: string,
  signal: AbortSignal,
  onEvent: (e: StreamEvent) => void,
) {
  const silence = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MAX_MS);
  };
  heard();
  try {
    const headers: Record<string, string> = {
      Accept: 'text/event-stream',
      'X-Catalyst-Workspace': workspace,
    };
    if (lastId) headers['Last-Event-ID'] = lastId;
    const response = await fetch(apiUrl('/api/events', { workspace }), {
      headers,
      signal: AbortSignal.any([signal, silence.signal]),
      credentials: 'same-origin',
      cache: 'no-store',
    });
    if (response.status === 401) sessionEnded.set((n) => n + 1);
    if (!response.ok || !response.body) throw new Error(`the event stream answered ${response.status}`);
    liveState.set('live');
    const parse = createParser(onEvent);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      heard();
      parse(value);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Follows a workspace until the returned function is called. */
export function startLive(workspace: string): () => void {
  const stop = new AbortController();
  const channel = new BroadcastChannel(`catalyst.events.${workspace}`);
  let isLeader = false;
  let lastId = '';
  const say = (message: Message) => {
    if (!stop.signal.aborted) channel.postMessage(message);
  };
  const take = (event: StreamEvent) => {
    if (event.id) lastId = event.id;
    deliver(event);
  };
  channel.onmessage = (message: MessageEvent<Message>) => {
    const got = message.data;
    if (got.kind === 'event') take(got.event);
    else if (got.kind === 'state' && !isLeader) liveState.set(got.state);
    else if (got.kind === 'ask' && isLeader) say({ kind: 'state', state: liveState.get() });
  };

  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(done, ms);
      function done() {
        clearTimeout(timer);
        removeEventListener('online', done);
        stop.signal.removeEventListener('abort', done);
        resolve();
      }
      addEventListener('online', done);
      stop.signal.addEventListener('abort', done);
    });

  async function lead() {
    isLeader = true;
    let failures = 0;
    const unsubscribe = liveState.subscribe(() => say({ kind: 'state', state: liveState.get() }));
    while (!stop.signal.aborted) {
      const started = Date.now();
      try {
        await read(workspace, lastId, stop.signal, (event) => {
          failures = 0;
          take(event);
          say({ kind: 'event', event });
        });
      } catch {
        // Falls through to the next try.
      }
      if (stop.signal.aborted) break;
      failures = Date.now() - started > 30_000 ? 0 : failures + 1;
      liveState.set(
        !navigator.onLine ? 'offline' : failures >= FAILURES_UNTIL_POLLING ? 'polling' : 'connecting',
      );
      await pause(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)] as number);
      if (!credentials.csrf) break;
    }
    unsubscribe();
  }

  liveState.set('connecting');
  say({ kind: 'ask' });
  if (navigator.locks)
    void navigator.locks
      .request(`catalyst.events.${workspace}`, { signal: stop.signal }, lead)
      .catch(() => undefined);
  else void lead();
  return () => {
    stop.abort();
    channel.close();
  };
}
