import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { ListChecks } from 'lucide-react';
import { cancelJob, jobsQuery } from '@/api/queries';
import type { Job } from '@/api/types';
import { duration } from '@/lib/format';
import { t, tMaybe } from '@/lib/i18n';
import { Badge, type Tone } from '@/ui/badge';
import { Button } from '@/ui/button';
import { Select } from '@/ui/field';
import { Progress } from '@/ui/meter';
import { Page } from '@/ui/page';
import { Empty, ErrorState, SkeletonRows } from '@/ui/states';
import { Table } from '@/ui/table';
import { toast } from '@/ui/toast';
import { Time } from '@/ui/values';

const STATES = ['queued', 'running', 'succeeded', 'failed', 'cancelled'] as const;
const TONES: Record<Job['state'], Tone> = {
  queued: 'plain',
  running: 'copper',
  succeeded: 'good',
  failed: 'bad',
  cancelled: 'warn',
};

/** How long it will take still, from how long it took so far. */
export function restOf(job: Pick<Job, 'progress' | 'started_at'>, now = Date.now()): number | null {
  const { progress } = job;
  if (!job.started_at || progress.done <= 0 || progress.total <= progress.done) return null;
  const spent = now - new Date(job.started_at).getTime();
  return (spent / progress.done) * (progress.total - progress.done);
}

function State({ job }: { job: Job }) {
  const rest = restOf(job);
  return (
    <div className="min-w-52 py-2">
      <div className="flex items-center gap-2">
        <Badge tone={TONES[job.state]} isLive={job.state === 'running'}>
          {t(`job.${job.state}`)}
        </Badge>
        {job.progress.phase && job.state === 'running' && (
          <span className="truncate text-xs text-ink-2">{job.progress.phase}</span>
        )}
      </div>
      {job.state === 'running' && (
        <div className="mt-2">
          <Progress
            label={t('job.progress_of', { kind: job.kind })}
            done={job.progress.done}
            total={job.progress.total}
            isRunning
          />
          {job.progress.total > 0 && (
            <div className="nums mt-1 flex justify-between text-2xs text-ink-3">
              <span>{t('job.of', { done: job.progress.done, total: job.progress.total })}</span>
              {rest !== null && <span>{t('job.rest', { time: duration(Math.max(1000, rest)) })}</span>}
            </div>
          )}
        </div>
      )}
      {job.error && <p className="mt-1 max-w-md text-xs text-bad [overflow-wrap:anywhere]">{job.error}</p>}
    </div>
  );
}

export default function Jobs() {
  const { state } = useSearch({ strict: false }) as { state?: string };
  const navigate = useNavigate();
  const client = useQueryClient();
  const query = useInfiniteQuery(jobsQuery(STATES.find((one) => one === state)));
  const jobs = query.data?.pages.flatMap((page) => page.items) ?? [];
  const cancel = useMutation({
    mutationFn: (job: Job) => cancelJob(job.id),
    onSuccess: () => toast({ tone: 'good', title: t('job.cancel_asked') }),
    onError: (error) => toast({ tone: 'bad', title: error.message }),
    onSettled: () => client.invalidateQueries({ queryKey: ['job'] }),
  });
  const setState = (next: string) =>
    void navigate({ to: '/jobs', search: next ? { state: next } : {}, replace: true } as never);
  return (
    <Page
      title={t('nav.jobs')}
      intro={t('job.intro')}
      actions={
        <Select
          className="input-sm w-auto"
          aria-label={t('job.state')}
          value={state ?? ''}
          options={[
            { value: '', label: t('job.all_states') },
            ...STATES.map((one) => ({ value: one, label: t(`job.${one}`) })),
          ]}
          onChange={(e) => setState(e.target.value)}
        />
      }
    >
      <div className="card overflow-hidden">
        {query.isError && !query.data ? (
          <ErrorState error={query.error} retry={() => void query.refetch()} />
        ) : !query.data ? (
          <SkeletonRows />
        ) : jobs.length === 0 ? (
          <Empty
            icon={ListChecks}
            title={t(state ? 'job.filtered_empty' : 'job.empty')}
            action={state && <Button onClick={() => setState('')}>{t('filter.clear')}</Button>}
          >
            {state ? null : t('job.empty_hint')}
          </Empty>
        ) : (
          <Table
            label={t('nav.jobs')}
            rows={jobs}
            keyOf={(job) => job.id}
            more={
              query.hasNextPage
                ? { isLoading: query.isFetchingNextPage, load: () => void query.fetchNextPage() }
                : undefined
            }
            columns={[
              {
                id: 'kind',
                header: t('job.kind'),
                cell: (job) => (
                  <span>
                    <span className="block font-medium">{tMaybe(`job.kind_${job.kind}`, job.kind)}</span>
                    <span className="font-mono text-2xs text-ink-3">{job.id.slice(-12)}</span>
                  </span>
                ),
              },
              { id: 'state', header: t('job.state'), cell: (job) => <State job={job} /> },
              { id: 'created', header: t('job.created'), cell: (job) => <Time iso={job.created_at} /> },
              {
                id: 'took',
                header: t('job.took'),
                align: 'right',
                cell: (job) =>
                  job.started_at && job.finished_at
                    ? duration(new Date(job.finished_at).getTime() - new Date(job.started_at).getTime())
                    : '–',
              },
              { id: 'tries', header: t('job.tries'), align: 'right', cell: (job) => job.tries },
              {
                id: 'cancel',
                header: t('table.actions'),
                align: 'right',
                cell: (job) =>
                  job.state === 'queued' || job.state === 'running' ? (
                    <Button
                      size="sm"
                      isBusy={cancel.isPending && cancel.variables.id === job.id}
                      onClick={() => cancel.mutate(job)}
                    >
                      {t('action.cancel')}
                    </Button>
                  ) : null,
              },
            ]}
          />
        )}
      </div>
    </Page>
  );
}
