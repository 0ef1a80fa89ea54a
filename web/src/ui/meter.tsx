import clsx from 'clsx';
import { percent } from '@/lib/format';

/** How much of a limit is used. Marks are where somebody is told about it. */
export function Meter(props: {
  value: number;
  max: number;
  label: string;
  text: string;
  marks?: number[];
  isHard?: boolean;
  isThin?: boolean;
}) {
  const part = props.max > 0 ? Math.min(1, props.value / props.max) : 0;
  const tone = part >= 1 ? 'bg-bad' : part >= 0.8 ? 'bg-warn-fill' : 'bg-accent';
  return (
    <div
      role="meter"
      aria-label={props.label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(part * 100)}
      aria-valuetext={`${percent(part)}: ${props.text}`}
      className={clsx(
        'relative w-full overflow-hidden rounded-full bg-pressed',
        props.isThin ? 'h-1.5' : 'h-2',
      )}
    >
      <div
        className={clsx('h-full rounded-full transition-[width] duration-300', tone)}
        style={{ width: `${part * 100}%` }}
      />
      {(props.marks ?? [])
        .filter((mark) => mark > 0 && mark < 100)
        .map((mark) => (
          <span
            key={mark}
            aria-hidden
            className="absolute inset-y-0 w-px bg-surface"
            style={{ insetInlineStart: `${mark}%` }}
          />
        ))}
    </div>
  );
}

export function Progress(props: { done: number; total: number; label: string; isRunning: boolean }) {
  const isKnown = props.total > 0;
  const part = isKnown ? Math.min(1, props.done / props.total) : 0;
  return (
    <div
      role="progressbar"
      aria-label={props.label}
      aria-valuemin={0}
      aria-valuemax={100}
      {...(isKnown ? { 'aria-valuenow': Math.round(part * 100) } : {})}
      className="h-1.5 w-full overflow-hidden rounded-full bg-pressed"
    >
      <div
        className={clsx(
          'h-full rounded-full bg-accent transition-[width] duration-300',
          !isKnown && props.isRunning && 'skeleton',
        )}
        style={{ width: isKnown ? `${part * 100}%` : '100%' }}
      />
    </div>
  );
}
