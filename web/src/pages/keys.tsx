import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { Ellipsis, KeyRound, Plus, Power, RotateCw, Terminal, Trash2 } from 'lucide-react';
import { lazy, Suspense, useState } from 'react';
import {
  apiKeysQuery,
  deleteGatewayKey,
  enableGatewayKey,
  gatewayKeysQuery,
  projectsQuery,
  revokeApiKey,
  rotateApiKey,
  rotateGatewayKey,
} from '@/api/queries';
import type { ApiKey, GatewayKey } from '@/api/types';
import { useMay } from '@/app/session';
import { money, NONE } from '@/lib/format';
import { t } from '@/lib/i18n';
import { Badge, Chip } from '@/ui/badge';
import { Button } from '@/ui/button';
import { useNew } from '@/ui/data-page';
import { ConfirmByName } from '@/ui/dialog';
import { Menu, MenuItem, MenuSeparator } from '@/ui/menu';
import { Meter } from '@/ui/meter';
import { Page } from '@/ui/page';
import { Empty, NoPermission, QueryView, SkeletonRows } from '@/ui/states';
import { Table } from '@/ui/table';
import { Tabs } from '@/ui/tabs';
import { toast } from '@/ui/toast';
import { Time } from '@/ui/values';
import { OVERLAP_HOURS } from './key-overlap';
import { ReauthenticateDialog, useReauthentication } from './reauthenticate';

const GatewayKeyForm = lazy(() => import('./key-forms').then((m) => ({ default: m.NewGatewayKey })));
const ApiKeyForm = lazy(() => import('./key-forms').then((m) => ({ default: m.NewApiKey })));
const SecretDialog = lazy(() => import('./key-forms').then((m) => ({ default: m.SecretDialog })));

export default function Keys() {
  const { tab } = useSearch({ strict: false }) as { tab?: string };
  const navigate = useNavigate();
  const value = tab === 'api' ? 'api' : 'gateway';
  return (
    <Page title={t('nav.keys')} intro={t('key.intro')}>
      <Tabs
        label={t('nav.keys')}
        value={value}
        onChange={(next) =>
          void navigate({
            to: '/settings/keys',
            search: next === 'api' ? { tab: 'api' } : {},
            replace: true,
          } as never)
        }
        tabs={[
          { value: 'gateway', label: t('key.gateway'), panel: <GatewayKeys /> },
          { value: 'api', label: t('key.api'), panel: <ApiKeys /> },
        ]}
      />
    </Page>
  );
}

// --- virtual keys: for models, nothing else ---

function GatewayKeys() {
  const may = useMay('gateway.keys');
  return may ? <GatewayKeyList /> : <NoPermission permission="gateway.keys" />;
}

