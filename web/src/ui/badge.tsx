import clsx from 'clsx';
import type { ReactNode } from 'react';

export type Tone = 'good' | 'bad' | 'warn' | 'copper' | 'accent' | 'plain';

const DOTS: Record<Tone, string> = {
  good: 'bg-good',
  bad: 'bg-bad',
  warn: 'bg-warn',
  copper: 'bg-copper',
  accent: 'bg-accent',
  plain: 'bg-ink-3',
};

/** A state in one word. The dot only repeats what the word says. */
export function Badge({
  tone = 'plain',
  children,
  isLive,
}: {
  tone?: Tone;
  children: ReactNode;
  isLive?: boolean;
}) {
  return (
    <span
      className={clsx(
        'inline-flex h-5.5 items-center gap-1.5 rounded-full px-2 text-xs font-medium whitespace-nowrap',
        {
          good: 'bg-good-soft text-good',
          bad: 'bg-bad-soft text-bad',
          warn: 'bg-warn-soft text-warn',
          copper: 'bg-copper-soft text-copper',
          accent: 'bg-accent-soft text-accent',
          plain: 'bg-hover text-ink-2',
        }[tone],
      )}
    >
      <span
        aria-hidden
        className={clsx('size-1.5 flex-none rounded-full', DOTS[tone], isLive && 'pulse-dot')}
      />
      {children}
    </span>
  );
}

/** A name, a glob, a scope: something that was written down. */
export function Chip({ children }: { children: ReactNode }) {
  return (
    <span className="inline-flex max-w-full items-center rounded-sm border border-line bg-sunken px-1.5 font-mono text-2xs/5 text-ink-2">
      <span className="truncate">{children}</span>
    </span>
  );
}
