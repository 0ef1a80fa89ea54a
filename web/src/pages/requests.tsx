import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, Outlet, useNavigate, useSearch } from '@tanstack/react-router';
import clsx from 'clsx';
import { Activity, ArrowUp, Download, FilterX, Search, X } from 'lucide-react';
import { useDeferredValue, useEffect, useMemo, useRef, useState } from 'react';
import { apiUrl, credentials } from '@/api/client';
import { onLive } from '@/api/live';
import { type CallFilter, callsQuery, usageQuery } from '@/api/queries';
import type { Call, CallOutcome } from '@/api/types';
import type { CallSearch } from '@/app/router';
import { useMay } from '@/app/session';
import { duration, NONE } from '@/lib/format';
import { t, tMaybe } from '@/lib/i18n';
import { Badge, type Tone } from '@/ui/badge';
import { Button } from '@/ui/button';
import { Input, Select } from '@/ui/field';
import { Page } from '@/ui/page';
import { Empty, ErrorState, NoPermission, SkeletonRows } from '@/ui/states';
import { type Column, Table } from '@/ui/table';
import { toast } from '@/ui/toast';
import { Count, Duration, Money, Time } from '@/ui/values';

type Ended = Pick<Call, 'outcome' | 'status'>;

/** The answer came whole, and it was one. A provider's own error that came whole is none. */
export function isGood(call: Ended): boolean {
  return call.outcome === 'completed' && (call.status ?? 0) < 400;
}

export function outcomeTone(call: Ended): Tone {
  if (isGood(call)) return 'good';
  if (call.outcome === 'cancelled') return 'warn';
  if (call.status === 402 || call.status === 429) return 'copper';
  return 'bad';
}

export function outcomeText(call: Ended): string {
  if (isGood(call)) return t('outcome.completed');
  const text =
    call.outcome === 'completed' ? t('outcome.error') : tMaybe(`outcome.${call.outcome}`, call.outcome);
  return call.status === null || call.status < 400 ? text : `${text} ${call.status}`;
}

/** How a call ended. What went well is quiet, so that the rest stands out. */
export function Outcome({ call }: { call: Ended }) {
  if (!isGood(call)) return <Badge tone={outcomeTone(call)}>{outcomeText(call)}</Badge>;
  return (
    <span className="inline-flex items-center gap-2 px-2 text-xs text-ink-2">
      <span aria-hidden className="size-1.5 rounded-full bg-good" />
      {outcomeText(call)}
    </span>
  );
}

const OUTCOMES: CallOutcome[] = ['completed', 'cancelled', 'cut', 'upstream_failed', 'refused'];
const RANGES = ['1h', '24h', '7d', '30d'] as const;
const HOURS: Record<string, number> = { '1h': 1, '24h': 24, '7d': 168, '30d': 720 };

/** The API's filter of an address. `since` is a range that ends now, to the minute, so that the same view is asked for once. */
export function toFilter(search: CallSearch & { project?: string }): CallFilter {
  const {
    since,
    project,
    outcome,
    ws: _ws,
    ...rest
  } = search as CallSearch & { project?: string; ws?: string };
  const known = OUTCOMES.find((one) => one === outcome);
  const hours = since ? HOURS[since] : undefined;
  return {
    ...rest,
    ...(project ? { project } : {}),
    ...(known ? { outcome: known } : {}),
    ...(hours
      ? { since: new Date(Math.floor(Date.now() / 60_000) * 60_000 - hours * 3_600_000).toISOString() }
      : {}),
  };
}

