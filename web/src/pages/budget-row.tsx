import clsx from 'clsx';
import { Lock, Waves } from 'lucide-react';
import type { ReactNode } from 'react';
import type { Budget } from '@/api/types';
import { money, percent } from '@/lib/format';
import { t } from '@/lib/i18n';
import { Meter } from '@/ui/meter';
import { Money, Time } from '@/ui/values';

export function budgetName(budget: Budget): string {
  return budget.scope === 'workspace' ? t('budget.workspace') : (budget.scope_name ?? budget.scope_id ?? '');
}

/** The percents at which somebody is told. */
export function alertsOf(budget: Budget): number[] {
  return Array.isArray(budget.alerts_at) ? budget.alerts_at.filter((mark) => typeof mark === 'number') : [];
}

/** One budget: how much of what, how it ends, when it begins again. */
export function BudgetRow({
  budget,
  actions,
  isShort,
}: {
  budget: Budget;
  actions?: ReactNode;
  isShort?: boolean;
}) {
  const part =
    budget.limit_nanousd > 0 ? (budget.spent_nanousd + budget.reserved_nanousd) / budget.limit_nanousd : 0;
  const Kind = budget.is_hard ? Lock : Waves;
  return (
    <div className={clsx(isShort ? 'py-3' : 'px-4 py-4 sm:px-5')}>
      <div className="mb-2 flex flex-wrap items-baseline gap-x-3 gap-y-1">
        <span className="min-w-0 truncate text-base font-medium">{budgetName(budget)}</span>
        <span className="flex items-center gap-1 text-xs text-ink-3">
          {!isShort && t(`budget.scope_${budget.scope}`)}
          {!isShort && ' · '}
          <Kind aria-hidden className="size-3" />
          {t(budget.is_hard ? 'budget.hard' : 'budget.soft')}
        </span>
        <span className={clsx('nums text-sm', isShort ? 'w-full' : 'ms-auto')}>
          <span className={clsx('font-semibold', part >= 1 && 'text-bad')}>
            <Money nanousd={budget.spent_nanousd} />
          </span>
          <span className="text-ink-3">
            {' '}
            / {money(budget.limit_nanousd)} {t(`period.${budget.period}`)}
          </span>
        </span>
        {actions}
      </div>
      <Meter
        value={budget.spent_nanousd + budget.reserved_nanousd}
        max={budget.limit_nanousd}
        marks={alertsOf(budget)}
        label={t('budget.meter', { name: budgetName(budget) })}
        text={t('budget.left', { left: money(budget.left_nanousd) })}
      />
      <div className="nums mt-1.5 flex flex-wrap gap-x-4 text-xs text-ink-3">
        <span>
          {t('budget.left', { left: money(Math.max(0, budget.left_nanousd)) })} (
          {percent(Math.max(0, 1 - part))})
        </span>
        {!isShort && budget.reserved_nanousd > 0 && (
          <span>{t('budget.reserved', { reserved: money(budget.reserved_nanousd) })}</span>
        )}
        <span className="ms-auto">
          {budget.resets_at ? (
            <>
              {t('budget.resets')} <Time iso={budget.resets_at} />
            </>
          ) : (
            t('budget.never_resets')
          )}
        </span>
      </div>
    </div>
  );
}
