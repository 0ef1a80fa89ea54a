import { useQuery } from '@tanstack/react-query';
import { Link, useSearch } from '@tanstack/react-router';
import clsx from 'clsx';
import { Rocket } from 'lucide-react';
import { type ReactNode, useMemo, useState } from 'react';
import { budgetsQuery, usageQuery } from '@/api/queries';
import type { Call, UsageRow } from '@/api/types';
import { useMay, useSession } from '@/app/session';
import { compact, dayMonth, money, moneyExact, number, percent } from '@/lib/format';
import { t } from '@/lib/i18n';
import { setPref } from '@/lib/prefs';
import { Button } from '@/ui/button';
import { Chart } from '@/ui/chart';
import { Page, Section } from '@/ui/page';
import { Empty, NoPermission, QueryView, Skeleton, SkeletonRows } from '@/ui/states';
import { Table } from '@/ui/table';
import { Duration, Money, Time } from '@/ui/values';
import { BudgetRow } from './budget-row';
import { Outcome } from './requests';

const DAY = 86_400_000;
const DAYS = 30;
type Measure = 'cost' | 'calls' | 'tokens';

const amountOf = (row: Pick<UsageRow, 'cost_nanousd' | 'calls' | 'tokens'>, measure: Measure) =>
  measure === 'cost' ? row.cost_nanousd : measure === 'calls' ? row.calls : row.tokens.total;

/** A value for each day of the range, also those without a call. */
export function byDay(rows: UsageRow[], from: number, days: number, measure: Measure): number[] {
  const values = new Array<number>(days).fill(0);
  for (const row of rows) {
    const at = Math.round((new Date(`${row.group.slice(0, 10)}T00:00:00Z`).getTime() - from) / DAY);
    if (at >= 0 && at < days) values[at] = (values[at] as number) + amountOf(row, measure);
  }
  return values;
}

function Spark({ values, className }: { values: number[]; className: string }) {
  const max = Math.max(...values, 1e-9);
  return (
    <div aria-hidden className="flex h-9 items-end gap-[2px]">
      {values.map((value, i) => (
        <span
          // biome-ignore lint/suspicious/noArrayIndexKey: a place in a row of days
          key={i}
          className={clsx('w-full rounded-t-[1.5px]', value > 0 ? className : 'bg-line')}
          style={{ height: value > 0 ? `${Math.max(8, (value / max) * 100)}%` : '2px' }}
        />
      ))}
    </div>
  );
}

function Tile(props: {
  label: string;
  value: ReactNode;
  detail: ReactNode;
  values?: number[];
  spark?: string;
}) {
  return (
    <div className="card flex flex-col justify-between gap-3 px-4 py-3.5">
      <div className="eyebrow">{props.label}</div>
      <div className="flex items-end gap-4">
        <div className="min-w-0 flex-1">
          <div className="nums truncate text-2xl font-semibold tracking-[-0.02em]">{props.value}</div>
          <div className="mt-0.5 truncate text-xs text-ink-3">{props.detail}</div>
        </div>
        {props.values && (
          <div className="w-24 flex-none">
            <Spark values={props.values} className={props.spark ?? 'bg-[var(--series-1)]'} />
          </div>
        )}
      </div>
    </div>
  );
}

export function Overview({ calls }: { calls: Call[] }) {
  const may = useMay('analytics.view');
  const mayStart = useMay('gateway.keys');
  const { workspace } = useSession();
  return (
    <Page
      title={t('nav.home')}
      intro={t('home.intro', { workspace: workspace.name, days: DAYS })}
      actions={
        calls.length === 0 &&
        mayStart && (
          <Button icon={Rocket} onClick={() => setPref('onboarding', 'open')}>
            {t('home.resume')}
          </Button>
        )
      }
    >
      {may ? <Figures calls={calls} /> : <NoPermission permission="analytics.view" />}
    </Page>
  );
}

