import { type QueryClient, useQuery } from '@tanstack/react-query';
import { createContext, useContext, useEffect } from 'react';
import { credentials } from '@/api/client';
import { liveState, onLive, startLive, useLiveState } from '@/api/live';
import { meQuery } from '@/api/queries';
import type { Me, Membership } from '@/api/types';
import { prefs, setPref } from '@/lib/prefs';

/** Who is signed in, in which workspace, and what they may do there. */
export interface SessionValue {
  me: Me;
  workspace: Membership;
}

export const SessionContext = createContext<SessionValue | null>(null);

export function useSession(): SessionValue {
  const session = useContext(SessionContext);
  if (!session) throw new Error('used outside of the signed-in part of the page');
  return session;
}

/** Whether the caller's role allows it in this workspace. */
export function useMay(permission: string): boolean {
  const { workspace } = useSession();
  return workspace.permissions.includes('*') || workspace.permissions.includes(permission);
}

/** The workspace that the address, else this browser, else the order names. */
export function chooseWorkspace(me: Me, asked: string | undefined): Membership | undefined {
  const find = (id: string) => me.workspaces.find((w) => w.id === id);
  return (asked ? find(asked) : undefined) ?? find(prefs.get().workspace) ?? me.workspaces[0];
}

export function enterWorkspace(workspace: Membership, client: QueryClient) {
  if (credentials.workspace && credentials.workspace !== workspace.id) {
    // Nothing of the other workspace may show through.
    client.removeQueries({ predicate: (query) => !PERSONAL.has(String(query.queryKey[0])) });
  }
  credentials.workspace = workspace.id;
  if (prefs.get().workspace !== workspace.id) setPref('workspace', workspace.id);
}
const PERSONAL = new Set(['me', 'setup', 'permissions', 'kinds', 'session']);

/** After signing in: the old person's data goes, the new person's token is used. */
export function enterSession(csrf: string, client: QueryClient) {
  credentials.csrf = csrf;
  setPref('session', 'on');
  client.clear();
}

export function leaveSession(client: QueryClient) {
  credentials.csrf = '';
  credentials.workspace = '';
  setPref('session', '');
  client.clear();
}

/** Which queries an event's resource makes stale. */
const STALE: Record<string, string[]> = {
  workspace: ['me'],
  member: ['member', 'me'],
  invitation: ['invitation', 'member'],
  project: ['project'],
  provider: ['provider'],
  alias: ['provider'],
  gateway_key: ['gateway_key'],
  api_key: ['api_key'],
  budget: ['budget', 'gateway_key'],
  limit: ['gateway_key', 'project'],
  job: ['job'],
  session: ['session'],
};

const TICK_MS = 2000; // counted things are asked for again at most this often
const POLL_MS = 5000;

/** Connects the stream of events with what the page has loaded. */
export function useLiveSession(client: QueryClient, workspace: string) {
  const state = useLiveState();
  useEffect(() => {
    const touched = new Set<string>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const touch = (...keys: string[]) => {
      for (const key of keys) touched.add(key);
      timer ??= setTimeout(() => {
        timer = undefined;
        for (const key of touched)
          void client.invalidateQueries({
            // The list of calls is not moved under the reader: it tells how many are new (pages/requests).
            predicate: (q) => q.queryKey[0] === key && !(key === 'call' && q.queryKey[1] === 'list'),
          });
        touched.clear();
      }, TICK_MS);
    };
    const off = onLive(({ type, data }) => {
      if (type === 'call.finished') touch('call', 'budget', 'gateway_key');
      else if (type.startsWith('budget.')) touch('budget', 'gateway_key');
      else if (type === 'job.progress')
        client.setQueriesData({ queryKey: ['job', 'list'] }, replaceJob(data));
      else if (type === 'notification') void client.invalidateQueries({ queryKey: ['notification'] });
      const resource = (data.resource as { type?: string } | undefined)?.type;
      if (resource)
        for (const key of STALE[resource] ?? []) void client.invalidateQueries({ queryKey: [key] });
    });
    const stop = startLive(workspace);
    return () => {
      off();
      stop();
      clearTimeout(timer);
    };
  }, [client, workspace]);

  useEffect(() => {
    if (state !== 'polling') return;
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible') void client.invalidateQueries();
    }, POLL_MS);
    return () => clearInterval(timer);
  }, [client, state]);

  // After a gap in the stream its events come again by their ids; what has none (calls, progress) may have been missed.
  useEffect(() => {
    let wasLive = false;
    let hasGap = false;
    return liveState.subscribe(() => {
      const isLive = liveState.get() === 'live';
      if (isLive && hasGap) void client.invalidateQueries();
      hasGap = !isLive && (wasLive || hasGap);
      wasLive ||= isLive;
    });
  }, [client]);
}

interface JobPages {
  pages: { items: { id: string }[] }[];
}
function replaceJob(job: Record<string, unknown>) {
  return (old: JobPages | undefined) =>
    old && {
      ...old,
      pages: old.pages.map((page) => ({
        ...page,
        items: page.items.map((item) => (item.id === job.id ? { ...item, ...job } : item)),
      })),
    };
}

export function useMe(): Me | null | undefined {
  return useQuery(meQuery).data;
}
