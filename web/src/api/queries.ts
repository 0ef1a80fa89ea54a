import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';
import { prefs, setPref } from '@/lib/prefs';
import { ApiError, credentials, http, ok } from './client';
import type {
  Budget,
  Call,
  GatewayKey,
  JobState,
  List,
  Me,
  Model,
  Provider,
  ProviderKind,
  ProviderTest,
  Role,
  Usage,
} from './types';

/** Every endpoint that the page uses, once. Keys of queries begin with the noun that events name, so that an event can
 * make what it touches stale (app/session.ts). */

const PAGE = 50;
const MOST = 200;

// --- session ---

export const setupQuery = queryOptions({
  queryKey: ['setup'],
  queryFn: ({ signal }) => ok(http.GET('/api/setup', { signal })),
  staleTime: 0,
});

/** null when nobody is signed in. */
export const meQuery = queryOptions({
  queryKey: ['me'],
  queryFn: async ({ signal }): Promise<Me | null> => {
    if (prefs.get().session !== 'on') return null;
    try {
      return await ok(http.GET('/api/auth/me', { signal }), { isSignIn: true });
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      setPref('session', '');
      return null;
    }
  },
  staleTime: 60_000,
});

export interface SetupForm {
  token: string;
  email: string;
  name: string;
  password: string;
  workspace_name: string;
}
export const setUp = (body: SetupForm) => ok(http.POST('/api/setup', { body }), { isSignIn: true });
export const signIn = (body: { email: string; password: string }) =>
  ok(http.POST('/api/auth/login', { body }), { isSignIn: true });
export const signOut = () => ok(http.POST('/api/auth/logout'), { isSignIn: true });
export const reauthenticate = (password: string) =>
  ok(http.POST('/api/auth/reauthenticate', { body: { password } }), { isSignIn: true });
export const changePassword = (body: { current_password: string; new_password: string }) =>
  ok(http.POST('/api/auth/password', { body }));

export const sessionsQuery = queryOptions({
  queryKey: ['session'],
  queryFn: ({ signal }) => ok(http.GET('/api/auth/sessions', { signal })),
});
export const endSession = (id: string) =>
  ok(http.DELETE('/api/auth/sessions/{id}', { params: { path: { id } } }));

export const permissionsQuery = queryOptions({
  queryKey: ['permissions'],
  queryFn: ({ signal }) => ok(http.GET('/api/permissions', { signal })),
  staleTime: Number.POSITIVE_INFINITY,
});

// --- workspace ---

export const createWorkspace = (name: string) => ok(http.POST('/api/workspaces', { body: { name } }));

const here = () => ({ id: credentials.workspace });
export const membersQuery = queryOptions({
  queryKey: ['member'],
  queryFn: ({ signal }) =>
    ok(
      http.GET('/api/workspaces/{id}/members', { params: { path: here(), query: { limit: MOST } }, signal }),
    ),
});
export const setRole = (user_id: string, role: Role) =>
  ok(
    http.PUT('/api/workspaces/{id}/members/{user_id}', {
      params: { path: { ...here(), user_id } },
      body: { role },
    }),
  );
export const removeMember = (user_id: string) =>
  ok(http.DELETE('/api/workspaces/{id}/members/{user_id}', { params: { path: { ...here(), user_id } } }));
export const invitationsQuery = queryOptions({
  queryKey: ['invitation'],
  queryFn: ({ signal }) =>
    ok(
      http.GET('/api/workspaces/{id}/invitations', {
        params: { path: here(), query: { limit: MOST } },
        signal,
      }),
    ),
});
export const invite = (body: { email: string; role: Role }) =>
  ok(http.POST('/api/workspaces/{id}/invite', { params: { path: here() }, body }));
export const revokeInvitation = (invitation_id: string) =>
  ok(
    http.DELETE('/api/workspaces/{id}/invitations/{invitation_id}', {
      params: { path: { ...here(), invitation_id } },
    }),
  );

