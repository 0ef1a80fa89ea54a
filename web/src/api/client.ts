import { BASE } from '@/lib/base';
import { t } from '@/lib/i18n';
import { createStore } from '@/lib/store';

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

interface Options {
  query?: Query;
  body?: unknown;
  signal?: AbortSignal | undefined;
  headers?: Record<string, string>;
  /** A 401 is an answer to be shown, not the end of the session. */
  isSignIn?: boolean;
}

export async function request<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const headers = new Headers({ Accept: 'application/json', ...options.headers });
  if (options.body !== undefined)
    headers.set('Content-Type', method === 'PATCH' ? 'application/merge-patch+json' : 'application/json');
  if (method !== 'GET' && credentials.csrf) headers.set('X-CSRF-Token', credentials.csrf);
  if (credentials.workspace) headers.set('X-Catalyst-Workspace', credentials.workspace);
  let response: Response;
  try {
    response = await fetch(apiUrl(path, options.query), {
      method,
      headers,
      credentials: 'same-origin',
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      signal: options.signal,
    } as RequestInit);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, { detail: t('error.offline') }, null);
  }
  const isJson = /json/.test(response.headers.get('content-type') ?? '');
  const body = response.status === 204 || !isJson ? null : await response.json().catch(() => null);
  if (response.ok) return body as T;
  if (response.status === 401 && !options.isSignIn && credentials.csrf) sessionEnded.set((n) => n + 1);
  throw new ApiError(response.status, body, response.headers.get('x-request-id'));
}

export const api = {
  get: <T>(path: string, query?: Query, signal?: AbortSignal) =>
    request<T>('GET', path, { query, signal } as Options),
  post: <T>(path: string, body?: unknown) => request<T>('POST', path, { body }),
  put: <T>(path: string, body?: unknown) => request<T>('PUT', path, { body }),
  patch: <T>(path: string, body?: unknown) => request<T>('PATCH', path, { body }),
  delete: <T>(path: string) => request<T>('DELETE', path),
};
