import clsx from 'clsx';

/** An open ring and what sets it going. */
export function Mark({ className }: { className?: string }) {
  return (
    <svg viewBox="0 0 32 32" aria-hidden className={clsx('flex-none', className)}>
      <rect width="32" height="32" rx="8" className="fill-accent" />
      <path
        d="M21.8 10.4a8 8 0 1 0 0 11.2"
        fill="none"
        strokeWidth="3.2"
        strokeLinecap="round"
        className="stroke-[var(--accent-ink)]"
      />
      <circle cx="23.6" cy="16" r="2.7" className="fill-copper-fill" />
    </svg>
  );
}
