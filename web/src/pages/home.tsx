import { useInfiniteQuery } from '@tanstack/react-query';
import { callsQuery } from '@/api/queries';
import { useMay } from '@/app/session';
import { t } from '@/lib/i18n';
import { usePrefs } from '@/lib/prefs';
import { Page } from '@/ui/page';
import { ErrorState, Skeleton } from '@/ui/states';
import { Onboarding } from './onboarding';
import { Overview } from './overview';

/** Until the first call there is only one thing to do: make it possible. */
export default function Home() {
  const maySee = useMay('analytics.view');
  const mayProvide = useMay('llm.providers');
  const mayKeys = useMay('gateway.keys');
  const { onboarding } = usePrefs();
  const calls = useInfiniteQuery({ ...callsQuery({}), enabled: maySee, staleTime: 5000 });
  if (maySee && calls.isPending)
    return (
      <Page title={t('nav.home')}>
        <div
          className="grid grid-cols-1 gap-4 sm:grid-cols-2 xl:grid-cols-4"
          role="status"
          aria-label={t('state.loading')}
        >
          {[1, 2, 3, 4].map((n) => (
            <Skeleton key={n} className="h-28 rounded-lg" />
          ))}
        </div>
        <Skeleton className="mt-4 h-80 rounded-lg" />
      </Page>
    );
  if (calls.isError && !calls.data)
    return (
      <Page title={t('nav.home')}>
        <ErrorState error={calls.error} retry={() => void calls.refetch()} />
      </Page>
    );
  const first = calls.data?.pages[0]?.items ?? [];
  const isStarting = first.length === 0 && onboarding !== 'skipped' && mayProvide && mayKeys;
  return isStarting || onboarding === 'open' ? <Onboarding /> : <Overview calls={first} />;
}
