import clsx from 'clsx';
import { UserPlus } from 'lucide-react';
import type { Member, Role } from '@/api/types';
import { t, tMaybe } from '@/lib/i18n';
import { Badge } from './badge';
import { Button } from './button';
import { Select } from './field';
import { Table } from './table';
import { Time } from './values';

export const ROLES: Role[] = ['owner', 'admin', 'developer', 'reviewer', 'viewer'];
/** A role as people know it. */
export const roleName = (role: string) => tMaybe(`role.${role}`, t('role.custom'));

const HUES = [
  'text-accent bg-accent-soft',
  'text-copper bg-copper-soft',
  'text-good bg-good-soft',
  'text-warn bg-warn-soft',
];

export function Avatar({ name }: { name: string }) {
  const parts = name.trim().split(/\s+/);
  const letters = `${parts[0]?.[0] ?? ''}${parts.length > 1 ? (parts.at(-1)?.[0] ?? '') : ''}`.toUpperCase();
  const sum = [...name].reduce((n, c) => n + (c.codePointAt(0) ?? 0), 0);
  return (
    <span
      aria-hidden
      className={clsx(
        'grid size-8 flex-none place-items-center rounded-full text-xs font-semibold',
        HUES[sum % HUES.length],
      )}
    >
      {letters}
    </span>
  );
}

/** The people of a workspace. Without `onChangeRole` and `onRemove` it is to be read only. */
export function WorkspaceMembers(props: {
  members: Member[];
  onInvite?: (() => void) | undefined;
  self?: string;
  rolesFor?: (member: Member) => Role[];
  onChangeRole?: ((member: Member, role: Role) => void) | undefined;
  onRemove?: ((member: Member) => void) | undefined;
}) {
  return (
    <div className="card overflow-hidden">
      <div className="flex items-center gap-3 border-b border-line px-4 py-2.5">
        <h2 className="text-sm font-semibold">{t('member.count', { n: props.members.length })}</h2>
        {props.onInvite && (
          <Button variant="primary" icon={UserPlus} className="ms-auto" data-create onClick={props.onInvite}>
            {t('member.invite')}
          </Button>
        )}
      </div>
      <Table
        label={t('nav.members')}
        rows={props.members}
        keyOf={(member) => member.user_id}
        columns={[
          {
            id: 'name',
            header: t('account.name'),
            sortBy: (member) => member.name,
            cell: (member) => (
              <span className="flex items-center gap-3 py-2">
                <Avatar name={member.name} />
                <span className="min-w-0">
                  <span className="flex items-center gap-2 font-medium">
                    <span className="truncate">{member.name}</span>
                    {member.user_id === props.self && <Badge tone="accent">{t('member.you')}</Badge>}
                  </span>
                  <span className="block truncate text-xs text-ink-3">{member.email}</span>
                </span>
              </span>
            ),
          },
          {
            id: 'role',
            header: t('member.role'),
            sortBy: (member) => ROLES.indexOf(member.role as Role),
            cell: (member) => {
              const offered: string[] = props.rolesFor?.(member) ?? [];
              const roles = offered.includes(member.role) ? offered : [member.role, ...offered];
              return props.onChangeRole && offered.length > 1 ? (
                <Select
                  className="input-sm w-auto"
                  aria-label={t('member.role_of', { name: member.name })}
                  value={member.role}
                  options={roles.map((role) => ({ value: role, label: roleName(role) }))}
                  onChange={(e) => props.onChangeRole?.(member, e.target.value as Role)}
                />
              ) : (
                roleName(member.role)
              );
            },
          },
          {
            id: 'active',
            header: t('member.active'),
            cell: (member) => <Time iso={member.last_active_at} />,
          },
          { id: 'since', header: t('member.since'), cell: (member) => <Time iso={member.created_at} /> },
          ...(props.onRemove
            ? [
                {
                  id: 'remove',
                  header: t('table.actions'),
                  align: 'right' as const,
                  cell: (member: Member) =>
                    member.role === 'owner' ? null : (
                      <Button size="sm" onClick={() => props.onRemove?.(member)}>
                        {t(member.user_id === props.self ? 'member.leave' : 'member.remove')}
                      </Button>
                    ),
                },
              ]
            : []),
        ]}
      />
    </div>
  );
}
