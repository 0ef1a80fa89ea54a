import clsx from 'clsx';
import { X } from 'lucide-react';
import { Dialog as Radix } from 'radix-ui';
import { type ReactNode, useState } from 'react';
import { t } from '@/lib/i18n';
import { Button } from './button';
import { Field, Input } from './field';

interface DialogProps {
  isOpen: boolean;
  onClose: () => void;
  title: string;
  description?: ReactNode;
  children?: ReactNode;
  footer?: ReactNode;
  size?: 'sm' | 'md' | 'lg';
  /** Something was typed that closing would throw away: closing asks first. */
  isDirty?: boolean;
  /** Can only be left by what is in it. */
  isModalOnly?: boolean;
}

function useGuard(props: Pick<DialogProps, 'isDirty' | 'onClose'>) {
  const [isAsking, setIsAsking] = useState(false);
  return {
    isAsking,
    ask: () => (props.isDirty ? setIsAsking(true) : props.onClose()),
    stay: () => setIsAsking(false),
    leave: () => {
      setIsAsking(false);
      props.onClose();
    },
  };
}

function Guard({ guard }: { guard: ReturnType<typeof useGuard> }) {
  if (!guard.isAsking) return null;
  return (
    <div
      role="alert"
      className="flex flex-wrap items-center gap-2 border-t border-line bg-warn-soft px-5 py-3 text-sm"
    >
      <span className="me-auto">{t('dialog.unsaved')}</span>
      <Button size="sm" onClick={guard.stay} autoFocus>
        {t('dialog.stay')}
      </Button>
      <Button size="sm" variant="danger" onClick={guard.leave}>
        {t('dialog.discard')}
      </Button>
    </div>
  );
}

/** A form is filled from its first field on; the button that closes comes first only where there is no form. */
function focusFirstField(event: Event) {
  const field = (event.currentTarget as HTMLElement).querySelector<HTMLElement>(
    '[data-body] :is(input:not([type=hidden]), select, textarea):not(:disabled)',
  );
  if (!field) return;
  event.preventDefault();
  field.focus();
}

export function Dialog(props: DialogProps) {
  const guard = useGuard(props);
  return (
    <Radix.Root open={props.isOpen} onOpenChange={(isOpen) => !isOpen && !props.isModalOnly && guard.ask()}>
      <Radix.Portal>
        <Radix.Overlay className="scrim-in fixed inset-0 z-40 bg-[var(--scrim)]" />
        <Radix.Content
          {...(props.description ? {} : { 'aria-describedby': undefined })}
          onOpenAutoFocus={focusFirstField}
          onInteractOutside={(event) => {
            if (props.isModalOnly) event.preventDefault();
          }}
          className={clsx(
            'dialog-in fixed inset-x-0 top-[max(1rem,8vh)] z-50 mx-auto flex max-h-[min(46rem,84vh)] flex-col overflow-hidden rounded-xl border border-line bg-surface shadow-2',
            {
              sm: 'w-[min(26rem,calc(100vw-1.5rem))]',
              md: 'w-[min(34rem,calc(100vw-1.5rem))]',
              lg: 'w-[min(46rem,calc(100vw-1.5rem))]',
            }[props.size ?? 'md'],
          )}
        >
          <header className="flex items-start gap-3 px-5 pt-4.5 pb-3">
            <div className="min-w-0 flex-1">
              <Radix.Title className="text-md font-semibold text-ink">{props.title}</Radix.Title>
              {props.description && (
                <Radix.Description asChild>
                  <div className="mt-1 text-sm text-ink-2">{props.description}</div>
                </Radix.Description>
              )}
            </div>
            {!props.isModalOnly && (
              <Button
                variant="ghost"
                icon={X}
                label={t('action.close')}
                className="-mt-1 -me-2"
                onClick={guard.ask}
              />
            )}
          </header>
          <div data-body className="min-h-0 overflow-y-auto px-5 pt-1 pb-5">
            {props.children}
          </div>
          <Guard guard={guard} />
          {props.footer && !guard.isAsking && (
            <footer className="flex flex-wrap items-center justify-end gap-2 border-t border-line bg-sunken px-5 py-3">
              {props.footer}
            </footer>
          )}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

/** A panel at the end of the page, for one thing out of a list. */
export function Drawer(props: DialogProps & { actions?: ReactNode }) {
  const guard = useGuard(props);
  return (
    <Radix.Root open={props.isOpen} onOpenChange={(isOpen) => !isOpen && guard.ask()}>
      <Radix.Portal>
        <Radix.Overlay className="scrim-in fixed inset-0 z-40 bg-[var(--scrim)]" />
        <Radix.Content
          {...(props.description ? {} : { 'aria-describedby': undefined })}
          className="drawer-in fixed inset-y-0 end-0 z-50 flex w-[min(40rem,100vw)] flex-col border-s border-line bg-surface shadow-2"
        >
          <header className="flex items-start gap-2 border-b border-line px-5 py-4">
            <div className="min-w-0 flex-1">
              <Radix.Title className="text-md font-semibold text-ink [overflow-wrap:anywhere]">
                {props.title}
              </Radix.Title>
              {props.description && (
                <Radix.Description asChild>
                  <div className="mt-1 text-sm text-ink-2">{props.description}</div>
                </Radix.Description>
              )}
            </div>
            {props.actions}
            <Button
              variant="ghost"
              icon={X}
              label={t('action.close')}
              className="-me-2"
              onClick={guard.ask}
            />
          </header>
          <div className="min-h-0 flex-1 overflow-y-auto px-5 py-5">{props.children}</div>
          <Guard guard={guard} />
          {props.footer && !guard.isAsking && (
            <footer className="flex flex-wrap items-center justify-end gap-2 border-t border-line bg-sunken px-5 py-3">
              {props.footer}
            </footer>
          )}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

/** What cannot be taken back: the name has to be typed. */
export function ConfirmByName(props: {
  isOpen: boolean;
  onClose: () => void;
  title: string;
  children: ReactNode;
  name: string;
  action: string;
  onConfirm: () => Promise<unknown>;
}) {
  const [typed, setTyped] = useState('');
  const [isBusy, setIsBusy] = useState(false);
  const [error, setError] = useState<string | undefined>();
  const isRight = typed.trim() === props.name;
  const close = () => {
    setTyped('');
    setError(undefined);
    props.onClose();
  };
  return (
    <Dialog isOpen={props.isOpen} onClose={close} title={props.title} size="sm">
      <form
        className="flex flex-col gap-4"
        onSubmit={async (event) => {
          event.preventDefault();
          if (!isRight || isBusy) return;
          setIsBusy(true);
          try {
            await props.onConfirm();
            close();
          } catch (failure) {
            setError(failure instanceof Error ? failure.message : String(failure));
          } finally {
            setIsBusy(false);
          }
        }}
      >
        <div className="text-sm text-ink-2">{props.children}</div>
        <Field label={t('dialog.type_name', { name: props.name })} error={error} isRequired>
          {(control) => (
            <Input
              {...control}
              value={typed}
              autoComplete="off"
              spellCheck={false}
              onChange={(event) => setTyped(event.target.value)}
            />
          )}
        </Field>
        <div className="flex justify-end gap-2">
          <Button onClick={close}>{t('action.cancel')}</Button>
          <Button type="submit" variant="danger" disabled={!isRight} isBusy={isBusy}>
            {props.action}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
