import { screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { HttpResponse, http } from 'msw';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { credentials } from '@/api/client';
import { setPref } from '@/lib/prefs';
import { renderAt } from '@/test/render';
import { me, problem, server } from '@/test/server';
import paths from './paths.json';

beforeAll(() => server.listen());
beforeEach(() => setPref('session', 'on'));
afterEach(() => {
  server.resetHandlers();
  credentials.csrf = '';
  credentials.workspace = '';
});
afterAll(() => server.close());

describe('the addresses', () => {
  it('are those that the server answers with the page', () => {
    const { router } = renderAt('/');
    const own = Object.keys(router.routesByPath)
      .map((path) => path.replace(/\$(\w+)/g, ':$1'))
      .filter((path) => path !== '/')
      .sort();
    expect(own).toEqual([...paths].sort());
  });

  it('are remembered while one signs in', async () => {
    server.use(http.get('*/api/auth/me', () => problem(401, { code: 'unauthenticated' })));
    const { router } = renderAt('/settings/keys?tab=api');
    await screen.findByRole('heading', { name: 'Sign in' });
    expect(router.state.location.search).toEqual({ next: '/settings/keys?tab=api' });
  });

  it('lead to the set-up when nobody owns the server', async () => {
    server.use(
      http.get('*/api/auth/me', () => problem(401, { code: 'unauthenticated' })),
      http.get('*/api/setup', () => HttpResponse.json({ is_needed: true })),
    );
    renderAt('/requests');
    await screen.findByRole('heading', { name: 'Catalyst waits for its first start' });
  });

  it('say so when there is nothing', async () => {
    renderAt('/nothing/here');
    await screen.findByRole('heading', { name: 'There is nothing here' });
  });
});

describe('a page', () => {
  it('has a title, a navigation that says where one is, and a way past it', async () => {
    renderAt('/settings/budgets');
    await screen.findByRole('heading', { level: 1, name: 'Budgets' });
    expect(document.title).toBe('Budgets · Catalyst');
    expect(screen.getByRole('link', { name: 'Budgets', current: 'page' })).toBeTruthy();
    expect(screen.getByRole('link', { name: 'Skip to the content' }).getAttribute('href')).toBe('#main');
  });

  it('tells what went wrong, with the number to ask about it, and tries again', async () => {
    let isBroken = true;
    server.use(
      http.get('*/api/gateway/budgets', () =>
        isBroken
          ? problem(400, { detail: 'The ledger is closed.' })
          : HttpResponse.json({ items: [], next_cursor: null }),
      ),
    );
    renderAt('/settings/budgets');
    await screen.findByText('The ledger is closed.');
    expect(screen.getByText('req-1')).toBeTruthy();
    isBroken = false;
    await userEvent.click(screen.getByRole('button', { name: 'Try again' }));
    await screen.findByRole('heading', { name: 'No budget yet' });
  });

  it('tells who may see what one may not', async () => {
    server.use(
      http.get('*/api/auth/me', () =>
        HttpResponse.json({
          ...me,
          workspaces: [{ ...me.workspaces[0], role: 'viewer', permissions: ['workspace.read'] }],
        }),
      ),
      http.get('*/api/permissions', () =>
        HttpResponse.json({
          roles: [
            { name: 'owner', permissions: ['llm.providers'] },
            { name: 'viewer', permissions: [] },
          ],
          permissions: [],
        }),
      ),
    );
    renderAt('/settings/providers');
    await screen.findByText('It needs one of these roles: Owner.');
    expect(screen.getByText('llm.providers')).toBeTruthy();
  });

  it('sends what it changes with the token and the workspace', async () => {
    let headers: Headers | undefined;
    let body: unknown;
    server.use(
      http.post('*/api/gateway/keys', async ({ request }) => {
        headers = request.headers;
        body = await request.json();
        return HttpResponse.json({ id: '1', name: 'ci', key: 'cvk_secret_1' }, { status: 201 });
      }),
    );
    renderAt('/settings/keys');
    await userEvent.click(await screen.findByRole('button', { name: 'New virtual key' }));
    await userEvent.type(await screen.findByRole('textbox', { name: 'Name' }), 'ci');
    await userEvent.type(screen.getByRole('textbox', { name: /Budget in USD/ }), '12,5');
    await userEvent.click(screen.getByRole('button', { name: 'Create the key' }));
    await screen.findByText('cvk_secret_1');
    expect(headers?.get('x-csrf-token')).toBe('csrf-1');
    expect(headers?.get('x-catalyst-workspace')).toBe(me.workspaces[0]?.id);
    expect(body).toEqual({ name: 'ci', budget_usd: '12.5', budget_period: 'monthly' });
  });

  it('asks for the password again when the session has ended, and keeps what was typed', async () => {
    let isEnded = true;
    server.use(
      http.post('*/api/gateway/keys', () =>
        isEnded
          ? problem(401, { code: 'unauthenticated' })
          : HttpResponse.json({ id: '1', key: 'cvk_secret_2' }, { status: 201 }),
      ),
      http.post('*/api/auth/login', () => {
        isEnded = false;
        return HttpResponse.json({ user: me.user, csrf_token: 'csrf-2' }, { status: 201 });
      }),
    );
    renderAt('/settings/keys');
    await userEvent.click(await screen.findByRole('button', { name: 'New virtual key' }));
    await userEvent.type(await screen.findByRole('textbox', { name: 'Name' }), 'nightly');
    await userEvent.click(screen.getByRole('button', { name: 'Create the key' }));
    await userEvent.type(await screen.findByLabelText('Password'), 'correct horse battery');
    await userEvent.click(screen.getByRole('button', { name: 'Sign in' }));
    await waitFor(() => expect(screen.queryByText('Your session has ended')).toBeNull());
    expect(screen.getByRole('textbox', { name: 'Name' })).toHaveProperty('value', 'nightly');
    await userEvent.click(screen.getByRole('button', { name: 'Create the key' }));
    await screen.findByText('cvk_secret_2');
  });
});
