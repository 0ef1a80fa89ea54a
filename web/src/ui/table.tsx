import { useVirtualizer } from '@tanstack/react-virtual';
import clsx from 'clsx';
import { ArrowDown, ArrowUp, ChevronsUpDown } from 'lucide-react';
import {
  type KeyboardEvent,
  type ReactNode,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react';
import { t } from '@/lib/i18n';
import { usePrefs } from '@/lib/prefs';
import { moveRow } from '@/lib/rows';
import { Button } from './button';

export interface Column<T> {
  id: string;
  header: string;
  cell: (row: T) => ReactNode;
  align?: 'right';
  /** Makes the column sortable, over the rows that are loaded. */
  sortBy?: (row: T) => number | string;
  className?: string;
  /** Not shown on narrow screens' cards: said elsewhere on the card. */
  isWideOnly?: boolean;
}

interface Sort {
  id: string;
  isDown: boolean;
}

const VIRTUAL_FROM = 80; // rows: fewer are quicker drawn than measured
const ROW = { comfortable: 44, compact: 32 } as const;

function useMedia(query: string): boolean {
  return useSyncExternalStore(
    (notify) => {
      const list = matchMedia(query);
      list.addEventListener('change', notify);
      return () => list.removeEventListener('change', notify);
    },
    () => matchMedia(query).matches,
  );
}

/** A list with a heading for each column. The first column holds each row's link or button, marked `data-row-link`: Enter opens
 * it, Ctrl+Enter in a new tab, and a click anywhere on the row presses it. */
export function Table<T>(props: {
  label: string;
  columns: Column<T>[];
  rows: T[];
  keyOf: (row: T) => string;
  isFresh?: (row: T) => boolean;
  sort?: Sort;
  /** More rows are on the server. */
  more?: { isLoading: boolean; load: () => void } | undefined;
  footer?: ReactNode;
  /** Fills the height and scrolls in itself; otherwise as long as its rows. */
  isTall?: boolean;
}) {
  const { density } = usePrefs();
  const [sort, setSort] = useState<Sort | null>(props.sort ?? null);
  const isNarrow = useMedia('(max-width: 719px)');
  const scroller = useRef<HTMLDivElement>(null);

  const rows = useMemo(() => {
    const by = sort && props.columns.find((c) => c.id === sort.id)?.sortBy;
    if (!by) return props.rows;
    const sign = sort.isDown ? -1 : 1;
    return [...props.rows].sort((a, b) => {
      const x = by(a);
      const y = by(b);
      return sign * (typeof x === 'string' ? x.localeCompare(String(y)) : x - Number(y));
    });
  }, [props.rows, props.columns, sort]);

  const isVirtual = props.isTall === true && rows.length > VIRTUAL_FROM && !isNarrow;
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW[density],
    overscan: 12,
    enabled: isVirtual,
  });
  const shown = isVirtual
    ? virtual.getVirtualItems().map((item) => ({ index: item.index, row: rows[item.index] as T }))
    : rows.map((row, index) => ({ index, row }));
  const before = isVirtual ? (virtual.getVirtualItems()[0]?.start ?? 0) : 0;
  const after = isVirtual ? virtual.getTotalSize() - (virtual.getVirtualItems().at(-1)?.end ?? 0) : 0;

  // More is asked for when the end comes into sight.
  const end = useRef<HTMLDivElement>(null);
  const load = useRef<(() => void) | undefined>(undefined);
  load.current = props.more && !props.more.isLoading ? props.more.load : undefined;
  const hasMore = props.more !== undefined;
  useEffect(() => {
    const mark = end.current;
    if (!mark || !hasMore) return;
    const observer = new IntersectionObserver(
      (seen) => seen.some((s) => s.isIntersecting) && load.current?.(),
      {
        rootMargin: '400px',
      },
    );
    observer.observe(mark);
    return () => observer.disconnect();
  }, [hasMore]);

  function onKeyDown(event: KeyboardEvent) {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step && (event.target as HTMLElement).matches('[data-row-link]') && moveRow(step))
      event.preventDefault();
  }

  const press = (event: React.MouseEvent<HTMLElement>) => {
    const target = event.target as HTMLElement;
    if (
      target.closest('a,button,input,select,label,[role=menu],[role=menuitem]') ||
      getSelection()?.toString()
    )
      return;
    event.currentTarget.querySelector<HTMLElement>('[data-row-link]')?.dispatchEvent(
      new MouseEvent('click', {
        bubbles: true,
        cancelable: true,
        ctrlKey: event.ctrlKey,
        metaKey: event.metaKey,
      }),
    );
  };

  const tail = props.more && (
    <div ref={end} className="flex justify-center p-3">
      <Button size="sm" variant="ghost" isBusy={props.more.isLoading} onClick={props.more.load}>
        {t('table.more')}
      </Button>
    </div>
  );

  if (isNarrow)
    return (
      <div>
        <ul aria-label={props.label} className="divide-y divide-line" onKeyDown={onKeyDown}>
          {rows.map((row) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the row's link is the keyboard's way
            <li
              key={props.keyOf(row)}
              data-row
              className={clsx('px-4 py-3', props.isFresh?.(row) && 'fresh')}
              onClick={press}
            >
              {props.columns.map((column, i) => {
                const content = column.cell(row);
                if (i === 0)
                  return (
                    <div key={column.id} className="mb-1.5 min-w-0">
                      {content}
                    </div>
                  );
                if (column.isWideOnly || content === null) return null;
                return (
                  <div
                    key={column.id}
                    className="flex min-w-0 items-baseline justify-between gap-3 py-0.5 text-sm"
                  >
                    <span className="flex-none text-xs text-ink-3">{column.header}</span>
                    <span className="min-w-0 text-end">{content}</span>
                  </div>
                );
              })}
            </li>
          ))}
        </ul>
        {tail}
        {props.footer}
      </div>
    );

  return (
    <div
      ref={scroller}
      className={clsx('relative overflow-auto', props.isTall && 'min-h-0 flex-1')}
      {...(props.isTall ? { tabIndex: 0, role: 'region', 'aria-label': props.label } : {})}
    >
      <table
        className="w-full border-separate border-spacing-0 text-start text-sm"
        aria-label={props.label}
        aria-rowcount={props.more ? -1 : rows.length + 1}
        onKeyDown={onKeyDown}
      >
        <thead>
          <tr aria-rowindex={1}>
            {props.columns.map((column) => {
              const isSorted = sort?.id === column.id;
              const Icon = !isSorted ? ChevronsUpDown : sort.isDown ? ArrowDown : ArrowUp;
              return (
                <th
                  key={column.id}
                  scope="col"
                  aria-sort={isSorted ? (sort.isDown ? 'descending' : 'ascending') : undefined}
                  className={clsx(
                    'sticky top-0 z-1 border-b border-line bg-surface px-3 py-2 text-xs font-medium whitespace-nowrap text-ink-3 first:ps-4 last:pe-4',
                    column.align === 'right' ? 'text-end' : 'text-start',
                  )}
                >
                  {column.sortBy ? (
                    <button
                      type="button"
                      className={clsx(
                        'inline-flex min-h-6 items-center gap-1 hover:text-ink',
                        isSorted && 'text-ink',
                        column.align === 'right' && 'flex-row-reverse',
                      )}
                      onClick={() =>
                        setSort({ id: column.id, isDown: isSorted ? !sort.isDown : column.align === 'right' })
                      }
                    >
                      {column.header}
                      <Icon aria-hidden className="size-3" />
                    </button>
                  ) : (
                    column.header
                  )}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {before > 0 && (
            <tr aria-hidden>
              <td style={{ height: before }} colSpan={props.columns.length} />
            </tr>
          )}
          {shown.map(({ row, index }) => (
            <tr
              key={props.keyOf(row)}
              data-row
              aria-rowindex={index + 2}
              onClick={press}
              className={clsx(
                'group hover:bg-hover has-[[data-row-link]:focus-visible]:bg-hover',
                props.isFresh?.(row) && 'fresh',
              )}
              style={{ height: ROW[density] }}
            >
              {props.columns.map((column) => (
                <td
                  key={column.id}
                  className={clsx(
                    'border-b border-line px-3 first:ps-4 last:pe-4 group-last:border-b-0',
                    column.align === 'right' && 'text-end',
                    column.className,
                  )}
                >
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
          {after > 0 && (
            <tr aria-hidden>
              <td style={{ height: after }} colSpan={props.columns.length} />
            </tr>
          )}
        </tbody>
      </table>
      {tail}
      {props.footer}
    </div>
  );
}
