import clsx from 'clsx';
import type { ReactNode } from 'react';
import { t } from '@/lib/i18n';
import { setPref, themeInForce, usePrefs } from '@/lib/prefs';
import { Mark } from '@/ui/logo';
import { useTitle } from '@/ui/page';
import { Toasts } from '@/ui/toast';

/** Rings around a centre: what the product does, as a picture. Decoration only. */
function Rings() {
  return (
    <svg
      viewBox="0 0 600 600"
      aria-hidden
      className="absolute -end-40 -bottom-44 w-[44rem] max-w-none opacity-90"
    >
      {[70, 118, 172, 232, 298].map((r, i) => (
        <circle
          key={r}
          cx="300"
          cy="300"
          r={r}
          fill="none"
          strokeWidth={i === 0 ? 14 : 1.25}
          className={i === 0 ? 'stroke-accent' : 'stroke-accent-line'}
          strokeDasharray={i === 0 ? '330 110' : i % 2 ? '2 9' : undefined}
          strokeLinecap="round"
          transform={i === 0 ? 'rotate(45 300 300)' : undefined}
        />
      ))}
      {(
        [
          [118, -38],
          [172, 205],
          [172, 20],
          [232, 250],
          [232, 160],
          [298, 225],
          [298, 178],
        ] as const
      ).map(([r, angle]) => (
        <circle
          key={`${r} ${angle}`}
          cx={300 + r * Math.cos((angle * Math.PI) / 180)}
          cy={300 + r * Math.sin((angle * Math.PI) / 180)}
          r={r > 200 ? 5 : 7}
          className="fill-copper-fill"
        />
      ))}
    </svg>
  );
}

/** The frame of what one sees before being signed in. */
export function AccountFrame(props: { title: string; intro?: ReactNode; children: ReactNode }) {
  useTitle(props.title);
  const { theme } = usePrefs();
  const isDark = themeInForce(theme) !== 'light';
  return (
    <div className="flex min-h-dvh">
      <main className="flex w-full flex-col bg-surface px-5 py-6 sm:px-12 lg:w-[36rem] lg:flex-none lg:border-e lg:border-line">
        <div className="flex items-center gap-2.5">
          <Mark className="size-8" />
          <span className="text-md font-semibold tracking-[-0.01em]">Catalyst</span>
        </div>
        <div className="mx-auto my-auto w-full max-w-[25rem] py-10">
          <h1 className="text-2xl font-semibold tracking-[-0.02em]">{props.title}</h1>
          {props.intro && <div className="mt-2 text-base text-ink-2">{props.intro}</div>}
          <div className="mt-7">{props.children}</div>
        </div>
        <button
          type="button"
          className="min-h-6 self-start text-xs text-ink-3 hover:text-ink"
          onClick={() => setPref('theme', isDark ? 'light' : 'dark')}
        >
          {t(isDark ? 'frame.light' : 'frame.dark')}
        </button>
      </main>
      <aside className={clsx('relative hidden flex-1 overflow-hidden bg-canvas lg:block')}>
        <div className="relative z-1 max-w-lg px-14 pt-28">
          <p className="text-3xl/[1.15] font-semibold tracking-[-0.025em] text-ink">{t('frame.claim')}</p>
          <p className="mt-5 max-w-md text-md text-ink-2">{t('frame.text')}</p>
        </div>
        <Rings />
      </aside>
      <Toasts />
    </div>
  );
}
