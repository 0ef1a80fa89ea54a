import createClient from 'openapi-fetch';
import { BASE, SERVER_URL } from '@/lib/base';
import { t } from '@/lib/i18n';
import { createStore } from '@/lib/store';
import type { paths } from './schema';

/** An answer that is no success: RFC 9457 problem+json, or what stands in for one. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly requestId: string | null;
  readonly permission: string | null;
  /** Field -> what is wrong with it. */
  readonly fields: Record<string, string>;

  constructor(status: number, body: Record<string, unknown> | null, requestId: string | null) {
    const text = (name: string) => (typeof body?.[name] === 'string' ? (body[name] as string) : null);
    super(text('detail') || text('title') || t('error.status', { status }));
    this.status = status;
    this.code = text('code') ?? (status === 0 ? 'offline' : 'unknown');
    this.requestId = text('request_id') ?? requestId;
    this.permission = text('permission');
    this.fields = {};
    if (Array.isArray(body?.errors))
      for (const error of body.errors as { field?: string; message?: string }[])
        if (error.field && error.message) this.fields[error.field] ??= error.message;
  }
}

/** What every request carries; set by the session (app/session.ts). */
export const credentials = { csrf: '', workspace: '' };

/** Counts up when the server says that the session has ended while somebody is working. */
export const sessionEnded = createStore(0);

type Query = Record<string, string | number | boolean | null | undefined>;

export function apiUrl(path: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== undefined && value !== null && value !== '') search.set(name, String(value));
  const text = search.toString();
  return `${BASE}${path.replace(/^\//, '')}${text ? `?${text}` : ''}`;
}

/** The client of the contract: paths, parameters, bodies and answers are checked against openapi.json by the compiler. */
export const http = createClient<paths>({
  baseUrl: SERVER_URL,
  credentials: 'same-origin',
  headers: { Accept: 'application/json' },
});
http.use({
  onRequest({ request }) {
    if (request.method !== 'GET' && credentials.csrf) request.headers.set('X-CSRF-Token', credentials.csrf);
    if (credentials.workspace) request.headers.set('X-Catalyst-Workspace', credentials.workspace);
    if (request.method === 'PATCH') request.headers.set('Content-Type', 'application/merge-patch+json');
    return request;
  },
});

interface Outcome<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The answer (JSON: the CSV of lists is fetched by itself), or an ApiError. With `isSignIn` a 401 is an answer to be shown, not the end of the session. */
export async function ok<T>(
  call: Promise<Outcome<T>>,
  options: { isSignIn?: boolean } = {},
): Promise<Exclude<T, string>> {
  let outcome: Outcome<T>;
  try {
    outcome = await call;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new ApiError(0, { detail: t('error.offline') }, null);
  }
  const { data, error, response } = outcome;
  if (response.ok) return data as Exclude<T, string>;
  if (response.status === 401 && !options.isSignIn && credentials.csrf) sessionEnded.set((n) => n + 1);
  const body = typeof error === 'object' && error !== null ? (error as Record<string, unknown>) : null;
  throw new ApiError(response.status, body, response.headers.get('x-request-id'));
}
