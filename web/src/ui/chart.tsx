import clsx from 'clsx';
import { ChartNoAxesColumn, Table2 } from 'lucide-react';
import { lazy, type ReactNode, Suspense, useState } from 'react';
import { t } from '@/lib/i18n';
import { Button } from './button';

export interface ChartSeries {
  label: string;
  /** One value for each x. */
  values: number[];
  /** 1 to 5: a colour of the theme. Series also differ by their place and in the legend. */
  colour: 1 | 2 | 3 | 4 | 5;
}

export interface ChartProps {
  title: string;
  /** Starts of the buckets, ms since 1970. */
  x: number[];
  /** Stacked on each other. */
  series: ChartSeries[];
  format: (value: number) => string;
  formatX: (x: number) => string;
  height?: number;
  actions?: ReactNode;
}

const Plot = lazy(() => import('./plot'));

export const SERIES = [
  '',
  'bg-[var(--series-1)]',
  'bg-[var(--series-2)]',
  'bg-[var(--series-3)]',
  'bg-[var(--series-4)]',
  'bg-[var(--series-5)]',
];

/** Stacked columns over time, and the same numbers as a table for everybody who reads them better there. */
export function Chart(props: ChartProps) {
  const [isTable, setIsTable] = useState(false);
  const height = props.height ?? 220;
  const total = props.series.reduce((sum, s) => sum + s.values.reduce((a, b) => a + b, 0), 0);
  return (
    <figure className="m-0">
      <figcaption className="mb-3 flex flex-wrap items-center gap-x-4 gap-y-1">
        <span className="text-sm font-semibold text-ink">{props.title}</span>
        {props.series.length > 1 && (
          <ul className="flex flex-wrap gap-x-3 gap-y-1 text-xs text-ink-2">
            {props.series.map((s) => (
              <li key={s.label} className="flex items-center gap-1.5">
                <span aria-hidden className={clsx('size-2 rounded-[2px]', SERIES[s.colour])} />
                {s.label}
              </li>
            ))}
          </ul>
        )}
        <span className="ms-auto flex items-center gap-1">
          {props.actions}
          <Button
            size="sm"
            variant="ghost"
            icon={isTable ? ChartNoAxesColumn : Table2}
            label={t(isTable ? 'chart.as_chart' : 'chart.as_table')}
            onClick={() => setIsTable(!isTable)}
          />
        </span>
      </figcaption>
      {isTable ? (
        <div
          className="relative overflow-auto"
          style={{ height }}
          tabIndex={0}
          role="region"
          aria-label={props.title}
        >
          <table className="w-full text-sm">
            <thead>
              <tr className="text-start text-xs text-ink-3">
                <th scope="col" className="py-1 font-medium">
                  {t('chart.when')}
                </th>
                {props.series.map((s) => (
                  <th key={s.label} scope="col" className="py-1 text-end font-medium">
                    {s.label}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {props.x.map((at, i) => (
                <tr key={at} className="border-t border-line">
                  <th scope="row" className="py-1 text-start font-normal">
                    {props.formatX(at)}
                  </th>
                  {props.series.map((s) => (
                    <td key={s.label} className="nums py-1 text-end">
                      {props.format(s.values[i] ?? 0)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <div
          role="img"
          aria-label={t('chart.summary', {
            title: props.title,
            total: props.format(total),
            n: props.x.length,
          })}
        >
          <Suspense fallback={<div style={{ height }} aria-hidden />}>
            <Plot {...props} height={height} />
          </Suspense>
        </div>
      )}
    </figure>
  );
}
