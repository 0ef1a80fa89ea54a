/** The one-time token of a link stands in the fragment, which browsers never send; "#token=…" or "#…". It is taken out of
 * the address at once, so that it does not stay in the history. */
export function takeToken(): string {
  const raw = location.hash.replace(/^#/, '');
  const token = new URLSearchParams(raw).get('token') ?? (raw.includes('=') ? '' : decodeURIComponent(raw));
  if (raw) history.replaceState(history.state, '', location.pathname + location.search);
  return token;
}
