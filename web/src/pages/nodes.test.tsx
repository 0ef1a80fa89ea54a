import { screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { HttpResponse, http } from 'msw';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Node } from '@/api/types';
import { setPref } from '@/lib/prefs';
import { renderAt } from '@/test/render';
import { me, problem, server } from '@/test/server';

beforeAll(() => server.listen());
beforeEach(() => setPref('session', 'on'));
afterEach(() => server.resetHandlers());
afterAll(() => server.close());

const node = (name: string, more: Partial<Node> = {}): Node => ({
  id: `${name}-0000-7000-8000-000000000001`,
  boot_id: '01900000-0000-7000-8000-000000000009',
  name,
  address: '127.0.0.1:8080',
  version: '1.0.0',
  schema: 8,
  state: 'serving',
  started_at: '2026-01-01T00:00:00Z',
  last_seen_at: '2026-01-01T00:00:00Z',
  log_lag: 0,
  snapshot_version: 1,
  snapshot_lag: 0,
  leased_usd: '0.000000000',
  leased_nanousd: 0,
  journal: { bytes: 0, calls: 0, oldest_at: null },
  streams: 0,
  is_self: false,
  ...more,
});

const answer = (...items: Node[]) =>
  server.use(http.get('*/api/nodes', () => HttpResponse.json({ items, next_cursor: null })));

it('says what is amiss: who is away, and that releases differ', async () => {
  answer(
    node('north', { is_self: true, version: '1.1.0' }),
    node('south'),
    node('west', { state: 'away', version: '0.9.0' }),
  );
  renderAt('/nodes');
  await screen.findByText('west is away');
  screen.getByText('Different releases are at work: 1.0.0, 1.1.0');
  const row = screen.getByText('west').closest('tr, li') as HTMLElement;
  expect(within(row).getByText('Away')).toBeTruthy();
  expect(screen.queryByRole('button', { name: 'Forget north' })).toBeNull();
});

it('has nothing to say when all is well', async () => {
  answer(node('north', { is_self: true }), node('south'));
  renderAt('/nodes');
  await screen.findByText('south');
  expect(screen.queryByText(/away|Different releases/)).toBeNull();
});

it('forgets a node when its name is typed, and says why it cannot', async () => {
  const user = userEvent.setup();
  const asked: string[] = [];
  answer(
    node('north', { is_self: true }),
    node('west', { state: 'away', journal: { bytes: 9, calls: 2, oldest_at: null } }),
  );
  server.use(
    http.delete('*/api/nodes/:id', ({ request }) => {
      asked.push(new URL(request.url).search);
      return asked.length === 1
        ? problem(409, { code: 'conflict', detail: 'its journal has 2 calls that are not in the database' })
        : new HttpResponse(null, { status: 204 });
    }),
  );
  renderAt('/nodes');
  await user.click(await screen.findByRole('button', { name: 'Forget west' }));
  const dialog = await screen.findByRole('dialog');
  await user.type(within(dialog).getByRole('textbox'), 'west');
  await user.click(within(dialog).getByRole('button', { name: 'Forget' }));
  await within(dialog).findByText(/its journal has 2 calls/);
  await user.click(within(dialog).getByRole('checkbox'));
  await user.click(within(dialog).getByRole('button', { name: 'Forget' }));
  await screen.findByText('west is forgotten');
  expect(asked).toEqual(['', '?lost=true']);
});

it('is for administrators of the instance', async () => {
  server.use(
    http.get('*/api/auth/me', () =>
      HttpResponse.json({ ...me, user: { ...me.user, is_instance_admin: false } }),
    ),
  );
  renderAt('/nodes');
  await screen.findByText('Only administrators of the instance see its nodes.');
  expect(screen.queryByRole('link', { name: 'Nodes' })).toBeNull();
});
