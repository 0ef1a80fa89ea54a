import type { components } from './schema';

/** The shapes of the contract, by the names that the page uses. */
type Schemas = components['schemas'];

export interface List<T> {
  items: T[];
  next_cursor: string | null;
}

export type User = Schemas['User'];
export type Me = Schemas['Me'];
export type SignIn = Schemas['SignIn'];
export type SignedIn = Schemas['SignedIn'];
export type Membership = Schemas['MyWorkspace'];
export type Member = Schemas['Member'];
/** The built-in ones; the others are named by an id. */
export type Role = 'owner' | 'admin' | 'developer' | 'reviewer' | 'viewer';
export type Invitation = Schemas['Invitation'];
export type NewInvitation = Schemas['NewInvitation'];
export type InvitationOffer = Schemas['InvitationOffer'];
export type Session = Schemas['Session'];
export type ApiKey = Schemas['ApiKey'];
export type Project = Schemas['Project'];
export type Job = Schemas['Job'];
export type JobState = Job['state'];
export type Node = Schemas['Node'];
export type Notification = Schemas['Notification'];

export type Provider = Schemas['Provider'];
export type KindName = Provider['kind'];
export type ProviderKind = Schemas['ProviderKind'];
export type ProviderTest = Schemas['ProviderTest'];
export type GatewayKey = Schemas['GatewayKey'];
export type Budget = Schemas['Budget'];
export type BudgetScope = Budget['scope'];
export type BudgetPeriod = Budget['period'];
export type Call = Schemas['Request'];
export type CallOutcome = Call['outcome'];
export type UsageRow = Schemas['UsageGroup'];
export type UsageTotal = Schemas['UsageTotal'];
export type UsageBy = 'model' | 'provider' | 'key' | 'project' | 'user' | 'day' | 'session';
