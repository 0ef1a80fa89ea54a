import type { components } from './schema';

/** The shapes of the contract, by the names that the page uses. */
type Schemas = components['schemas'];

export interface List<T> {
  items: T[];
  next_cursor: string | null;
}

export type User = Schemas['User'];
export type Me = Schemas['Me'];
export type Membership = Schemas['MyWorkspace'];
export type Member = Schemas['Member'];
export type Role = Member['role'];
export type Invitation = Schemas['Invitation'];
export type NewInvitation = Schemas['NewInvitation'];
export type InvitationOffer = Schemas['InvitationOffer'];
export type Session = Schemas['Session'];
export type ApiKey = Schemas['ApiKey'];
export type Project = Schemas['Project'];
export type Job = Schemas['Job'];
export type JobState = Job['state'];
export type Notification = Schemas['Notification'];

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
