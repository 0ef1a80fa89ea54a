/** Moves the focus between the links that open rows: j, k and the arrows. Returns whether it did. */
export function moveRow(step: 1 | -1, from: Element | null = document.activeElement): boolean {
  const links = [...document.querySelectorAll<HTMLElement>('[data-row-link]')];
  if (links.length === 0) return false;
  const row = from?.closest('[data-row]');
  const at = row ? links.findIndex((link) => row.contains(link)) : -1;
  const next =
    links[Math.max(0, Math.min(links.length - 1, at < 0 ? (step > 0 ? 0 : links.length - 1) : at + step))];
  next?.focus();
  next?.scrollIntoView({ block: 'nearest' });
  return true;
}
