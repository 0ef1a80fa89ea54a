import { act, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { useState } from 'react';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { renderAlone } from '@/test/render';
import { ConfirmByName, Dialog } from './dialog';
import { Meter } from './meter';
import { Toasts, toast, undoable } from './toast';

afterEach(() => vi.useRealTimers());

function Opener({ isDirty }: { isDirty: boolean }) {
  const [isOpen, setIsOpen] = useState(false);
  return (
    <>
      <button type="button" onClick={() => setIsOpen(true)}>
        Open
      </button>
      <Dialog isOpen={isOpen} onClose={() => setIsOpen(false)} title="A thing" isDirty={isDirty}>
        <input aria-label="Inside" />
      </Dialog>
    </>
  );
}

describe('a dialog', () => {
  it('takes the focus, gives it back, and is named by its title', async () => {
    renderAlone(<Opener isDirty={false} />);
    await userEvent.click(screen.getByRole('button', { name: 'Open' }));
    expect(screen.getByRole('dialog', { name: 'A thing' }).contains(document.activeElement)).toBe(true);
    await userEvent.keyboard('{Escape}');
    expect(screen.queryByRole('dialog')).toBeNull();
    await waitFor(() => expect(document.activeElement?.textContent).toBe('Open'));
  });

  it('asks before it throws away what was typed', async () => {
    renderAlone(<Opener isDirty />);
    await userEvent.click(screen.getByRole('button', { name: 'Open' }));
    await userEvent.keyboard('{Escape}');
    await userEvent.click(await screen.findByRole('button', { name: 'Go on editing' }));
    expect(screen.getByRole('dialog')).toBeTruthy();
    await userEvent.click(screen.getByRole('button', { name: 'Close' }));
    await userEvent.click(screen.getByRole('button', { name: 'Throw it away' }));
    expect(screen.queryByRole('dialog')).toBeNull();
  });

  it('destroys only when the name has been typed, and shows why it could not', async () => {
    const confirm = vi
      .fn()
      .mockRejectedValueOnce(new Error('It is in use.'))
      .mockResolvedValueOnce(undefined);
    const close = vi.fn();
    renderAlone(
      <ConfirmByName isOpen onClose={close} title="Delete?" name="ci" action="Delete" onConfirm={confirm}>
        For good.
      </ConfirmByName>,
    );
    const button = screen.getByRole('button', { name: 'Delete' });
    expect(button).toHaveProperty('disabled', true);
    await userEvent.type(screen.getByRole('textbox'), 'ci');
    await userEvent.click(button);
    expect(await screen.findByText('It is in use.')).toBeTruthy();
    await userEvent.click(button);
    await waitFor(() => expect(close).toHaveBeenCalled());
  });
});

describe('a message', () => {
  it('is announced and goes by itself', () => {
    vi.useFakeTimers();
    renderAlone(<Toasts />);
    act(() => void toast({ tone: 'good', title: 'Saved' }));
    expect(screen.getByText('Saved').closest('[aria-live]')?.getAttribute('aria-live')).toBe('polite');
    act(() => vi.advanceTimersByTime(5000));
    expect(screen.queryByText('Saved')).toBeNull();
  });

  it('does what can be undone after 10 s, once, and not when it was undone', () => {
    vi.useFakeTimers();
    renderAlone(<Toasts />);
    const commit = vi.fn(() => Promise.resolve());
    const undo = vi.fn();
    act(() => undoable({ title: 'Deleted', undo, commit }));
    act(() => vi.advanceTimersByTime(9000));
    expect(commit).not.toHaveBeenCalled();
    act(() => vi.advanceTimersByTime(2000));
    expect(commit).toHaveBeenCalledTimes(1);
    act(() => undoable({ title: 'Deleted again', undo, commit }));
    act(() => screen.getByRole('button', { name: 'Undo' }).click());
    act(() => vi.advanceTimersByTime(20_000));
    expect(undo).toHaveBeenCalledTimes(1);
    expect(commit).toHaveBeenCalledTimes(1);
  });
});

describe('a meter', () => {
  it('says how much of what', () => {
    renderAlone(<Meter value={45} max={60} label="Budget of ci" text="$15 left" />);
    const meter = screen.getByRole('meter', { name: 'Budget of ci' });
    expect(meter.getAttribute('aria-valuenow')).toBe('75');
    expect(meter.getAttribute('aria-valuetext')).toBe('75%: $15 left');
  });
});