function GatewayKeyList() {
  const query = useQuery(gatewayKeysQuery);
  const { data: projects } = useQuery({ ...projectsQuery, retry: false });
  const client = useQueryClient();
  const [isNew, setIsNew] = useNew();
  const [deleted, setDeleted] = useState<GatewayKey | null>(null);
  const [secret, setSecret] = useState<{ name: string; key: string } | null>(null);
  const again = () => client.invalidateQueries({ queryKey: ['gateway_key'] });
  const failed = (error: Error) => toast({ tone: 'bad', title: error.message });
  const rotate = useMutation({
    mutationFn: (key: GatewayKey) => rotateGatewayKey(key.id, OVERLAP_HOURS),
    onSuccess: (answer) => setSecret({ name: answer.name, key: answer.key ?? '' }),
    onError: failed,
    onSettled: again,
  });
  const toggle = useMutation({
    mutationFn: (key: GatewayKey) => enableGatewayKey(key.id, !key.is_enabled),
    onError: failed,
    onSettled: again,
  });
  const add = (
    <Button variant="primary" icon={Plus} data-create onClick={() => setIsNew(true)}>
      {t('key.new')}
    </Button>
  );
  const projectName = (id: string | null) =>
    projects?.items.find((p) => p.id === id)?.name ?? (id ? NONE : t('key.no_project'));
  return (
    <>
      <div className="mb-3 flex flex-wrap items-center gap-3">
        <p className="min-w-0 flex-1 basis-64 text-sm text-ink-2">{t('key.gateway_hint')}</p>
        {query.data?.items.length ? add : null}
      </div>
      <div className="card overflow-hidden">
        <QueryView query={query} loading={<SkeletonRows />}>
          {(list) =>
            list.items.length === 0 ? (
              <Empty icon={KeyRound} title={t('key.empty')} action={add}>
                {t('key.empty_hint')}
              </Empty>
            ) : (
              <Table
                label={t('key.gateway')}
                rows={list.items}
                keyOf={(key) => key.id}
                columns={[
                  {
                    id: 'name',
                    header: t('field.name'),
                    sortBy: (key) => key.name,
                    cell: (key) => (
                      <span className="block py-2">
                        <span className="flex flex-wrap items-center gap-2 font-medium">
                          {key.name}
                          {!key.is_enabled && <Badge>{t('key.off')}</Badge>}
                          {isOver(key.expires_at) && <Badge tone="bad">{t('key.expired')}</Badge>}
                          {key.origin === 'file' && <Badge tone="accent">{t('from_file')}</Badge>}
                        </span>
                        <span className="font-mono text-2xs text-ink-3">{key.prefix}…</span>
                      </span>
                    ),
                  },
                  {
                    id: 'project',
                    header: t('call.project'),
                    cell: (key) => <span className="text-ink-2">{projectName(key.project_id)}</span>,
                  },
                  {
                    id: 'models',
                    header: t('key.may_use'),
                    cell: (key) => {
                      const all = [...key.allowed_models, ...key.allowed_providers];
                      return all.length === 0 ? (
                        <span className="text-ink-2">{t('key.everything')}</span>
                      ) : (
                        <span className="flex flex-wrap gap-1">
                          {all.slice(0, 3).map((one) => (
                            <Chip key={one}>{one}</Chip>
                          ))}
                          {all.length > 3 && (
                            <span className="text-xs text-ink-3">{t('and_more', { n: all.length - 3 })}</span>
                          )}
                        </span>
                      );
                    },
                  },
                  {
                    id: 'budget',
                    header: t('key.budget'),
                    sortBy: (key) => key.budget?.limit_nanousd ?? 0,
                    cell: (key) =>
                      key.budget ? (
                        <span className="block min-w-36">
                          <span className="nums mb-1 flex justify-between gap-3 text-xs">
                            <span>{money(key.budget.spent_nanousd)}</span>
                            <span className="text-ink-3">
                              {money(key.budget.limit_nanousd)} {t(`period.${key.budget.period}`)}
                            </span>
                          </span>
                          <Meter
                            isThin
                            value={key.budget.spent_nanousd}
                            max={key.budget.limit_nanousd}
                            label={t('key.budget_of', { name: key.name })}
                            text={t('budget.left', { left: money(key.budget.left_nanousd) })}
                          />
                        </span>
                      ) : (
                        <span className="text-ink-3">{t('key.no_budget')}</span>
                      ),
                  },
                  { id: 'used', header: t('key.used'), cell: (key) => <Time iso={key.last_used_at} /> },
                  {
                    id: 'actions',
                    header: t('table.actions'),
                    align: 'right',
                    cell: (key) => (
                      <Menu
                        align="end"
                        trigger={
                          <Button
                            size="sm"
                            variant="ghost"
                            icon={Ellipsis}
                            label={t('table.actions_of', { name: key.name })}
                          />
                        }
                      >
                        <MenuItem
                          icon={RotateCw}
                          isDisabled={key.origin === 'file'}
                          onSelect={() => rotate.mutate(key)}
                        >
                          {t('key.rotate')}
                        </MenuItem>
                        <MenuItem
                          icon={Power}
                          isDisabled={key.origin === 'file'}
                          onSelect={() => toggle.mutate(key)}
                        >
                          {t(key.is_enabled ? 'action.disable' : 'action.enable')}
                        </MenuItem>
                        <MenuSeparator />
                        <MenuItem
                          icon={Trash2}
                          isDanger
                          isDisabled={key.origin === 'file'}
                          onSelect={() => setDeleted(key)}
                        >
                          {t('action.delete')}
                        </MenuItem>
                      </Menu>
                    ),
                  },
                ]}
              />
            )
          }
        </QueryView>
      </div>
      <Suspense>{isNew && <GatewayKeyForm onClose={() => setIsNew(false)} />}</Suspense>
      <Suspense>
        {secret && <SecretDialog name={secret.name} secret={secret.key} onClose={() => setSecret(null)} />}
      </Suspense>
      <ConfirmByName
        isOpen={deleted !== null}
        onClose={() => setDeleted(null)}
        title={t('key.delete_title', { name: deleted?.name ?? '' })}
        name={deleted?.name ?? ''}
        action={t('action.delete')}
        onConfirm={async () => {
          if (deleted) await deleteGatewayKey(deleted.id);
          await again();
        }}
      >
        {t('key.delete_hint')}
      </ConfirmByName>
    </>
  );
}

const isOver = (iso: string | null) => iso !== null && new Date(iso).getTime() < Date.now();