export const offerQuery = (token: string) =>
  queryOptions({
    queryKey: ['offer', token],
    queryFn: ({ signal }) =>
      ok(http.GET('/api/invitations/{token}', { params: { path: { token } }, signal }), { isSignIn: true }),
    retry: false,
  });
export const acceptInvitation = (token: string, body: { name?: string; password?: string }) =>
  ok(http.POST('/api/invitations/{token}/accept', { params: { path: { token } }, body }), { isSignIn: true });

export const projectsQuery = queryOptions({
  queryKey: ['project'],
  queryFn: ({ signal }) => ok(http.GET('/api/projects', { params: { query: { limit: MOST } }, signal })),
});
export interface ProjectForm {
  name: string;
  description?: string;
  repository?: string;
}
export const createProject = (body: ProjectForm) => ok(http.POST('/api/projects', { body }));

// --- keys of the API ---

export const apiKeysQuery = queryOptions({
  queryKey: ['api_key'],
  queryFn: ({ signal }) => ok(http.GET('/api/keys', { params: { query: { limit: MOST } }, signal })),
});
export const createApiKey = (body: { name: string; scopes: string[]; expires_in_days: number }) =>
  ok(http.POST('/api/keys', { body }));
export const rotateApiKey = (id: string, overlap_hours: number) =>
  ok(http.POST('/api/keys/{id}/rotate', { params: { path: { id } }, body: { overlap_hours } }));
export const revokeApiKey = (id: string) => ok(http.DELETE('/api/keys/{id}', { params: { path: { id } } }));

// The gateway's endpoints do not stand in openapi.json: their shapes are written by hand in types.ts.
const id = encodeURIComponent;
// biome-ignore lint/suspicious/noExplicitAny: paths that the contract's types do not know
const raw = http as any;
type Q = Record<string, unknown>;
const api = {
  get: <T>(path: string, query?: Q, signal?: AbortSignal): Promise<T> =>
    ok(raw.GET(path, { params: { query }, signal })),
  post: <T>(path: string, body?: unknown) => ok(raw.POST(path, { body })) as Promise<T>,
  patch: <T>(path: string, body?: unknown) => ok(raw.PATCH(path, { body })) as Promise<T>,
  delete: <T>(path: string) => ok(raw.DELETE(path)) as Promise<T>,
};

// --- gateway ---

export const kindsQuery = queryOptions({
  queryKey: ['kinds'],
  queryFn: ({ signal }) => api.get<List<ProviderKind>>('/api/gateway/kinds', {}, signal),
  staleTime: Number.POSITIVE_INFINITY,
});
export const providersQuery = queryOptions({
  queryKey: ['provider'],
  queryFn: ({ signal }) => api.get<List<Provider>>('/api/gateway/providers', { limit: 200 }, signal),
});
export interface ProviderForm {
  name: string;
  kind: string;
  base_url?: string | undefined;
  api_key?: string | undefined;
  models?: string[] | undefined;
  is_enabled?: boolean | undefined;
}
export const createProvider = (body: ProviderForm) => api.post<Provider>('/api/gateway/providers', body);
export const changeProvider = (provider: string, body: Partial<ProviderForm>) =>
  api.patch<Provider>(`/api/gateway/providers/${id(provider)}`, body);
export const deleteProvider = (provider: string) =>
  api.delete<void>(`/api/gateway/providers/${id(provider)}`);
export const testProvider = (provider: string) =>
  api.post<ProviderTest>(`/api/gateway/providers/${id(provider)}/test`);
export const modelsQuery = queryOptions({
  queryKey: ['provider', 'models'],
  queryFn: ({ signal }) => api.get<List<Model>>('/api/gateway/models', { limit: 200 }, signal),
});

export const gatewayKeysQuery = queryOptions({
  queryKey: ['gateway_key'],
  queryFn: ({ signal }) => api.get<List<GatewayKey>>('/api/gateway/keys', { limit: 200 }, signal),
});
export interface GatewayKeyForm {
  name: string;
  project_id?: string | undefined;
  allowed_models?: string[] | undefined;
  allowed_providers?: string[] | undefined;
  expires_at?: string | undefined;
  limits?: { requests_per_minute?: number; tokens_per_minute?: number; parallel_calls?: number } | undefined;
  budget_usd?: string | undefined;
  budget_period?: string | undefined;
  is_enabled?: boolean | undefined;
}
export const createGatewayKey = (body: GatewayKeyForm) =>
  api.post<GatewayKey & { key: string }>('/api/gateway/keys', body);
