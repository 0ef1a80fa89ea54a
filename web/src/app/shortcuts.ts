import { useEffect } from 'react';
import { prefs } from '@/lib/prefs';
import { moveRow } from '@/lib/rows';
import { createStore } from '@/lib/store';

/** What can be reached with the keys g and one more. The keys a, p, r, s, t and i belong to pages that are still to come. */
export const GO: { key: string; to: string; label: string }[] = [
  { key: 'h', to: '/', label: 'nav.home' },
  { key: 'l', to: '/requests', label: 'nav.requests' },
  { key: 'm', to: '/settings/providers', label: 'nav.providers' },
  { key: 'k', to: '/settings/keys', label: 'nav.keys' },
  { key: 'b', to: '/settings/budgets', label: 'nav.budgets' },
  { key: 'w', to: '/workspace', label: 'nav.members' },
  { key: 'j', to: '/jobs', label: 'nav.jobs' },
  { key: 'n', to: '/nodes', label: 'nav.nodes' },
  { key: 'u', to: '/settings/profile', label: 'nav.profile' },
];

export const isPaletteOpen = createStore(false);
export const isHelpOpen = createStore(false);

const isTyping = (target: EventTarget | null) =>
  target instanceof HTMLElement &&
  (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

const CHORD_MS = 1200;

/** Single keys can be switched off (WCAG 2.1.4); Ctrl+K and Cmd+K always work. */
export function useShortcuts(go: (to: string) => void) {
  useEffect(() => {
    let chord = 0;
    const onKey = (event: KeyboardEvent) => {
      if (
        (event.ctrlKey || event.metaKey) &&
        !event.altKey &&
        !event.shiftKey &&
        event.key.toLowerCase() === 'k'
      ) {
        event.preventDefault();
        isPaletteOpen.set((open) => !open);
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target))
        return;
      if (prefs.get().shortcuts === 'off' || document.querySelector('[role=dialog],[role=menu]')) return;
      const isChord = Date.now() - chord < CHORD_MS;
      chord = 0;
      if (isChord) {
        const place = GO.find((one) => one.key === event.key);
        if (place) {
          event.preventDefault();
          go(place.to);
          return;
        }
      }
      if (event.key === 'g') chord = Date.now();
      else if (event.key === 'j' || event.key === 'k') moveRow(event.key === 'j' ? 1 : -1);
      else if (event.key === '/') {
        event.preventDefault();
        const search = document.querySelector<HTMLElement>('[data-page-search]');
        if (search) search.focus();
        else isPaletteOpen.set(true);
      } else if (event.key === '?') isHelpOpen.set(true);
      else if (event.key === 'c') document.querySelector<HTMLElement>('[data-create]')?.click();
      else return;
      if (event.key === 'c' || event.key === '?') event.preventDefault();
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [go]);
}
