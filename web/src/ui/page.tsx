import clsx from 'clsx';
import { type ReactNode, useEffect } from 'react';

export function useTitle(title: string) {
  useEffect(() => {
    document.title = `${title} · Catalyst`;
  }, [title]);
}

/** A page: its title, what it is for in one line, its main action, its content. */
export function Page(props: {
  title: string;
  intro?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  width?: 'narrow' | 'wide' | 'full';
  /** The content takes the rest of the window and scrolls in itself. */
  isTall?: boolean;
}) {
  useTitle(props.title);
  return (
    <div
      className={clsx(
        'mx-auto flex w-full flex-col px-4 pt-6 pb-10 sm:px-8 sm:pt-8',
        props.width === 'full' ? 'max-w-[110rem]' : 'max-w-[80rem]',
        props.isTall && 'md:h-[calc(100dvh-3.625rem)] md:min-h-[30rem] md:pb-6',
      )}
    >
      <header
        className={clsx(
          'mb-5 flex flex-wrap items-end gap-x-6 gap-y-3',
          props.width === 'narrow' && 'max-w-[54rem]',
        )}
      >
        <div className="min-w-0 flex-1 basis-64">
          <h1 className="text-xl font-semibold tracking-[-0.015em] text-ink sm:text-2xl">{props.title}</h1>
          {props.intro && <p className="mt-1 max-w-2xl text-sm text-ink-2">{props.intro}</p>}
        </div>
        {props.actions && <div className="flex flex-wrap items-center gap-2">{props.actions}</div>}
      </header>
      {props.width === 'narrow' ? <div className="max-w-[54rem]">{props.children}</div> : props.children}
    </div>
  );
}

export function Section(props: {
  title: string;
  hint?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  className?: string;
}) {
  return (
    <section className={clsx('card', props.className)} aria-label={props.title}>
      <header className="flex flex-wrap items-center gap-x-4 gap-y-2 border-b border-line px-4 py-3 sm:px-5">
        <div className="min-w-0 flex-1">
          <h2 className="text-base font-semibold text-ink">{props.title}</h2>
          {props.hint && <p className="text-xs text-ink-3">{props.hint}</p>}
        </div>
        {props.actions}
      </header>
      {props.children}
    </section>
  );
}
