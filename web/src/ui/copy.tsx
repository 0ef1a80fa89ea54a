import clsx from 'clsx';
import { Check, Copy as CopyIcon } from 'lucide-react';
import { type ReactNode, useEffect, useState } from 'react';
import { t } from '@/lib/i18n';
import { Button } from './button';
import { toast } from './toast';

async function write(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without a secure context there is no clipboard: the old way, by a selection.
    const area = document.createElement('textarea');
    area.value = text;
    area.style.position = 'fixed';
    area.style.opacity = '0';
    document.body.append(area);
    area.select();
    const isDone = document.execCommand('copy');
    area.remove();
    return isDone;
  }
}

function useCopy(text: string) {
  const [isCopied, setIsCopied] = useState(false);
  useEffect(() => {
    if (!isCopied) return;
    const timer = setTimeout(() => setIsCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [isCopied]);
  return {
    isCopied,
    copy: async () => {
      if (await write(text)) setIsCopied(true);
      else toast({ tone: 'bad', title: t('copy.failed') });
    },
  };
}

/** A small button that copies. */
export function Copy({ text, label, className }: { text: string; label: string; className?: string }) {
  const { isCopied, copy } = useCopy(text);
  const Icon = isCopied ? Check : CopyIcon;
  return (
    <button
      type="button"
      onClick={copy}
      aria-label={isCopied ? t('copy.done') : label}
      title={label}
      className={clsx(
        'inline-grid size-6 flex-none place-items-center rounded-sm hover:bg-hover',
        isCopied ? 'text-good' : 'text-ink-3 hover:text-ink',
        className,
      )}
    >
      <Icon aria-hidden className="size-3.5" strokeWidth={1.75} />
      <span className="sr-only" aria-live="polite">
        {isCopied ? t('copy.done') : ''}
      </span>
    </button>
  );
}

export function CopyButton({
  text,
  children,
  variant,
}: {
  text: string;
  children: ReactNode;
  variant?: 'primary' | 'plain';
}) {
  const { isCopied, copy } = useCopy(text);
  return (
    <Button icon={isCopied ? Check : CopyIcon} onClick={copy} variant={variant ?? 'plain'}>
      <span aria-live="polite">{isCopied ? t('copy.done') : children}</span>
    </Button>
  );
}

/** Text for a terminal or a file, with a button that copies all of it. `shown` may stand for what is copied (a masked key). */
export function CodeBlock({ code, shown, label }: { code: string; shown?: string; label: string }) {
  return (
    <figure className="group relative m-0">
      <figcaption className="sr-only">{label}</figcaption>
      <pre
        tabIndex={0}
        aria-label={label}
        role="region"
        className="overflow-x-auto rounded-lg border border-line bg-sunken py-3 pe-11 ps-3.5 font-mono text-xs/[1.55] text-ink"
      >
        <code>{shown ?? code}</code>
      </pre>
      <Copy
        text={code}
        label={t('copy.copy')}
        className="absolute top-2 end-2 size-7 border border-line bg-raised"
      />
    </figure>
  );
}

/** A secret in the one moment that it can be seen. */
export function SecretOnce({ secret, what }: { secret: string; what: string }) {
  return (
    <div className="rounded-lg border border-copper/40 bg-copper-soft p-3.5">
      <p className="text-sm text-ink">{what}</p>
      <div className="mt-2.5 flex flex-wrap items-center gap-2">
        <code
          className="min-w-0 flex-1 rounded-md border border-line bg-raised px-2.5 py-2 font-mono text-xs [overflow-wrap:anywhere] select-all"
          data-testid="secret"
        >
          {secret}
        </code>
        <CopyButton text={secret} variant="primary">
          {t('copy.copy')}
        </CopyButton>
      </div>
    </div>
  );
}
