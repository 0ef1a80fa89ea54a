import { Dialog } from 'radix-ui';
import { t } from '@/lib/i18n';
import { NavList, WorkspaceSwitcher } from './shell';

/** The navigation on a narrow screen: a panel over the page. */
export default function MobileNav({ onClose }: { onClose: () => void }) {
  return (
    <Dialog.Root open onOpenChange={(isOpen) => !isOpen && onClose()}>
      <Dialog.Portal>
        <Dialog.Overlay className="scrim-in fixed inset-0 z-40 bg-[var(--scrim)]" />
        <Dialog.Content
          aria-describedby={undefined}
          className="fixed inset-y-0 start-0 z-50 flex w-[min(17rem,85vw)] flex-col bg-canvas shadow-2"
        >
          <Dialog.Title className="sr-only">{t('nav.label')}</Dialog.Title>
          <div className="px-3 pt-3 pb-2">
            <WorkspaceSwitcher isClosed={false} />
          </div>
          <NavList isClosed={false} onGo={onClose} />
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
