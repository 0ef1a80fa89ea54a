import { useEffect, useState } from 'react';
import {
  clock,
  compact,
  dateTime,
  duration,
  money,
  moneyExact,
  NONE,
  number,
  relative,
  utc,
} from '@/lib/format';
import { t } from '@/lib/i18n';
import { usePrefs } from '@/lib/prefs';

/** An instant: in the viewer's zone, the UTC value on hover; relative ones keep up with the clock. */
export function Time({
  iso,
  as = 'relative',
}: {
  iso: string | null | undefined;
  as?: 'relative' | 'clock' | 'full';
}) {
  usePrefs();
  const [, tick] = useState(0);
  useEffect(() => {
    if (as !== 'relative' || !iso) return;
    const isFresh = Date.now() - new Date(iso).getTime() < 3_600_000;
    const timer = setInterval(() => tick((n) => n + 1), isFresh ? 20_000 : 300_000);
    return () => clearInterval(timer);
  }, [as, iso]);
  if (!iso) return <span className="text-ink-3">{NONE}</span>;
  return (
    <time dateTime={iso} title={`${dateTime(iso)}\n${utc(iso)}`} className="nums whitespace-nowrap">
      {as === 'relative' ? relative(iso) : as === 'clock' ? clock(iso) : dateTime(iso)}
    </time>
  );
}

/** Money by its size; all places on hover. Unknown is not 0. */
export function Money({ nanousd }: { nanousd: number | null | undefined }) {
  if (nanousd === null || nanousd === undefined)
    return (
      <span className="text-ink-3" title={t('value.unknown_cost')}>
        {t('value.unknown')}
      </span>
    );
  return (
    <span className="nums whitespace-nowrap" title={moneyExact(nanousd)}>
      {money(nanousd)}
    </span>
  );
}

export function Count({ value }: { value: number }) {
  return (
    <span className="nums whitespace-nowrap" title={number(value)}>
      {compact(value)}
    </span>
  );
}

export function Duration({ ms }: { ms: number }) {
  return <span className="nums whitespace-nowrap">{duration(ms)}</span>;
}
