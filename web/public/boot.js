// Runs before the first paint: the theme, so that nothing flashes, and the nonce for the styles that widgets add.
(() => {
  const root = document.documentElement;
  const read = (name) => {
    try {
      return localStorage.getItem(`catalyst.${name}`);
    } catch {
      return null;
    }
  };
  const theme = read('theme') ?? 'system';
  const asks = (query) => matchMedia(query).matches;
  root.dataset.theme =
    theme !== 'system'
      ? theme
      : asks('(prefers-contrast: more)')
        ? 'contrast'
        : asks('(prefers-color-scheme: dark)')
          ? 'dark'
          : 'light';
  root.dataset.density = read('density') ?? 'comfortable';
  root.dataset.nav = read('nav') ?? 'open';
  window.__webpack_nonce__ = document.querySelector('meta[name=csp-nonce]').content;
})();