const columns: () => Column<Call>[] = () => [
  {
    id: 'time',
    header: t('call.time'),
    cell: (call) => (
      <Link
        to="/requests/$id"
        params={{ id: call.id }}
        search={(old: Record<string, unknown>) => old as never}
        data-row-link
        className="inline-flex min-h-6 items-center font-medium text-ink"
      >
        <Time iso={call.started_at} as="clock" />
      </Link>
    ),
  },
  {
    id: 'outcome',
    header: t('call.outcome'),
    cell: (call) => <Outcome call={call} />,
  },
  {
    id: 'model',
    header: t('call.model'),
    className: 'max-w-64',
    cell: (call) => (
      <span className="block truncate" title={`${call.provider ?? NONE} / ${call.model ?? NONE}`}>
        <span className="text-ink">{call.model ?? call.model_asked ?? NONE}</span>
        {call.provider && <span className="text-ink-3"> · {call.provider}</span>}
      </span>
    ),
  },
  {
    id: 'key',
    header: t('call.key'),
    className: 'max-w-40',
    cell: (call) => <span className="block truncate">{call.key_name ?? NONE}</span>,
  },
  {
    id: 'input',
    header: t('call.input'),
    align: 'right',
    cell: (call) => <Count value={call.tokens.input} />,
    isWideOnly: true,
  },
  {
    id: 'cached',
    header: t('call.cached'),
    align: 'right',
    cell: (call) => <Count value={call.tokens.cache_read} />,
    isWideOnly: true,
  },
  {
    id: 'output',
    header: t('call.output'),
    align: 'right',
    cell: (call) => <Count value={call.tokens.output} />,
  },
  {
    id: 'duration',
    header: t('call.duration'),
    align: 'right',
    cell: (call) => <Duration ms={call.timing.total_us / 1000} />,
  },
  {
    id: 'cost',
    header: t('call.cost'),
    align: 'right',
    cell: (call) => <Money nanousd={call.cost_nanousd} />,
  },
];

const PULSE = 96;
const msOf = (call: Call) => call.timing.total_us / 1000;

/** The last calls as a pulse: height is how long they took (its root), colour and shape how they ended. */
function Pulse({ calls }: { calls: Call[] }) {
  const last = calls.slice(0, PULSE).reverse();
  const failed = last.filter((call) => !isGood(call)).length;
  const slowest = Math.max(0.001, ...last.map(msOf));
  return (
    <div className="hidden items-end gap-6 border-b border-line px-4 pt-3 pb-0 md:flex">
      <div
        role="img"
        aria-label={t('call.pulse', { n: last.length, failed, slowest: duration(slowest) })}
        className="flex h-11 min-w-0 flex-1 items-end justify-end gap-[2px] overflow-hidden"
      >
        {last.map((call) => (
          <span
            key={call.id}
            title={`${call.model ?? ''} ${duration(msOf(call))}`}
            className={clsx(
              'max-w-3 min-w-[3px] flex-1 rounded-t-[2px]',
              isGood(call)
                ? 'bg-[var(--series-1)]'
                : call.outcome === 'cancelled'
                  ? 'bg-warn-fill'
                  : 'bg-bad',
            )}
            style={{ height: `${Math.max(8, Math.sqrt(msOf(call) / slowest) * 100)}%` }}
          />
        ))}
      </div>
      <dl className="flex flex-none gap-5 pb-3 text-xs">
        <div>
          <dt className="text-ink-3">{t('call.last', { n: last.length })}</dt>
          <dd className="nums text-sm font-medium">
            <Money nanousd={last.reduce((sum, call) => sum + (call.cost_nanousd ?? 0), 0)} />
          </dd>
        </div>
        <div>
          <dt className="text-ink-3">{t('call.not_completed')}</dt>
          <dd className={clsx('nums text-sm font-medium', failed > 0 && 'text-bad')}>{failed}</dd>
        </div>
        <div>
          <dt className="text-ink-3">{t('call.slowest')}</dt>
          <dd className="nums text-sm font-medium">{duration(slowest)}</dd>
        </div>
      </dl>
    </div>
  );
}

function matches(call: Partial<Call>, search: CallSearch & { project?: string }): boolean {
  return (
    (!search.model || call.model === search.model || call.model_asked === search.model) &&
    (!search.provider || call.provider === search.provider) &&
    (!search.key_id || call.key_id === search.key_id) &&
    (!search.outcome || call.outcome === search.outcome) &&
    (!search.session || call.session === search.session) &&
    (!search.project || call.project_id === search.project)
  );
}

export default function Requests() {
  const may = useMay('analytics.view');
  return may ? (
    <List />
  ) : (
    <Page title={t('nav.requests')}>
      <NoPermission permission="analytics.view" />
    </Page>
  );
}

