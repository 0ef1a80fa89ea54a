import { HttpResponse, http } from 'msw';
import { setupServer } from 'msw/node';
import type { Me } from '@/api/types';

/** The API as one signed-in owner of an empty workspace sees it; tests put what they need in front of it. */
export const me: Me = {
  user: {
    id: '01900000-0000-7000-8000-000000000001',
    email: 'ada@example.org',
    name: 'Ada Byron',
    is_instance_admin: true,
    created_at: '2026-01-01T00:00:00Z',
  },
  csrf_token: 'csrf-1',
  workspaces: [
    {
      id: '01900000-0000-7000-8000-000000000002',
      name: 'Engines',
      role: 'owner',
      permissions: [
        'analytics.view',
        'llm.providers',
        'gateway.keys',
        'budgets.manage',
        'members.invite',
        'members.update',
        'members.remove',
        'apikeys.own',
        'projects.create',
      ],
    },
  ],
  authenticated_at: '2026-01-01T00:00:00Z',
  key: null,
  token: null,
};

const empty = { items: [], next_cursor: null };

export const server = setupServer(
  http.get('*/api/auth/me', () => HttpResponse.json(me)),
  http.get('*/api/setup', () => HttpResponse.json({ is_needed: false })),
  http.get('*/api/notifications/count', () => HttpResponse.json({ unread: 0 })),
  http.get('*/api/permissions', () => HttpResponse.json({ roles: [], permissions: [] })),
  http.get(
    '*/api/events',
    () => new HttpResponse(new ReadableStream(), { headers: { 'content-type': 'text/event-stream' } }),
  ),
  http.get('*/api/*', () => HttpResponse.json(empty)),
);

export function problem(status: number, body: Record<string, unknown>) {
  return HttpResponse.json({ type: 'about:blank', status, request_id: 'req-1', ...body }, { status });
}
