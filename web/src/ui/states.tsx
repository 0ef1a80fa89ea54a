import { type UseQueryResult, useQuery } from '@tanstack/react-query';
import clsx from 'clsx';
import {
  CircleAlert,
  CircleCheck,
  Info,
  type LucideIcon,
  RotateCw,
  ShieldOff,
  TriangleAlert,
} from 'lucide-react';
import type { ReactNode } from 'react';
import { ApiError } from '@/api/client';
import { membersQuery, permissionsQuery } from '@/api/queries';
import { t, tMaybe } from '@/lib/i18n';
import { Button } from './button';
import { Copy } from './copy';

const ICONS = { bad: CircleAlert, warn: TriangleAlert, good: CircleCheck, info: Info } as const;

/** A sentence that one should not miss. */
export function Note(props: {
  tone: keyof typeof ICONS;
  title?: ReactNode;
  children?: ReactNode;
  isAlert?: boolean;
  className?: string;
}) {
  const Icon = ICONS[props.tone];
  return (
    <div
      role={props.isAlert ? 'alert' : undefined}
      className={clsx(
        'flex items-start gap-2.5 rounded-lg border px-3 py-2.5 text-sm',
        {
          bad: 'border-bad/30 bg-bad-soft',
          warn: 'border-warn/30 bg-warn-soft',
          good: 'border-good/30 bg-good-soft',
          info: 'border-line bg-sunken',
        }[props.tone],
        props.className,
      )}
    >
      <Icon
        aria-hidden
        strokeWidth={1.75}
        className={clsx(
          'mt-px size-4.5 flex-none',
          { bad: 'text-bad', warn: 'text-warn', good: 'text-good', info: 'text-ink-3' }[props.tone],
        )}
      />
      <div className="min-w-0 flex-1 text-ink [overflow-wrap:anywhere]">
        {props.title && <p className="font-medium">{props.title}</p>}
        {props.children}
      </div>
    </div>
  );
}

export function Skeleton({ className }: { className?: string }) {
  return <div className={clsx('skeleton', className)} aria-hidden />;
}

/** Rows in the place of rows, so that nothing jumps when they come. */
export function SkeletonRows({ rows = 6, columns = 4 }: { rows?: number; columns?: number }) {
  return (
    <div role="status" aria-label={t('state.loading')} className="flex flex-col">
      {Array.from({ length: rows }, (_, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: placeholders have no identity
        <div key={row} className="flex h-11 items-center gap-6 border-b border-line px-4 last:border-0">
          {Array.from({ length: columns }, (_, column) => (
            <Skeleton
              // biome-ignore lint/suspicious/noArrayIndexKey: placeholders have no identity
              key={column}
              className={clsx(
                'h-3.5',
                column === 0 ? 'w-44' : column === columns - 1 ? 'ms-auto w-14' : 'w-24',
              )}
            />
          ))}
        </div>
      ))}
    </div>
  );
}

/** A place with nothing in it yet: why, and the one thing to do about it. */
export function Empty(props: {
  icon: LucideIcon;
  title: string;
  children?: ReactNode;
  action?: ReactNode;
  isCompact?: boolean;
  /** It is all that there is: its title is the page's. */
  isPage?: boolean;
}) {
  const Icon = props.icon;
  const Title = props.isPage ? 'h1' : 'h2';
  return (
    <div className={clsx('flex flex-col items-center px-6 text-center', props.isCompact ? 'py-8' : 'py-16')}>
      <div className="mb-4 grid size-12 place-items-center rounded-xl border border-line bg-sunken text-ink-3">
        <Icon aria-hidden className="size-5.5" strokeWidth={1.5} />
      </div>
      <Title className="text-md font-semibold text-ink">{props.title}</Title>
      {props.children && <div className="mt-1.5 max-w-md text-sm text-ink-2">{props.children}</div>}
      {props.action && <div className="mt-5 flex flex-wrap justify-center gap-2">{props.action}</div>}
    </div>
  );
}

