import { CircleAlert, CircleCheck, Info, X } from 'lucide-react';
import { useEffect, useState } from 'react';
import { t } from '@/lib/i18n';
import { createStore, useStore } from '@/lib/store';
import { Button } from './button';

interface Toast {
  id: number;
  tone: 'good' | 'bad' | 'info';
  title: string;
  detail?: string;
  action?: { label: string; run: () => void };
  /** How long it stays; something to undo stays 10 s. */
  ms: number;
  onGone?: () => void;
}

const toasts = createStore<Toast[]>([]);
let last = 0;

export function toast(options: Omit<Toast, 'id' | 'ms'> & { ms?: number }): number {
  const id = ++last;
  const ms = options.ms ?? (options.action ? 10_000 : options.tone === 'bad' ? 8000 : 4500);
  toasts.set((old) => [...old.slice(-3), { ...options, id, ms }]);
  return id;
}

function dismiss(id: number) {
  toasts.set((old) => old.filter((one) => one.id !== id));
}

/** Does `run` at once for the eye and `commit` when nobody has undone it within 10 s. */
export function undoable(options: { title: string; undo: () => void; commit: () => Promise<unknown> }) {
  let isUndone = false;
  toast({
    tone: 'info',
    title: options.title,
    action: {
      label: t('toast.undo'),
      run: () => {
        isUndone = true;
        options.undo();
      },
    },
    onGone: () => {
      if (isUndone) return;
      options.commit().catch((error: unknown) => {
        options.undo();
        toast({ tone: 'bad', title: error instanceof Error ? error.message : String(error) });
      });
    },
  });
}

const ICONS = { good: CircleCheck, bad: CircleAlert, info: Info } as const;

function One({ toast: one }: { toast: Toast }) {
  const [isHeld, setIsHeld] = useState(false);
  useEffect(() => {
    if (isHeld) return;
    const timer = setTimeout(() => dismiss(one.id), one.ms);
    return () => clearTimeout(timer);
  }, [isHeld, one.id, one.ms]);
  // Whatever ends it, its consequence happens once: also when the page is left.
  useEffect(() => {
    let isDone = false;
    const gone = () => {
      if (!isDone) one.onGone?.();
      isDone = true;
    };
    addEventListener('pagehide', gone);
    return () => {
      removeEventListener('pagehide', gone);
      gone();
    };
  }, [one]);
  const Icon = ICONS[one.tone];
  return (
    <li
      className="dialog-in pointer-events-auto flex items-start gap-2.5 rounded-lg border border-line bg-raised p-3 pe-2 text-sm shadow-2"
      onMouseEnter={() => setIsHeld(true)}
      onMouseLeave={() => setIsHeld(false)}
      onFocus={() => setIsHeld(true)}
      onBlur={() => setIsHeld(false)}
    >
      <Icon
        aria-hidden
        strokeWidth={1.75}
        className={`mt-0.5 size-4.5 flex-none ${{ good: 'text-good', bad: 'text-bad', info: 'text-ink-3' }[one.tone]}`}
      />
      <div className="min-w-0 flex-1 py-0.5 [overflow-wrap:anywhere]">
        <p className="font-medium text-ink">{one.title}</p>
        {one.detail && <p className="text-xs text-ink-2">{one.detail}</p>}
      </div>
      {one.action && (
        <Button
          size="sm"
          onClick={() => {
            one.action?.run();
            dismiss(one.id);
          }}
        >
          {one.action.label}
        </Button>
      )}
      <Button size="sm" variant="ghost" icon={X} label={t('action.close')} onClick={() => dismiss(one.id)} />
    </li>
  );
}

export function Toasts() {
  const list = useStore(toasts);
  return (
    <section
      aria-label={t('toast.region')}
      aria-live="polite"
      className="pointer-events-none fixed end-4 bottom-4 z-60 w-[min(26rem,calc(100vw-2rem))]"
    >
      <ol className="flex flex-col gap-2">
        {list.map((one) => (
          <One key={one.id} toast={one} />
        ))}
      </ol>
    </section>
  );
}