function List() {
  const search = useSearch({ strict: false }) as CallSearch & { project?: string };
  const navigate = useNavigate();
  const client = useQueryClient();
  const filter = useMemo(() => toFilter(search), [search]);
  const query = useInfiniteQuery(callsQuery(filter));
  const calls = useMemo(() => query.data?.pages.flatMap((page) => page.items) ?? [], [query.data]);
  const [fresh, setFresh] = useState<ReadonlySet<string>>(new Set());
  const [waiting, setWaiting] = useState(0);
  const known = useRef(new Set<string>());
  known.current = new Set(calls.map((call) => call.id));

  // New calls announce themselves instead of moving what is being read.
  useEffect(
    () =>
      onLive(({ type, data }) => {
        const call = data as Partial<Call>;
        if (type === 'call.finished' && call.id && !known.current.has(call.id) && matches(call, search))
          setWaiting((n) => n + 1);
      }),
    [search],
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: another view starts without news
  useEffect(() => setWaiting(0), [filter]);

  async function showNew() {
    const before = known.current;
    setWaiting(0);
    const key = callsQuery(filter).queryKey;
    client.setQueryData(
      key,
      (old) => old && { pages: old.pages.slice(0, 1), pageParams: old.pageParams.slice(0, 1) },
    );
    await query.refetch();
    const pages = client.getQueryData(key)?.pages ?? [];
    setFresh(new Set(pages.flatMap((p) => p.items.map((c) => c.id)).filter((id) => !before.has(id))));
  }
  // Nothing on the page yet: what comes is shown at once.
  const isEmpty = query.isSuccess && calls.length === 0;
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs when a call arrives
  useEffect(() => {
    if (isEmpty && waiting > 0) void showNew();
  }, [isEmpty, waiting]);

  const setSearch = (change: Partial<CallSearch>) =>
    void navigate({
      to: '/requests',
      replace: true,
      search: (old: Record<string, unknown>) =>
        Object.fromEntries(
          Object.entries({ ...old, ...change }).filter(([, v]) => v !== '' && v !== undefined),
        ),
    } as never);
  const { project: _project, ...own } = search;
  const isFiltered = Object.keys(own).some((k) => k !== 'ws');
  const clear = () =>
    setSearch({ model: '', provider: '', key_id: '', outcome: '', session: '', text: '', since: '' });

  return (
    <Page
      title={t('nav.requests')}
      intro={t('call.intro')}
      width="full"
      isTall
      actions={
        <Button
          icon={Download}
          onClick={async () => {
            const answer = await fetch(apiUrl('/api/gateway/requests', { ...filter, limit: 200 }), {
              headers: { Accept: 'text/csv', 'X-Catalyst-Workspace': credentials.workspace },
            }).catch(() => null);
            if (!answer?.ok) {
              toast({ tone: 'bad', title: t('call.csv_failed') });
              return;
            }
            const link = document.createElement('a');
            link.href = URL.createObjectURL(await answer.blob());
            link.download = 'requests.csv';
            link.click();
            URL.revokeObjectURL(link.href);
          }}
        >
          {t('call.csv')}
        </Button>
      }
    >
      <Filters search={search} setSearch={setSearch} isFiltered={isFiltered} clear={clear} />
      <div className="card relative flex min-h-0 flex-1 flex-col overflow-hidden">
        <div
          aria-live="polite"
          className="pointer-events-none absolute inset-x-0 top-2 z-10 flex justify-center"
        >
          {waiting > 0 && (
            <button
              type="button"
              onClick={() => void showNew()}
              className="dialog-in pointer-events-auto flex h-8 items-center gap-1.5 rounded-full bg-copper px-3.5 text-sm font-medium text-[var(--surface)] shadow-2"
            >
              <ArrowUp aria-hidden className="size-3.5" />
              {t('call.new', { n: waiting })}
            </button>
          )}
        </div>
        {query.isError && !query.data ? (
          <ErrorState error={query.error} retry={() => void query.refetch()} />
        ) : !query.data ? (
          <SkeletonRows rows={10} columns={7} />
        ) : calls.length === 0 ? (
          isFiltered || search.project ? (
            <Empty
              icon={FilterX}
              title={t('call.filtered_empty')}
              action={
                <Button variant="primary" onClick={clear}>
                  {t('filter.clear')}
                </Button>
              }
            >
              {t('call.filtered_empty_hint')}
            </Empty>
          ) : (
            <Empty
              icon={Activity}
              title={t('call.empty')}
              action={
                <Link to="/" className="btn btn-primary">
                  {t('call.empty_action')}
                </Link>
              }
            >
              {t('call.empty_hint')}
            </Empty>
          )
        ) : (
          <>
            <Pulse calls={calls} />
            <Table
              label={t('nav.requests')}
              columns={columns()}
              rows={calls}
              keyOf={(call) => call.id}
              isFresh={(call) => fresh.has(call.id)}
              isTall
              more={
                query.hasNextPage
                  ? { isLoading: query.isFetchingNextPage, load: () => void query.fetchNextPage() }
                  : undefined
              }
            />
          </>
        )}
      </div>
      <Outlet />
    </Page>
  );
}

function Filters(props: {
  search: CallSearch;
  setSearch: (change: Partial<CallSearch>) => void;
  isFiltered: boolean;
  clear: () => void;
}) {
  const { search, setSearch } = props;
  const [text, setText] = useState(search.text ?? '');
  const deferred = useDeferredValue(text);
  const set = useRef(setSearch);
  set.current = setSearch;
  useEffect(() => setText(search.text ?? ''), [search.text]);
  useEffect(() => {
    const timer = setTimeout(() => deferred !== (search.text ?? '') && set.current({ text: deferred }), 250);
    return () => clearTimeout(timer);
  }, [deferred, search.text]);
  // What there is to choose from is what was used in the last 30 days.
  const since = useMemo(
    () => new Date(Math.floor(Date.now() / 86_400_000) * 86_400_000 - 30 * 86_400_000).toISOString(),
    [],
  );
  const models = useQuery(usageQuery('model', since));
  const providers = useQuery(usageQuery('provider', since));
  const choices = (used: { items: { group: string }[] } | undefined, all: string, chosen?: string) => [
    { value: '', label: all },
    ...[...new Set([...(used?.items.map((row) => row.group) ?? []), ...(chosen ? [chosen] : [])])].map(
      (group) => ({
        value: group,
        label: group,
      }),
    ),
  ];
  return (
    <search className="mb-3 flex flex-wrap items-center gap-2" aria-label={t('filter.label')}>
      <div className="relative min-w-48 flex-1 sm:max-w-72">
        <Search
          aria-hidden
          className="pointer-events-none absolute top-2 start-2.5 size-4 text-ink-3"
          strokeWidth={1.75}
        />
        <Input
          type="search"
          className="input-sm ps-8"
          data-page-search
          aria-label={t('filter.text')}
          placeholder={t('filter.text')}
          value={text}
          onChange={(e) => setText(e.target.value)}
        />
      </div>
      <Select
        className="input-sm w-auto max-w-44"
        aria-label={t('call.model')}
        value={search.model ?? ''}
        options={choices(models.data, t('filter.all_models'), search.model)}
        onChange={(e) => setSearch({ model: e.target.value })}
      />
      <Select
        className="input-sm w-auto max-w-44"
        aria-label={t('call.provider')}
        value={search.provider ?? ''}
        options={choices(providers.data, t('filter.all_providers'), search.provider)}
        onChange={(e) => setSearch({ provider: e.target.value })}
      />
      <Select
        className="input-sm w-auto"
        aria-label={t('call.outcome')}
        value={search.outcome ?? ''}
        options={[
          { value: '', label: t('filter.all_outcomes') },
          ...OUTCOMES.map((outcome) => ({ value: outcome, label: tMaybe(`outcome.${outcome}`, outcome) })),
        ]}
        onChange={(e) => setSearch({ outcome: e.target.value })}
      />
      <Select
        className="input-sm w-auto"
        aria-label={t('filter.since')}
        value={search.since ?? ''}
        options={[
          { value: '', label: t('filter.any_time') },
          ...RANGES.map((range) => ({ value: range, label: t(`filter.${range}`) })),
        ]}
        onChange={(e) => setSearch({ since: e.target.value })}
      />
      {search.session && (
        <span className="inline-flex h-8 max-w-64 items-center gap-1 rounded-full bg-accent-soft pe-1 ps-3 text-xs text-accent">
          <span className="truncate">
            {t('call.session')}: {search.session}
          </span>
          <button
            type="button"
            className="grid size-6 place-items-center rounded-full hover:bg-hover"
            aria-label={t('filter.remove')}
            onClick={() => setSearch({ session: '' })}
          >
            <X aria-hidden className="size-3.5" />
          </button>
        </span>
      )}
      {props.isFiltered && (
        <Button size="sm" variant="ghost" icon={FilterX} onClick={props.clear}>
          {t('filter.clear')}
        </Button>
      )}
    </search>
  );
}