function Figures({ calls }: { calls: Call[] }) {
  const { project } = useSearch({ strict: false }) as { project?: string };
  const [measure, setMeasure] = useState<Measure>('cost');
  const from = useMemo(() => Math.floor(Date.now() / DAY) * DAY - (DAYS - 1) * DAY, []);
  const since = new Date(from).toISOString();
  const days = useQuery(usageQuery('day', since, project));
  const models = useQuery(usageQuery('model', since, project));
  const budgets = useQuery({ ...budgetsQuery, retry: false });
  const x = useMemo(() => Array.from({ length: DAYS }, (_, i) => from + i * DAY), [from]);
  const series = useMemo(
    () => [
      {
        label: t(`home.${measure}`),
        values: byDay(days.data?.items ?? [], from, DAYS, measure),
        colour: measure === 'cost' ? (2 as const) : measure === 'calls' ? (1 as const) : (3 as const),
      },
    ],
    [days.data, from, measure],
  );
  const format = measure === 'cost' ? money : compact;
  const total = days.data?.total;
  return (
    <>
      <QueryView
        query={days}
        isCompact
        loading={
          <div className="grid grid-cols-1 gap-4 sm:grid-cols-2 xl:grid-cols-4">
            {[1, 2, 3, 4].map((n) => (
              <Skeleton key={n} className="h-28 rounded-lg" />
            ))}
          </div>
        }
      >
        {(data) => (
          <div className="grid grid-cols-1 gap-4 sm:grid-cols-2 xl:grid-cols-4">
            <Tile
              label={t('home.cost')}
              value={
                <span title={moneyExact(data.total.cost_nanousd)}>{money(data.total.cost_nanousd)}</span>
              }
              detail={
                data.total.unknown_cost_calls > 0
                  ? t('home.unknown', { n: data.total.unknown_cost_calls })
                  : t('home.per_call', {
                      cost: money(data.total.calls > 0 ? data.total.cost_nanousd / data.total.calls : 0),
                    })
              }
              values={byDay(data.items, from, DAYS, 'cost').slice(-14)}
              spark="bg-copper-fill"
            />
            <Tile
              label={t('home.calls')}
              value={<span title={number(data.total.calls)}>{compact(data.total.calls)}</span>}
              detail={t('home.today', { n: byDay(data.items, from, DAYS, 'calls').at(-1) ?? 0 })}
              values={byDay(data.items, from, DAYS, 'calls').slice(-14)}
            />
            <Tile
              label={t('home.tokens')}
              value={<span title={number(data.total.tokens.total)}>{compact(data.total.tokens.total)}</span>}
              detail={t('home.cached', {
                part: percent(
                  data.total.tokens.total > 0 ? data.total.tokens.cache_read / data.total.tokens.total : 0,
                ),
              })}
              values={byDay(data.items, from, DAYS, 'tokens').slice(-14)}
              spark="bg-[var(--series-3)]"
            />
            <Tile
              label={t('home.completed')}
              value={percent(data.total.calls > 0 ? 1 - data.total.failed / data.total.calls : 1, 1)}
              detail={t('home.failed', { n: data.total.failed })}
            />
          </div>
        )}
      </QueryView>
      <div className="mt-4 grid grid-cols-1 gap-4 xl:grid-cols-[minmax(0,1fr)_22rem]">
        <div className="card min-w-0 p-4 sm:p-5">
          <QueryView query={days} isCompact loading={<Skeleton className="h-64" />}>
            {() => (
              <Chart
                title={t('home.by_day', {
                  what: t(`home.${measure}`),
                  total: format(total ? amountOf(total, measure) : 0),
                })}
                x={x}
                series={series}
                format={format}
                formatX={dayMonth}
                height={232}
                actions={
                  <div
                    role="group"
                    aria-label={t('home.measure')}
                    className="flex rounded-md border border-line bg-sunken p-0.5"
                  >
                    {(['cost', 'calls', 'tokens'] as const).map((one) => (
                      <button
                        key={one}
                        type="button"
                        aria-pressed={measure === one}
                        onClick={() => setMeasure(one)}
                        className="min-h-6 rounded-sm px-2 text-xs text-ink-2 aria-pressed:bg-raised aria-pressed:font-medium aria-pressed:text-ink aria-pressed:shadow-1"
                      >
                        {t(`home.${one}`)}
                      </button>
                    ))}
                  </div>
                }
              />
            )}
          </QueryView>
        </div>
        <Section title={t('home.models')} className="min-w-0">
          <QueryView query={models} isCompact loading={<SkeletonRows rows={4} columns={2} />}>
            {(data) => <Models rows={data.items} />}
          </QueryView>
        </Section>
      </div>
      <div className="mt-4 grid grid-cols-1 gap-4 xl:grid-cols-[minmax(0,1fr)_22rem]">
        <Section
          title={t('home.last')}
          className="min-w-0 overflow-hidden"
          actions={
            <Link to="/requests" className="link text-sm">
              {t('home.all_calls')}
            </Link>
          }
        >
          {calls.length === 0 ? (
            <Empty icon={Rocket} title={t('call.empty')} isCompact>
              {t('home.no_calls')}
            </Empty>
          ) : (
            <Table
              label={t('home.last')}
              rows={calls.slice(0, 8)}
              keyOf={(call) => call.id}
              columns={[
                {
                  id: 'model',
                  header: t('call.model'),
                  cell: (call) => (
                    <Link
                      to="/requests/$id"
                      params={{ id: call.id }}
                      data-row-link
                      className="inline-flex min-h-6 items-center font-medium"
                    >
                      {call.model ?? call.model_asked ?? '–'}
                    </Link>
                  ),
                },
                {
                  id: 'outcome',
                  header: t('call.outcome'),
                  cell: (call) => <Outcome call={call} />,
                },
                { id: 'key', header: t('call.key'), cell: (call) => call.key_name ?? '–' },
                { id: 'when', header: t('call.time'), cell: (call) => <Time iso={call.started_at} /> },
                {
                  id: 'took',
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
              ]}
            />
          )}
        </Section>
        <Section
          title={t('nav.budgets')}
          className="min-w-0"
          actions={
            <Link to="/settings/budgets" className="link text-sm">
              {t('home.all_budgets')}
            </Link>
          }
        >
          <QueryView query={budgets} isCompact loading={<SkeletonRows rows={2} columns={2} />}>
            {(data) =>
              data.items.length === 0 ? (
                <p className="px-5 py-6 text-sm text-ink-2">{t('home.no_budget')}</p>
              ) : (
                <ul className="divide-y divide-line px-5">
                  {data.items.slice(0, 4).map((budget) => (
                    <li key={budget.id}>
                      <BudgetRow budget={budget} isShort />
                    </li>
                  ))}
                </ul>
              )
            }
          </QueryView>
        </Section>
      </div>
    </>
  );
}

function Models({ rows }: { rows: UsageRow[] }) {
  const top = [...rows].sort((a, b) => b.cost_nanousd - a.cost_nanousd || b.calls - a.calls).slice(0, 6);
  const max = Math.max(...top.map((row) => row.cost_nanousd), 1);
  if (top.length === 0) return <p className="px-5 py-6 text-sm text-ink-2">{t('home.no_models')}</p>;
  return (
    <ol className="flex flex-col gap-3 px-5 py-4">
      {top.map((row) => (
        <li key={row.group}>
          <div className="flex items-baseline justify-between gap-3 text-sm">
            <Link to="/requests" search={{ model: row.group }} className="truncate hover:underline">
              {row.group || t('home.no_model')}
            </Link>
            <span className="nums flex-none text-xs">
              <Money nanousd={row.cost_nanousd} /> <span className="text-ink-3">· {compact(row.calls)}</span>
            </span>
          </div>
          <div aria-hidden className="mt-1 h-1.5 rounded-full bg-hover">
            <div
              className="h-full rounded-full bg-copper-fill"
              style={{ width: `${(row.cost_nanousd / max) * 100}%` }}
            />
          </div>
        </li>
      ))}
    </ol>
  );
}
