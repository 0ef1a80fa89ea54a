import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import clsx from 'clsx';
import type { ReactNode } from 'react';
import { callQuery } from '@/api/queries';
import type { Call, List } from '@/api/types';
import { bytes, duration, number, percent } from '@/lib/format';
import { type MessageId, t } from '@/lib/i18n';
import { Badge, Chip } from '@/ui/badge';
import { SERIES } from '@/ui/chart';
import { Copy } from '@/ui/copy';
import { Drawer } from '@/ui/dialog';
import { Note, QueryView, SkeletonRows } from '@/ui/states';
import { Count, Duration, Money, Time } from '@/ui/values';
import { outcomeText, outcomeTone } from './requests';

interface Step {
  label: MessageId;
  from: number;
  to: number;
  className: string;
}

/** The stretches of a call out of the moments that were noted, µs since it arrived. A moment that never came has none. */
export function stepsOf(timing: Call['timing']): Step[] {
  const marks: [MessageId, number | null, string][] = [
    ['timing.connect', timing.connect_us, 'bg-[var(--series-4)]'],
    ['timing.send', timing.sent_us, 'bg-[var(--series-3)]'],
    ['timing.wait', timing.head_us, 'bg-[var(--series-2)]'],
    ['timing.first', timing.first_us, 'bg-[var(--series-5)]'],
    ['timing.stream', timing.total_us, 'bg-[var(--series-1)]'],
  ];
  const steps: Step[] = [];
  let from = 0;
  for (const [label, to, className] of marks) {
    if (to === null || to < from) continue;
    if (to > from) steps.push({ label, from, to, className });
    from = to;
  }
  return steps;
}

function Waterfall({ call }: { call: Call }) {
  const steps = stepsOf(call.timing);
  const total = Math.max(1, call.timing.total_us);
  return (
    <ol className="flex flex-col gap-2">
      {steps.map((step) => (
        <li key={step.label} className="grid grid-cols-[8.5rem_1fr_4.5rem] items-center gap-3 text-xs">
          <span className="truncate text-ink-2">{t(step.label)}</span>
          <span className="relative h-3.5 rounded-sm bg-hover">
            <span
              aria-hidden
              className={clsx('absolute inset-y-0 min-w-[3px] rounded-sm', step.className)}
              style={{
                insetInlineStart: `${(step.from / total) * 100}%`,
                width: `${((step.to - step.from) / total) * 100}%`,
              }}
            />
          </span>
          <span className="nums text-end text-ink">{duration((step.to - step.from) / 1000)}</span>
        </li>
      ))}
      <li className="grid grid-cols-[8.5rem_1fr_4.5rem] items-center gap-3 border-t border-line pt-2 text-xs font-medium">
        <span>{t('timing.total')}</span>
        <span />
        <span className="nums text-end">{duration(total / 1000)}</span>
      </li>
    </ol>
  );
}

function Tokens({ call }: { call: Call }) {
  const kinds: [MessageId, number, number][] = [
    ['tokens.input', call.tokens.input, 3],
    ['tokens.cache_read', call.tokens.cache_read, 4],
    ['tokens.cache_write', call.tokens.cache_write + call.tokens.cache_write_1h, 5],
    ['tokens.output', call.tokens.output, 1],
  ];
  const shown = kinds.filter(([, n]) => n > 0);
  const total = Math.max(1, call.tokens.total);
  return (
    <div>
      <div aria-hidden className="mb-3 flex h-2.5 gap-0.5 overflow-hidden rounded-full bg-hover">
        {shown.map(([label, n, colour]) => (
          <span key={label} className={SERIES[colour]} style={{ width: `${(n / total) * 100}%` }} />
        ))}
      </div>
      <table className="w-full text-sm">
        <tbody>
          {shown.map(([label, n, colour]) => (
            <tr key={label} className="border-b border-line last:border-0">
              <th scope="row" className="py-1.5 text-start font-normal text-ink-2">
                <span
                  aria-hidden
                  className={clsx('me-2 inline-block size-2 rounded-[2px]', SERIES[colour])}
                />
                {t(label)}
                {label === 'tokens.output' && call.tokens.reasoning > 0 && (
                  <span className="text-ink-3">
                    {' '}
                    · {t('tokens.reasoning', { n: number(call.tokens.reasoning) })}
                  </span>
                )}
              </th>
              <td className="nums py-1.5 text-end">{number(n)}</td>
              <td className="nums w-14 py-1.5 text-end text-ink-3">{percent(n / total)}</td>
            </tr>
          ))}
          <tr>
            <th scope="row" className="py-1.5 text-start font-medium">
              {t('tokens.total')}
            </th>
            <td className="nums py-1.5 text-end font-medium">{number(call.tokens.total)}</td>
            <td />
          </tr>
        </tbody>
      </table>
      {call.is_estimated && <p className="mt-2 text-xs text-ink-3">{t('tokens.estimated')}</p>}
    </div>
  );
}

