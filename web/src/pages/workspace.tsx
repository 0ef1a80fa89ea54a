import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import clsx from 'clsx';
import { Check, MailPlus, Minus } from 'lucide-react';
import { useState } from 'react';
import {
  invitationsQuery,
  invite,
  membersQuery,
  permissionsQuery,
  removeMember,
  revokeInvitation,
  setRole,
} from '@/api/queries';
import type { Invitation, Member, NewInvitation, Role } from '@/api/types';
import { useMay, useSession } from '@/app/session';
import { t } from '@/lib/i18n';
import { Button } from '@/ui/button';
import { SecretOnce } from '@/ui/copy';
import { useNew } from '@/ui/data-page';
import { ConfirmByName, Dialog } from '@/ui/dialog';
import { Input, Select } from '@/ui/field';
import { Form, FormField, required, useForm } from '@/ui/form';
import { Page } from '@/ui/page';
import { Empty, NoPermission, QueryView, SkeletonRows } from '@/ui/states';
import { Table } from '@/ui/table';
import { Tabs } from '@/ui/tabs';
import { toast } from '@/ui/toast';
import { Time } from '@/ui/values';
import { ROLES, roleName, WorkspaceMembers } from '@/ui/workspace-members';

const TABS = ['members', 'invitations', 'roles'] as const;

export default function WorkspacePage() {
  const { workspace } = useSession();
  const { tab } = useSearch({ strict: false }) as { tab?: string };
  const navigate = useNavigate();
  const mayInvite = useMay('members.invite');
  const [isInviting, setIsInviting] = useNew();
  const members = useQuery(membersQuery);
  const invitations = useQuery({ ...invitationsQuery, enabled: mayInvite });
  const value = TABS.find((one) => one === tab) ?? 'members';
  return (
    <Page title={workspace.name} intro={t('member.intro')}>
      <Tabs
        label={workspace.name}
        value={value}
        onChange={(next) =>
          void navigate({
            to: '/workspace',
            search: next === 'members' ? {} : { tab: next },
            replace: true,
          } as never)
        }
        tabs={[
          {
            value: 'members',
            label: t('nav.members'),
            count: members.data?.items.length,
            panel: <Members onInvite={mayInvite ? () => setIsInviting(true) : undefined} />,
          },
          {
            value: 'invitations',
            label: t('member.invitations'),
            count: invitations.data?.items.length,
            panel: mayInvite ? (
              <Invitations onInvite={() => setIsInviting(true)} />
            ) : (
              <NoPermission permission="members.invite" />
            ),
          },
          { value: 'roles', label: t('member.roles'), panel: <Roles /> },
        ]}
      />
      {isInviting && <InviteDialog onClose={() => setIsInviting(false)} />}
    </Page>
  );
}

function Members({ onInvite }: { onInvite?: (() => void) | undefined }) {
  const { me, workspace } = useSession();
  const client = useQueryClient();
  const query = useQuery(membersQuery);
  const mayChange = useMay('members.update');
  const mayRemove = useMay('members.remove');
  const [removed, setRemoved] = useState<Member | null>(null);
  const again = () => client.invalidateQueries({ queryKey: ['member'] });
  const change = useMutation({
    mutationFn: ({ member, role }: { member: Member; role: Role }) => setRole(member.user_id, role),
    onSuccess: (_answer, { member, role }) =>
      toast({
        tone: 'good',
        title: t('member.role_changed', { name: member.name, role: t(`role.${role}`) }),
      }),
    onError: (error) => toast({ tone: 'bad', title: error.message }),
    onSettled: again,
  });
  // Only an owner makes or unmakes an owner.
  const rolesFor = (member: Member) =>
    workspace.role === 'owner'
      ? ROLES
      : member.role === 'owner'
        ? []
        : ROLES.filter((role) => role !== 'owner');
  return (
    <QueryView query={query} loading={<SkeletonRows />}>
      {(list) => (
        <>
          <WorkspaceMembers
            members={list.items}
            onInvite={onInvite}
            self={me.user.id}
            rolesFor={rolesFor}
            onChangeRole={mayChange ? (member, role) => change.mutate({ member, role }) : undefined}
            onRemove={mayRemove ? setRemoved : undefined}
          />
          <ConfirmByName
            isOpen={removed !== null}
            onClose={() => setRemoved(null)}
            title={t('member.remove_title', { name: removed?.name ?? '' })}
            name={removed?.email ?? ''}
            action={t('member.remove')}
            onConfirm={async () => {
              if (removed) await removeMember(removed.user_id);
              await again();
            }}
          >
            {t('member.remove_hint')}
          </ConfirmByName>
        </>
      )}
    </QueryView>
  );
}

function Invitations({ onInvite }: { onInvite: () => void }) {
  const client = useQueryClient();
  const query = useQuery(invitationsQuery);
  const revoke = useMutation({
    mutationFn: (invitation: Invitation) => revokeInvitation(invitation.id),
    onSuccess: () => toast({ tone: 'good', title: t('member.revoked') }),
    onError: (error) => toast({ tone: 'bad', title: error.message }),
    onSettled: () => client.invalidateQueries({ queryKey: ['invitation'] }),
  });
  return (
    <div className="card overflow-hidden">
      <QueryView query={query} loading={<SkeletonRows rows={2} />}>
        {(list) =>
          list.items.length === 0 ? (
            <Empty
              icon={MailPlus}
              title={t('member.no_invitations')}
              action={
                <Button variant="primary" onClick={onInvite}>
                  {t('member.invite')}
                </Button>
              }
            >
              {t('member.no_invitations_hint')}
            </Empty>
          ) : (
            <Table
              label={t('member.invitations')}
              rows={list.items}
              keyOf={(one) => one.id}
              columns={[
                {
                  id: 'email',
                  header: t('account.email'),
                  cell: (one) => <span className="font-medium">{one.email}</span>,
                },
                { id: 'role', header: t('member.role'), cell: (one) => roleName(one.role) },
                { id: 'expires', header: t('key.expires'), cell: (one) => <Time iso={one.expires_at} /> },
                {
                  id: 'revoke',
                  header: t('table.actions'),
                  align: 'right',
                  cell: (one) => (
                    <Button
                      size="sm"
                      isBusy={revoke.isPending && revoke.variables.id === one.id}
                      onClick={() => revoke.mutate(one)}
                    >
                      {t('member.revoke')}
                    </Button>
                  ),
                },
              ]}
            />
          )
        }
      </QueryView>
    </div>
  );
}

