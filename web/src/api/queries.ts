import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';
import { ApiError, api, credentials, request } from './client';
import type {
  ApiKey,
  Budget,
  Call,
  GatewayKey,
  Invitation,
  InvitationOffer,
  Job,
  List,
  Me,
  Member,
  Model,
  Notification,
  PermissionCatalogue,
  Project,
  Provider,
  ProviderKind,
  ProviderTest,
  Session,
  Usage,
  User,
  Workspace,
} from './types';

/** Every endpoint that the page uses, once. Keys of queries begin with the noun that events name, so that an event can
 * make what it touches stale (app/session.ts). */

const id = encodeURIComponent;
const PAGE = 50;

// --- session ---

export const setupQuery = queryOptions({
  queryKey: ['setup'],
  queryFn: ({ signal }) => api.get<{ is_needed: boolean }>('/api/setup', {}, signal),
  staleTime: 0,
});

/** null when nobody is signed in. */
export const meQuery = queryOptions({
  queryKey: ['me'],
  queryFn: async ({ signal }): Promise<Me | null> => {
    try {
      return await request<Me>('GET', '/api/auth/me', { signal, isSignIn: true });
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return null;
      throw error;
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
interface SignedIn {
  user: User;
  csrf_token: string;
}
export const setUp = (body: SetupForm) => request<SignedIn>('POST', '/api/setup', { body, isSignIn: true });
export const signIn = (body: { email: string; password: string }) =>
  request<SignedIn>('POST', '/api/auth/login', { body, isSignIn: true });
export const signOut = () => request<void>('POST', '/api/auth/logout', { isSignIn: true });
export const reauthenticate = (password: string) =>
  request<void>('POST', '/api/auth/reauthenticate', { body: { password }, isSignIn: true });
export const changePassword = (body: { current_password: string; new_password: string }) =>
  api.post<void>('/api/auth/password', body);

export const sessionsQuery = queryOptions({
  queryKey: ['session'],
  queryFn: ({ signal }) => api.get<List<Session>>('/api/auth/sessions', {}, signal),
});
export const endSession = (session: string) => api.delete<void>(`/api/auth/sessions/${id(session)}`);

export const permissionsQuery = queryOptions({
  queryKey: ['permissions'],
  queryFn: ({ signal }) => api.get<PermissionCatalogue>('/api/permissions', {}, signal),
  staleTime: Number.POSITIVE_INFINITY,
});

// --- workspace ---

export const createWorkspace = (name: string) => api.post<Workspace>('/api/workspaces', { name });

const workspacePath = () => `/api/workspaces/${id(credentials.workspace)}`;
export const membersQuery = queryOptions({
  queryKey: ['member'],
  queryFn: ({ signal }) => api.get<List<Member>>(`${workspacePath()}/members`, { limit: 200 }, signal),
});
export const setRole = (user: string, role: string) =>
  api.put<Member>(`${workspacePath()}/members/${id(user)}`, { role });
export const removeMember = (user: string) => api.delete<void>(`${workspacePath()}/members/${id(user)}`);
export const invitationsQuery = queryOptions({
  queryKey: ['invitation'],
  queryFn: ({ signal }) =>
    api.get<List<Invitation>>(`${workspacePath()}/invitations`, { limit: 200 }, signal),
});
export const invite = (body: { email: string; role: string }) =>
  api.post<Invitation>(`${workspacePath()}/invite`, body);
export const revokeInvitation = (invitation: string) =>
  api.delete<void>(`${workspacePath()}/invitations/${id(invitation)}`);

export const offerQuery = (token: string) =>
  queryOptions({
    queryKey: ['offer', token],
    queryFn: ({ signal }) =>
      request<InvitationOffer>('GET', `/api/invitations/${id(token)}`, { signal, isSignIn: true }),
    retry: false,
  });
export const acceptInvitation = (token: string, body: { name?: string; password?: string }) =>
  request<SignedIn>('POST', `/api/invitations/${id(token)}/accept`, { body, isSignIn: true });

export const projectsQuery = queryOptions({
  queryKey: ['project'],
  queryFn: ({ signal }) => api.get<List<Project>>('/api/projects', { limit: 200 }, signal),
});
export interface ProjectForm {
  name: string;
  description?: string | undefined;
  repository?: string | undefined;
}
export const createProject = (body: ProjectForm) => api.post<Project>('/api/projects', body);

// --- keys of the API ---

export const apiKeysQuery = queryOptions({
  queryKey: ['api_key'],
  queryFn: ({ signal }) => api.get<List<ApiKey>>('/api/keys', { limit: 200 }, signal),
});
export const createApiKey = (body: { name: string; scopes: string[]; expires_in_days: number }) =>
  api.post<ApiKey & { key: string }>('/api/keys', body);
export const rotateApiKey = (key: string, overlap_hours: number) =>
  api.post<ApiKey & { key: string }>(`/api/keys/${id(key)}/rotate`, { overlap_hours });
export const revokeApiKey = (key: string) => api.delete<void>(`/api/keys/${id(key)}`);

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

export const jobsQuery = (state?: string | undefined) =>
  infiniteQueryOptions({
    queryKey: ['job', 'list', state ?? ''],
    queryFn: ({ pageParam, signal }) =>
      api.get<List<Job>>('/api/jobs', { state, limit: PAGE, cursor: pageParam }, signal),
    initialPageParam: '',
    getNextPageParam: (page) => page.next_cursor ?? undefined,
  });
export const cancelJob = (job: string) => api.delete<Job>(`/api/jobs/${id(job)}`);

export const unreadQuery = queryOptions({
  queryKey: ['notification', 'count'],
  queryFn: ({ signal }) => api.get<{ unread: number }>('/api/notifications/count', {}, signal),
});
export const notificationsQuery = queryOptions({
  queryKey: ['notification', 'list'],
  queryFn: ({ signal }) => api.get<List<Notification>>('/api/notifications', { limit: 30 }, signal),
});
export const markRead = (body: { ids?: string[]; all?: boolean }) =>
  api.post<void>('/api/notifications/read', body);
