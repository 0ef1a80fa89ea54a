/** The shapes of docs/api.md that the page reads. */
export interface List<T> {
  items: T[];
  next_cursor: string | null;
}

export interface User {
  id: string;
  email: string;
  name: string;
  is_instance_admin: boolean;
  created_at: string;
}

export type Role = 'owner' | 'admin' | 'developer' | 'reviewer' | 'viewer';

export interface Membership {
  id: string;
  name: string;
  role: Role;
  permissions: string[];
}

export interface Me {
  user: User;
  csrf_token: string;
  workspaces: Membership[];
  authenticated_at: string;
}

export interface Workspace {
  id: string;
  name: string;
  settings: Record<string, unknown>;
  created_at: string;
  updated_at: string;
}

export interface Member {
  user_id: string;
  email: string;
  name: string;
  role: Role;
  created_at: string;
  last_active_at: string | null;
}

export interface Invitation {
  id: string;
  email: string;
  role: Role;
  expires_at: string;
  link?: string;
}

export interface InvitationOffer {
  workspace_name: string;
  email: string;
  role: Role;
  has_account: boolean;
}

export interface Session {
  id: string;
  created_at: string;
  last_seen_at: string;
  expires_at: string;
  address: string;
  user_agent: string;
  is_current: boolean;
}

export interface ApiKey {
  id: string;
  name: string;
  prefix: string;
  scopes: string[];
  project_ids: string[];
  expires_at: string | null;
  created_at: string;
  last_used_at: string | null;
  last_used_address: string | null;
  user_id: string;
  user_name: string;
  rotated_until: string | null;
}

export interface PermissionCatalogue {
  roles: { name: Role; permissions: string[] }[];
  permissions: { name: string; meaning: string; is_for_keys: boolean }[];
}

export interface Project {
  id: string;
  name: string;
  description: string | null;
  repository: string | null;
  created_at: string;
  updated_at: string;
}

export interface Job {
  id: string;
  kind: string;
  state: 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';
  progress: { done: number; total: number; phase: string | null } | null;
  error: string | null;
  result: unknown;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  tries: number;
  user_id: string | null;
}

export interface Notification {
  id: string;
  kind: string;
  title: string;
  body: string | null;
  link: string | null;
  is_read: boolean;
  created_at: string;
}

export interface Provider {
  id: string;
  name: string;
  kind: string;
  base_url: string;
  models: string[];
  dialects: string[];
  has_key: boolean;
  key_hint: string | null;
  is_enabled: boolean;
  origin: 'database' | 'file';
  created_at: string;
  updated_at: string;
}

export interface ProviderKind {
  name: string;
  base_url: string | null;
  needs_key: boolean;
}

export interface ProviderTest {
  is_ok: boolean;
  status: number | null;
  latency_ms: number;
  detail: string;
  models: string[];
}

export interface Model {
  model: string;
  provider: string;
  kind: string;
}

export type BudgetScope = 'workspace' | 'project' | 'user' | 'key';
export type BudgetPeriod = 'daily' | 'weekly' | 'monthly' | 'total';

export interface Budget {
  id: string;
  scope: BudgetScope;
  scope_id: string;
  scope_name: string | null;
  period: BudgetPeriod;
  limit_nanousd: number;
  is_hard: boolean;
  alerts_at: number[];
  spent_nanousd: number;
  reserved_nanousd: number;
  left_nanousd: number;
  period_start: string | null;
  resets_at: string | null;
  created_at: string;
}

export interface GatewayKey {
  id: string;
  name: string;
  prefix: string;
  project_id: string | null;
  user_id: string | null;
  allowed_models: string[];
  allowed_providers: string[];
  is_enabled: boolean;
  expires_at: string | null;
  limits: {
    requests_per_minute: number | null;
    tokens_per_minute: number | null;
    parallel_calls: number | null;
  } | null;
  budget: Budget | null;
  created_at: string;
  last_used_at: string | null;
  origin: 'database' | 'file';
}

export interface Tokens {
  input: number;
  cache_read: number;
  cache_write: number;
  cache_write_1h: number;
  output: number;
  reasoning: number;
  total: number;
}

export interface Call {
  id: string;
  started_at: string;
  status: number;
  outcome: string;
  dialect: string;
  provider: string | null;
  model: string | null;
  model_asked: string | null;
  key_id: string | null;
  key_name: string | null;
  project: string | null;
  project_id: string | null;
  user: string | null;
  session: string | null;
  task: string | null;
  tags: string[];
  is_streamed: boolean;
  is_estimated: boolean;
  tokens: Tokens;
  cost_nanousd: number | null;
  duration_ms: number;
  timing: {
    connect_us: number | null;
    sent_us: number | null;
    head_us: number | null;
    first_us: number | null;
    total_us: number;
  };
  bytes_in: number;
  bytes_out: number;
  error: string | null;
  trace_id: string | null;
}

export interface UsageRow {
  group: string;
  calls: number;
  failed: number;
  tokens: Tokens;
  cost_nanousd: number;
  unknown_cost_calls: number;
}

export interface Usage {
  items: UsageRow[];
  total: Omit<UsageRow, 'group'>;
}