function Block({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="mt-7">
      <h3 className="eyebrow mb-3">{title}</h3>
      {children}
    </section>
  );
}

function Fact({ label, children }: { label: string; children: ReactNode }) {
  return (
    <>
      <dt className="text-ink-3">{label}</dt>
      <dd className="min-w-0 [overflow-wrap:anywhere]">{children}</dd>
    </>
  );
}

function Detail({ call }: { call: Call }) {
  return (
    <>
      <dl className="grid grid-cols-2 gap-px overflow-hidden rounded-lg border border-line bg-line sm:grid-cols-4">
        {(
          [
            ['call.cost', <Money key="c" nanousd={call.cost_nanousd} />],
            ['call.tokens', <Count key="t" value={call.tokens.total} />],
            ['call.duration', <Duration key="d" ms={call.timing.total_us / 1000} />],
            ['call.time', <Time key="w" iso={call.started_at} as="clock" />],
          ] as [MessageId, ReactNode][]
        ).map(([label, value]) => (
          <div key={label} className="bg-surface px-3.5 py-3">
            <dt className="text-xs text-ink-3">{t(label)}</dt>
            <dd className="mt-0.5 text-md font-semibold">{value}</dd>
          </div>
        ))}
      </dl>
      {call.error && (
        <Note tone="bad" title={t('call.error')} className="mt-5">
          {call.error}
        </Note>
      )}
      <Block title={t('call.timing')}>
        <Waterfall call={call} />
      </Block>
      <Block title={t('call.tokens')}>
        <Tokens call={call} />
      </Block>
      <Block title={t('call.labels')}>
        <dl className="grid grid-cols-[8.5rem_1fr] gap-x-3 gap-y-2 text-sm">
          <Fact label={t('call.provider')}>{call.provider ?? t('call.none_reached')}</Fact>
          <Fact label={t('call.model')}>
            {call.model ?? '–'}
            {call.model_asked && call.model_asked !== call.model && (
              <span className="text-ink-3"> · {t('call.asked', { model: call.model_asked })}</span>
            )}
          </Fact>
          <Fact label={t('call.dialect')}>
            {call.dialect} · {t(call.is_streamed ? 'call.streamed' : 'call.whole')}
          </Fact>
          <Fact label={t('call.key')}>{call.key_name ?? '–'}</Fact>
          {call.project && <Fact label={t('call.project')}>{call.project}</Fact>}
          {call.user && <Fact label={t('call.user')}>{call.user}</Fact>}
          {call.task && <Fact label={t('call.task')}>{call.task}</Fact>}
          {call.session && (
            <Fact label={t('call.session')}>
              <Link to="/requests" search={{ session: call.session }} className="link font-mono text-xs">
                {call.session}
              </Link>
            </Fact>
          )}
          {call.tags.length > 0 && (
            <Fact label={t('call.tags')}>
              <span className="flex flex-wrap gap-1">
                {call.tags.map((tag) => (
                  <Chip key={tag}>{tag}</Chip>
                ))}
              </span>
            </Fact>
          )}
          <Fact label={t('call.bytes')}>
            {t('call.bytes_of', { in: bytes(call.bytes_in), out: bytes(call.bytes_out) })}
          </Fact>
          {call.trace_id && (
            <Fact label={t('call.trace')}>
              <span className="font-mono text-xs">{call.trace_id}</span>
            </Fact>
          )}
          <Fact label={t('call.id')}>
            <span className="flex items-center gap-1">
              <span className="font-mono text-xs">{call.id}</span>
              <Copy text={call.id} label={t('copy.copy')} />
            </span>
          </Fact>
        </dl>
      </Block>
    </>
  );
}

/** One call, beside the list that it is in. */
export default function Request() {
  const { id } = useParams({ strict: false }) as { id: string };
  const client = useQueryClient();
  const navigate = useNavigate();
  const query = useQuery({
    ...callQuery(id),
    // The list has it already: no second request before something is seen.
    placeholderData: () =>
      client
        .getQueriesData<{ pages: List<Call>[] }>({ queryKey: ['call', 'list'] })
        .flatMap(([, data]) => data?.pages.flatMap((page) => page.items) ?? [])
        .find((call) => call.id === id),
  });
  const call = query.data;
  return (
    <Drawer
      isOpen
      onClose={() =>
        void navigate({ to: '/requests', search: (old: Record<string, unknown>) => old } as never)
      }
      title={call?.model ?? call?.model_asked ?? t('call.one')}
      description={
        call && (
          <span className="flex flex-wrap items-center gap-2">
            <Badge tone={outcomeTone(call)}>{outcomeText(call)}</Badge>
            {call.provider && <span>{call.provider}</span>}
          </span>
        )
      }
    >
      <QueryView query={query} loading={<SkeletonRows rows={6} columns={2} />}>
        {(data) => <Detail call={data} />}
      </QueryView>
    </Drawer>
  );
}
