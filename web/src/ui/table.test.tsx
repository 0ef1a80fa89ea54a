import { fireEvent, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { describe, expect, it, vi } from 'vitest';
import { moveRow } from '@/lib/rows';
import { renderAlone } from '@/test/render';
import { type Column, Table } from './table';

interface Row {
  id: string;
  name: string;
  size: number;
}
const rows: Row[] = [
  { id: '1', name: 'banana', size: 3 },
  { id: '2', name: 'apple', size: 20 },
  { id: '3', name: 'cherry', size: 1 },
];

function show(
  onOpen: (id: string) => void = () => undefined,
  more?: { isLoading: boolean; load: () => void },
) {
  const columns: Column<Row>[] = [
    {
      id: 'name',
      header: 'Name',
      sortBy: (row) => row.name,
      cell: (row) => (
        <button type="button" data-row-link onClick={() => onOpen(row.id)}>
          {row.name}
        </button>
      ),
    },
    { id: 'size', header: 'Size', align: 'right', sortBy: (row) => row.size, cell: (row) => row.size },
  ];
  renderAlone(<Table label="Fruit" columns={columns} rows={rows} keyOf={(row) => row.id} more={more} />);
}

const names = () =>
  screen
    .getAllByRole('row')
    .slice(1)
    .map((row) => within(row).getAllByRole('cell')[0]?.textContent);

describe('a table', () => {
  it('keeps the order that it is given until a heading is pressed, then sorts up and down', async () => {
    show();
    expect(names()).toEqual(['banana', 'apple', 'cherry']);
    await userEvent.click(screen.getByRole('button', { name: 'Name' }));
    expect(names()).toEqual(['apple', 'banana', 'cherry']);
    expect(screen.getByRole('columnheader', { name: 'Name' }).getAttribute('aria-sort')).toBe('ascending');
    await userEvent.click(screen.getByRole('button', { name: 'Name' }));
    expect(names()).toEqual(['cherry', 'banana', 'apple']);
    await userEvent.click(screen.getByRole('button', { name: 'Size' }));
    expect(names()).toEqual(['apple', 'banana', 'cherry']);
  });

  it('opens a row by a click anywhere on it, and by Enter on its link', async () => {
    const open = vi.fn();
    show(open);
    fireEvent.click(screen.getByRole('cell', { name: '20' }));
    expect(open).toHaveBeenLastCalledWith('2');
    screen.getByRole('button', { name: 'cherry' }).focus();
    await userEvent.keyboard('{Enter}');
    expect(open).toHaveBeenLastCalledWith('3');
  });

  it('is walked with the arrows, and stops at its ends', async () => {
    show();
    moveRow(1);
    expect(document.activeElement?.textContent).toBe('banana');
    await userEvent.keyboard('{ArrowDown}{ArrowDown}{ArrowDown}');
    expect(document.activeElement?.textContent).toBe('cherry');
    moveRow(-1);
    expect(document.activeElement?.textContent).toBe('apple');
  });

  it('loads more when it is asked to', async () => {
    const load = vi.fn();
    show(undefined, { isLoading: false, load });
    await userEvent.click(screen.getByRole('button', { name: 'Load more' }));
    expect(load).toHaveBeenCalled();
  });
});
