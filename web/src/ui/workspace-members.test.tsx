import { screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import type { Member } from '@/api/types';
import { loadArea } from '@/lib/i18n';
import { renderAlone } from '@/test/render';
import { ROLES, WorkspaceMembers } from './workspace-members';

const members: Member[] = [
  {
    user_id: '1',
    name: 'Ada Byron',
    email: 'ada@example.org',
    role: 'owner',
    created_at: '2026-01-01T00:00:00Z',
    last_active_at: null,
    invited_at: null,
    is_service_account: false,
  },
  {
    user_id: '2',
    name: 'Ben Oe',
    email: 'ben@example.org',
    role: 'developer',
    created_at: '2026-02-01T00:00:00Z',
    last_active_at: '2026-02-02T00:00:00Z',
    invited_at: null,
    is_service_account: false,
  },
];

beforeAll(() => loadArea('team'));

describe('WorkspaceMembers', () => {
  it('is to be read only without anything to do', () => {
    renderAlone(<WorkspaceMembers members={members} />);
    expect(screen.getByText('2 members')).toBeTruthy();
    expect(screen.queryByRole('combobox')).toBeNull();
    expect(screen.queryByRole('button', { name: 'Invite' })).toBeNull();
    expect(screen.queryByRole('button', { name: 'Remove' })).toBeNull();
  });

  it('invites, changes roles and removes where one may', async () => {
    const onInvite = vi.fn();
    const onChangeRole = vi.fn();
    const onRemove = vi.fn();
    renderAlone(
      <WorkspaceMembers
        members={members}
        onInvite={onInvite}
        self="1"
        rolesFor={() => ROLES}
        onChangeRole={onChangeRole}
        onRemove={onRemove}
      />,
    );
    await userEvent.click(screen.getByRole('button', { name: 'Invite' }));
    expect(onInvite).toHaveBeenCalled();
    await userEvent.selectOptions(screen.getByRole('combobox', { name: 'Role of Ben Oe' }), 'viewer');
    expect(onChangeRole).toHaveBeenCalledWith(members[1], 'viewer');
    const row = screen.getByText('Ben Oe').closest('tr') as HTMLElement;
    await userEvent.click(within(row).getByRole('button', { name: 'Remove' }));
    expect(onRemove).toHaveBeenCalledWith(members[1]);
    expect(
      within(screen.getByText('Ada Byron').closest('tr') as HTMLElement).queryByRole('button'),
    ).toBeNull();
  });
});