export const changeGatewayKey = (key: string, body: Partial<GatewayKeyForm>) =>
  api.patch<GatewayKey>(`/api/gateway/keys/${id(key)}`, body);
export const rotateGatewayKey = (key: string, overlap_hours: number) =>
  api.post<GatewayKey & { key: string }>(`/api/gateway/keys/${id(key)}/rotate`, { overlap_hours });
export const deleteGatewayKey = (key: string) => api.delete<void>(`/api/gateway/keys/${id(key)}`);

export const budgetsQuery = queryOptions({
  queryKey: ['budget'],
  queryFn: ({ signal }) => api.get<List<Budget>>('/api/gateway/budgets', { limit: 200 }, signal),
});
export interface BudgetForm {
  scope: string;
  scope_id?: string | undefined;
  period: string;
  limit_usd: string;
  is_hard: boolean;
  alerts_at: number[];
}
export const createBudget = (body: BudgetForm) => api.post<Budget>('/api/gateway/budgets', body);
export const changeBudget = (budget: string, body: Partial<BudgetForm>) =>
  api.patch<Budget>(`/api/gateway/budgets/${id(budget)}`, body);
export const deleteBudget = (budget: string) => api.delete<void>(`/api/gateway/budgets/${id(budget)}`);

export interface CallFilter {
  since?: string | undefined;
  until?: string | undefined;
  model?: string | undefined;
  provider?: string | undefined;
  key_id?: string | undefined;
  project?: string | undefined;
  status?: number | undefined;
  outcome?: string | undefined;
  session?: string | undefined;
  text?: string | undefined;
}
export const callsQuery = (filter: CallFilter) =>
  infiniteQueryOptions({
    queryKey: ['call', 'list', filter],
    queryFn: ({ pageParam, signal }) =>
      api.get<List<Call>>('/api/gateway/requests', { ...filter, limit: PAGE, cursor: pageParam }, signal),
    initialPageParam: '',
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    staleTime: Number.POSITIVE_INFINITY,
  });
export const callQuery = (call: string) =>
  queryOptions({
    queryKey: ['call', 'one', call],
    queryFn: ({ signal }) => api.get<Call>(`/api/gateway/requests/${id(call)}`, {}, signal),
    staleTime: Number.POSITIVE_INFINITY,
  });
export const usageQuery = (by: string, since: string, project?: string | undefined) =>
  queryOptions({
    queryKey: ['call', 'usage', by, since, project ?? ''],
    queryFn: ({ signal }) => api.get<Usage>('/api/gateway/usage', { by, since, project }, signal),
  });

// --- jobs and notifications ---

export const jobsQuery = (state?: JobState | undefined) =>
  infiniteQueryOptions({
    queryKey: ['job', 'list', state ?? ''],
    queryFn: ({ pageParam, signal }) =>
      ok(
        http.GET('/api/jobs', {
          params: { query: { state, limit: PAGE, cursor: pageParam || undefined } },
          signal,
        }),
      ),
    initialPageParam: '',
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
export const cancelJob = (id: string) => ok(http.DELETE('/api/jobs/{id}', { params: { path: { id } } }));

export const unreadQuery = queryOptions({
  queryKey: ['notification', 'count'],
  queryFn: ({ signal }) => ok(http.GET('/api/notifications/count', { signal })),
});
export const notificationsQuery = queryOptions({
  queryKey: ['notification', 'list'],
  queryFn: ({ signal }) => ok(http.GET('/api/notifications', { params: { query: { limit: 30 } }, signal })),
});
export const markRead = (body: { ids?: string[]; all?: boolean }) =>
  ok(http.POST('/api/notifications/read', { body }));