// --- API keys: for this page's own API ---

function ApiKeys() {
  const query = useQuery(apiKeysQuery);
  const client = useQueryClient();
  const [isNew, setIsNew] = useState(false);
  const [secret, setSecret] = useState<{ name: string; key: string } | null>(null);
  const [revoked, setRevoked] = useState<ApiKey | null>(null);
  const again = () => client.invalidateQueries({ queryKey: ['api_key'] });
  const reauthentication = useReauthentication();
  const rotate = useMutation({
    mutationFn: (key: ApiKey) => reauthentication.run(() => rotateApiKey(key.id, OVERLAP_HOURS)),
    onSuccess: (answer) => setSecret({ name: answer.name, key: answer.key ?? '' }),
    onError: (error) => toast({ tone: 'bad', title: error.message }),
    onSettled: again,
  });
  const add = (
    <Button variant="primary" icon={Plus} onClick={() => setIsNew(true)}>
      {t('key.new_api')}
    </Button>
  );
  return (
    <>
      <div className="mb-3 flex flex-wrap items-center gap-3">
        <p className="min-w-0 flex-1 basis-64 text-sm text-ink-2">{t('key.api_hint')}</p>
        {query.data?.items.length ? add : null}
      </div>
      <div className="card overflow-hidden">
        <QueryView query={query} loading={<SkeletonRows />}>
          {(list) =>
            list.items.length === 0 ? (
              <Empty icon={Terminal} title={t('key.api_empty')} action={add}>
                {t('key.api_empty_hint')}
              </Empty>
            ) : (
              <Table
                label={t('key.api')}
                rows={list.items}
                keyOf={(key) => key.id}
                columns={[
                  {
                    id: 'name',
                    header: t('field.name'),
                    sortBy: (key) => key.name,
                    cell: (key) => (
                      <span className="block py-2">
                        <span className="flex items-center gap-2 font-medium">
                          {key.name} {isOver(key.expires_at) && <Badge tone="bad">{t('key.expired')}</Badge>}
                        </span>
                        <span className="font-mono text-2xs text-ink-3">{key.prefix}…</span>
                      </span>
                    ),
                  },
                  { id: 'user', header: t('key.owner'), cell: (key) => key.user_name },
                  {
                    id: 'scopes',
                    header: t('key.scopes'),
                    cell: (key) => (
                      <span className="flex flex-wrap gap-1" title={key.scopes.join(', ')}>
                        {key.scopes.slice(0, 2).map((scope) => (
                          <Chip key={scope}>{scope}</Chip>
                        ))}
                        {key.scopes.length > 2 && (
                          <span className="text-xs text-ink-3">
                            {t('and_more', { n: key.scopes.length - 2 })}
                          </span>
                        )}
                      </span>
                    ),
                  },
                  { id: 'expires', header: t('key.expires'), cell: (key) => <Time iso={key.expires_at} /> },
                  { id: 'used', header: t('key.used'), cell: (key) => <Time iso={key.last_used_at} /> },
                  {
                    id: 'actions',
                    header: t('table.actions'),
                    align: 'right',
                    cell: (key) => (
                      <Menu
                        align="end"
                        trigger={
                          <Button
                            size="sm"
                            variant="ghost"
                            icon={Ellipsis}
                            label={t('table.actions_of', { name: key.name })}
                          />
                        }
                      >
                        <MenuItem icon={RotateCw} onSelect={() => rotate.mutate(key)}>
                          {t('key.rotate')}
                        </MenuItem>
                        <MenuSeparator />
                        <MenuItem icon={Trash2} isDanger onSelect={() => setRevoked(key)}>
                          {t('key.revoke')}
                        </MenuItem>
                      </Menu>
                    ),
                  },
                ]}
              />
            )
          }
        </QueryView>
      </div>
      <Suspense>
        {isNew && <ApiKeyForm onClose={() => setIsNew(false)} run={reauthentication.run} />}
      </Suspense>
      <Suspense>
        {secret && <SecretDialog name={secret.name} secret={secret.key} onClose={() => setSecret(null)} />}
      </Suspense>
      <ReauthenticateDialog state={reauthentication} />
      <ConfirmByName
        isOpen={revoked !== null}
        onClose={() => setRevoked(null)}
        title={t('key.revoke_title', { name: revoked?.name ?? '' })}
        name={revoked?.name ?? ''}
        action={t('key.revoke')}
        onConfirm={async () => {
          if (revoked) await revokeApiKey(revoked.id);
          await again();
        }}
      >
        {t('key.delete_hint')}
      </ConfirmByName>
    </>
  );
}