function InviteDialog({ onClose }: { onClose: () => void }) {
  const { workspace } = useSession();
  const client = useQueryClient();
  const [made, setMade] = useState<NewInvitation | null>(null);
  const form = useForm({
    initial: { email: '', role: 'developer' as Role },
    check: (values) => ({ email: required(values.email) }),
    submit: async (values) => {
      const invitation = await invite({ email: values.email.trim(), role: values.role });
      await client.invalidateQueries({ queryKey: ['invitation'] });
      setMade(invitation);
    },
  });
  if (made?.link)
    return (
      <Dialog
        isOpen
        onClose={onClose}
        isModalOnly
        title={t('member.invited', { email: made.email })}
        footer={
          <>
            <Button
              onClick={() => {
                form.reset();
                setMade(null);
              }}
            >
              {t('member.invite_another')}
            </Button>
            <Button variant="primary" onClick={onClose}>
              {t('member.have_link')}
            </Button>
          </>
        }
      >
        <SecretOnce secret={made.link} what={t('member.link_once')} />
      </Dialog>
    );
  return (
    <Dialog
      isOpen
      onClose={onClose}
      title={t('member.invite_to', { name: workspace.name })}
      description={t('member.invite_hint')}
      isDirty={form.isDirty}
      footer={
        <>
          <Button onClick={onClose}>{t('action.cancel')}</Button>
          <Button type="submit" form="invite" variant="primary" isBusy={form.isBusy}>
            {t('member.make_link')}
          </Button>
        </>
      }
    >
      <Form form={form} id="invite">
        <FormField form={form} name="email" label={t('account.email')} isRequired>
          {(control) => (
            <Input
              {...control}
              type="email"
              autoComplete="off"
              onChange={(e) => form.set('email', e.target.value)}
            />
          )}
        </FormField>
        <FormField
          form={form}
          name="role"
          label={t('member.role')}
          hint={t(`role.${form.values.role as Role}_hint`)}
          isRequired
        >
          {(control) => (
            <Select
              {...control}
              options={ROLES.filter((role) => role !== 'owner' || workspace.role === 'owner').map((role) => ({
                value: role,
                label: t(`role.${role}`),
              }))}
              onChange={(e) => form.set('role', e.target.value as Role)}
            />
          )}
        </FormField>
      </Form>
    </Dialog>
  );
}

/** Who may do what, as the server decides it. */
function Roles() {
  const query = useQuery(permissionsQuery);
  return (
    <div className="card overflow-hidden">
      <QueryView query={query} loading={<SkeletonRows rows={10} columns={6} />}>
        {(catalogue) => {
          const roles = ROLES.map((name) => catalogue.roles.find((role) => role.name === name)).filter(
            (r) => r !== undefined,
          );
          return (
            <div
              className="relative max-h-[70dvh] overflow-auto"
              tabIndex={0}
              role="region"
              aria-label={t('member.roles')}
            >
              <table className="w-full border-separate border-spacing-0 text-sm">
                <thead>
                  <tr>
                    <th
                      scope="col"
                      className="sticky top-0 start-0 z-2 border-b border-line bg-surface px-4 py-2 text-start text-xs font-medium text-ink-3"
                    >
                      {t('member.permission')}
                    </th>
                    {roles.map((role) => (
                      <th
                        key={role.name}
                        scope="col"
                        className="sticky top-0 z-1 border-b border-line bg-surface px-3 py-2 text-xs font-medium text-ink-3"
                      >
                        {roleName(role.name)}
                      </th>
                    ))}
                  </tr>
                </thead>
                <tbody>
                  {catalogue.permissions.map((permission, i) => {
                    const area = permission.name.split('.')[0];
                    const isFirst = area !== catalogue.permissions[i - 1]?.name.split('.')[0];
                    return (
                      <tr key={permission.name} className="hover:bg-hover">
                        <th
                          scope="row"
                          className={clsx(
                            'sticky start-0 bg-surface px-4 py-1.5 text-start font-normal',
                            isFirst && i > 0 && 'border-t border-line',
                          )}
                        >
                          <span className="font-mono text-xs">{permission.name}</span>
                          <span className="block text-xs text-ink-3">{permission.meaning}</span>
                        </th>
                        {roles.map((role) => {
                          const has =
                            role.permissions.includes('*') || role.permissions.includes(permission.name);
                          const Icon = has ? Check : Minus;
                          return (
                            <td
                              key={role.name}
                              className={clsx('px-3 text-center', isFirst && i > 0 && 'border-t border-line')}
                            >
                              <Icon
                                aria-hidden
                                className={clsx(
                                  'mx-auto size-4',
                                  has ? 'text-good' : 'text-ink-3 opacity-50',
                                )}
                              />
                              <span className="sr-only">{t(has ? 'member.yes' : 'member.no')}</span>
                            </td>
                          );
                        })}
                      </tr>
                    );
                  })}
                </tbody>
              </table>
            </div>
          );
        }}
      </QueryView>
    </div>
  );
}