export function ErrorState({
  error,
  retry,
  isCompact,
}: {
  error: unknown;
  retry?: () => void;
  isCompact?: boolean;
}) {
  if (error instanceof ApiError && error.status === 403)
    return <NoPermission permission={error.permission} isCompact={isCompact ?? false} />;
  const requestId = error instanceof ApiError ? error.requestId : null;
  return (
    <div
      role="alert"
      className={clsx('flex flex-col items-center px-6 text-center', isCompact ? 'py-8' : 'py-16')}
    >
      <div className="mb-4 grid size-12 place-items-center rounded-xl border border-bad/30 bg-bad-soft text-bad">
        <TriangleAlert aria-hidden className="size-5.5" strokeWidth={1.5} />
      </div>
      <h2 className="text-md font-semibold text-ink">{t('state.error')}</h2>
      <p className="mt-1.5 max-w-lg text-sm text-ink-2 [overflow-wrap:anywhere]">
        {error instanceof Error ? error.message : String(error)}
      </p>
      {requestId && (
        <p className="mt-2 flex flex-wrap items-center justify-center gap-1.5 text-xs text-ink-3">
          {t('state.request_id')} <code className="font-mono [overflow-wrap:anywhere]">{requestId}</code>
          <Copy text={requestId} label={t('copy.request_id')} />
        </p>
      )}
      {retry && (
        <Button className="mt-5" icon={RotateCw} onClick={retry}>
          {t('state.retry')}
        </Button>
      )}
    </div>
  );
}

/** What one would need to see this, and who can give it. */
export function NoPermission({ permission, isCompact }: { permission: string | null; isCompact?: boolean }) {
  const { data: catalogue } = useQuery({ ...permissionsQuery, retry: false });
  const { data: members } = useQuery({ ...membersQuery, retry: false });
  const roles = permission
    ? (catalogue?.roles ?? []).filter(
        (r) => r.permissions.includes(permission) || r.permissions.includes('*'),
      )
    : [];
  const helpers = (members?.items ?? []).filter((m) => m.role === 'owner' || m.role === 'admin').slice(0, 3);
  return (
    <div className={clsx('flex flex-col items-center px-6 text-center', isCompact ? 'py-8' : 'py-16')}>
      <div className="mb-4 grid size-12 place-items-center rounded-xl border border-line bg-sunken text-ink-3">
        <ShieldOff aria-hidden className="size-5.5" strokeWidth={1.5} />
      </div>
      <h2 className="text-md font-semibold text-ink">{t('state.no_permission')}</h2>
      <p className="mt-1.5 max-w-md text-sm text-ink-2">
        {roles.length > 0
          ? t('state.needs_role', { roles: roles.map((r) => tMaybe(`role.${r.name}`, r.name)).join(', ') })
          : t('state.needs_other_role')}
      </p>
      {permission && <code className="mt-2 font-mono text-xs text-ink-3">{permission}</code>}
      {helpers.length > 0 && (
        <p className="mt-4 max-w-md text-sm text-ink-2">
          {t('state.ask')}{' '}
          {helpers.map((m, i) => (
            <span key={m.user_id}>
              {i > 0 && ', '}
              <a className="link" href={`mailto:${m.email}`}>
                {m.name}
              </a>
            </span>
          ))}
        </p>
      )}
    </div>
  );
}

/** Loading, failure and success of one query. Data that is there stays there when a refresh fails, and says how old it is. */
export function QueryView<T>(props: {
  query: UseQueryResult<T>;
  loading: ReactNode;
  children: (data: T) => ReactNode;
  isCompact?: boolean;
}) {
  const { query } = props;
  if (query.data !== undefined)
    return (
      <>
        {query.isError && <Stale since={query.dataUpdatedAt} retry={() => void query.refetch()} />}
        {props.children(query.data)}
      </>
    );
  if (query.isError)
    return (
      <ErrorState
        error={query.error}
        retry={() => void query.refetch()}
        {...(props.isCompact === undefined ? {} : { isCompact: props.isCompact })}
      />
    );
  return props.loading;
}

export function Stale({ since, retry }: { since: number; retry: () => void }) {
  return (
    <div className="mb-3 flex flex-wrap items-center gap-2 rounded-md bg-warn-soft px-3 py-1.5 text-xs text-ink">
      <TriangleAlert aria-hidden className="size-3.5 text-warn" />
      {t('state.stale', { time: new Date(since).toLocaleTimeString() })}
      <button type="button" className="link ms-auto min-h-6" onClick={retry}>
        {t('state.retry')}
      </button>
    </div>
  );
}
