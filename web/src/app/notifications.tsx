import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import clsx from 'clsx';
import { BellOff, CheckCheck } from 'lucide-react';
import { Popover } from 'radix-ui';
import type { ReactNode } from 'react';
import { markRead, notificationsQuery } from '@/api/queries';
import { t } from '@/lib/i18n';
import { Button } from '@/ui/button';
import { Empty, QueryView, SkeletonRows } from '@/ui/states';
import { Time } from '@/ui/values';

/** The last notifications, unread ones marked. */
export default function Notifications({ trigger, onClose }: { trigger: ReactNode; onClose: () => void }) {
  const query = useQuery(notificationsQuery);
  const client = useQueryClient();
  const navigate = useNavigate();
  const read = useMutation({
    mutationFn: markRead,
    onSettled: () => client.invalidateQueries({ queryKey: ['notification'] }),
  });
  const hasUnread = query.data?.items.some((one) => !one.is_read) ?? false;
  return (
    <Popover.Root open onOpenChange={(isOpen) => !isOpen && onClose()}>
      <Popover.Trigger asChild>{trigger}</Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          align="end"
          sideOffset={6}
          collisionPadding={8}
          aria-label={t('bell.label')}
          className="z-50 w-[min(24rem,calc(100vw-1rem))] overflow-hidden rounded-lg border border-line bg-raised shadow-2"
        >
          <header className="flex h-11 items-center border-b border-line pe-2 ps-4">
            <h2 className="text-sm font-semibold">{t('bell.label')}</h2>
            {hasUnread && (
              <Button
                size="sm"
                variant="ghost"
                icon={CheckCheck}
                className="ms-auto"
                isBusy={read.isPending}
                onClick={() => read.mutate({ all: true })}
              >
                {t('bell.read_all')}
              </Button>
            )}
          </header>
          <div className="max-h-[min(28rem,70vh)] overflow-y-auto">
            <QueryView query={query} loading={<SkeletonRows rows={3} columns={2} />} isCompact>
              {(list) =>
                list.items.length === 0 ? (
                  <Empty icon={BellOff} title={t('bell.empty')} isCompact>
                    {t('bell.empty_hint')}
                  </Empty>
                ) : (
                  <ul className="divide-y divide-line">
                    {list.items.map((one) => (
                      <li key={one.id}>
                        <button
                          type="button"
                          className="flex w-full items-start gap-3 px-4 py-3 text-start hover:bg-hover focus-visible:outline-offset-[-2px]"
                          onClick={() => {
                            if (!one.is_read) read.mutate({ ids: [one.id] });
                            // Only places of this page: a link is never taken to another host.
                            if (one.link?.startsWith('/') && !one.link.startsWith('//')) {
                              onClose();
                              void navigate({ href: one.link } as never);
                            }
                          }}
                        >
                          <span
                            className={clsx(
                              'mt-1.5 size-2 flex-none rounded-full',
                              one.is_read ? 'bg-transparent' : 'bg-copper',
                            )}
                          >
                            {!one.is_read && <span className="sr-only">{t('bell.is_unread')}</span>}
                          </span>
                          <span className="min-w-0 flex-1">
                            <span
                              className={clsx(
                                'block text-sm',
                                one.is_read ? 'text-ink-2' : 'font-medium text-ink',
                              )}
                            >
                              {one.title}
                            </span>
                            {one.body && <span className="mt-0.5 block text-xs text-ink-2">{one.body}</span>}
                            <span className="mt-1 block text-2xs text-ink-3">
                              <Time iso={one.created_at} />
                            </span>
                          </span>
                        </button>
                      </li>
                    ))}
                  </ul>
                )
              }
            </QueryView>
          </div>
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}
