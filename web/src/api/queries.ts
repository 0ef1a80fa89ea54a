import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';
import { prefs, setPref } from '@/lib/prefs';
import { ApiError, credentials, http, ok } from './client';
import type { BudgetPeriod, BudgetScope, CallOutcome, JobState, KindName, Me, Role, UsageBy } from './types';

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
/** The second step: exactly one of code, recovery_code and passkey. */
export const finishSignIn = (body: {
  transaction: string;
  code?: string;
  recovery_code?: string;
  passkey?: Record<string, unknown>;
}) => ok(http.POST('/api/auth/login/factor', { body }), { isSignIn: true });
export const passkeyForSignIn = (transaction: string) =>
  ok(http.POST('/api/auth/login/factor/options', { body: { transaction } }), { isSignIn: true });
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

// --- gateway ---

export const kindsQuery = queryOptions({
  queryKey: ['kinds'],
  queryFn: ({ signal }) => ok(http.GET('/api/gateway/kinds', { params: { query: { limit: MOST } }, signal })),
  staleTime: Number.POSITIVE_INFINITY,
});
export const providersQuery = queryOptions({
  queryKey: ['provider'],
  queryFn: ({ signal }) =>
    ok(http.GET('/api/gateway/providers', { params: { query: { limit: MOST } }, signal })),
});
export interface ProviderForm {
  name: string;
  kind: KindName;
  base_url?: string;
  api_key?: string;
  /** None: what is usual for its kind. */
  models?: string[];
  is_enabled?: boolean;
}
export const createProvider = (body: ProviderForm) => ok(http.POST('/api/gateway/providers', { body }));
export const changeProvider = (id: string, body: Partial<ProviderForm>) =>
  ok(http.PATCH('/api/gateway/providers/{id}', { params: { path: { id } }, body }));
export const deleteProvider = (id: string) =>
  ok(http.DELETE('/api/gateway/providers/{id}', { params: { path: { id } } }));
export const testProvider = (id: string) =>
  ok(http.POST('/api/gateway/providers/{id}/test', { params: { path: { id } } }));

export const gatewayKeysQuery = queryOptions({
  queryKey: ['gateway_key'],
  queryFn: ({ signal }) => ok(http.GET('/api/gateway/keys', { params: { query: { limit: MOST } }, signal })),
});
export interface GatewayKeyForm {
  name: string;
  project_id?: string;
  allowed_models?: string[];
  allowed_providers?: string[];
  expires_at?: string;
  limits?: { requests_per_minute?: number; tokens_per_minute?: number; parallel_calls?: number };
  budget_usd?: string;
  budget_period?: BudgetPeriod;
}
export const createGatewayKey = (body: GatewayKeyForm) => ok(http.POST('/api/gateway/keys', { body }));
export const enableGatewayKey = (id: string, is_enabled: boolean) =>
  ok(http.PATCH('/api/gateway/keys/{id}', { params: { path: { id } }, body: { is_enabled } }));
export const rotateGatewayKey = (id: string, overlap_hours: number) =>
  ok(http.POST('/api/gateway/keys/{id}/rotate', { params: { path: { id } }, body: { overlap_hours } }));
export const deleteGatewayKey = (id: string) =>
  ok(http.DELETE('/api/gateway/keys/{id}', { params: { path: { id } } }));

export const budgetsQuery = queryOptions({
  queryKey: ['budget'],
  queryFn: ({ signal }) =>
    ok(http.GET('/api/gateway/budgets', { params: { query: { limit: MOST } }, signal })),
});
export interface BudgetForm {
  scope: BudgetScope;
  scope_id?: string;
  period: BudgetPeriod;
  limit_usd: string;
  is_hard: boolean;
  alerts_at: number[];
}
export const createBudget = (body: BudgetForm) => ok(http.POST('/api/gateway/budgets', { body }));
export const changeBudget = (id: string, body: Partial<BudgetForm>) =>
  ok(http.PATCH('/api/gateway/budgets/{id}', { params: { path: { id } }, body }));
export const deleteBudget = (id: string) =>
  ok(http.DELETE('/api/gateway/budgets/{id}', { params: { path: { id } } }));

export interface CallFilter {
  since?: string;
  model?: string;
  provider?: string;
  key_id?: string;
  project?: string;
  outcome?: CallOutcome;
  session?: string;
  text?: string;
}
export const callsQuery = (filter: CallFilter) =>
  infiniteQueryOptions({
    queryKey: ['call', 'list', filter],
    queryFn: ({ pageParam, signal }) =>
      ok(
        http.GET('/api/gateway/requests', {
          params: { query: { ...filter, limit: PAGE, cursor: pageParam || undefined } },
          signal,
        }),
      ),
    initialPageParam: '',
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    staleTime: Number.POSITIVE_INFINITY,
  });
export const callQuery = (id: string) =>
  queryOptions({
    queryKey: ['call', 'one', id],
    queryFn: ({ signal }) => ok(http.GET('/api/gateway/requests/{id}', { params: { path: { id } }, signal })),
    staleTime: Number.POSITIVE_INFINITY,
  });
export const usageQuery = (by: UsageBy, since: string, project?: string | undefined) =>
  queryOptions({
    queryKey: ['call', 'usage', by, since, project ?? ''],
    queryFn: ({ signal }) =>
      ok(http.GET('/api/gateway/usage', { params: { query: { by, since, project } }, signal })),
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

// --- the servers on the database ---

/** No event of a workspace tells of them: the list is asked for again. */
export const nodesQuery = queryOptions({
  queryKey: ['node'],
  queryFn: ({ signal }) => ok(http.GET('/api/nodes', { params: { query: { limit: MOST } }, signal })),
  refetchInterval: 2000,
});
export const forgetNode = (id: string, lost: boolean) =>
  ok(http.DELETE('/api/nodes/{id}', { params: { path: { id }, query: lost ? { lost } : {} } }));
