import { createStore, useStore } from './store';

/** What a person has chosen for this browser. public/boot.js reads theme, density and nav before the first paint. */
export interface Prefs {
  theme: 'system' | 'light' | 'dark' | 'contrast';
  density: 'comfortable' | 'compact';
  nav: 'open' | 'closed';
  locale: 'auto' | 'en' | 'de';
  shortcuts: 'on' | 'off';
  zone: 'browser' | 'utc';
  os: 'unix' | 'windows';
  workspace: string;
  onboarding: string;
  /** "on" while there may be a session: without one nobody has to be asked, and no refusal stands in the console. */
  session: '' | 'on';
}

const DEFAULTS: Prefs = {
  theme: 'system',
  density: 'comfortable',
  nav: 'open',
  locale: 'auto',
  shortcuts: 'on',
  zone: 'browser',
  os: /Windows/.test(navigator.userAgent) ? 'windows' : 'unix',
  workspace: '',
  onboarding: '',
  session: '',
};

const PREFIX = 'catalyst.';

function read(): Prefs {
  const prefs: Record<string, string> = { ...DEFAULTS };
  for (const name of Object.keys(DEFAULTS)) {
    try {
      const value = localStorage.getItem(PREFIX + name);
      if (value !== null) prefs[name] = value;
    } catch {
      // A browser that keeps nothing still shows the page.
    }
  }
  return prefs as unknown as Prefs;
}

export const prefs = createStore<Prefs>(read());

export function setPref<K extends keyof Prefs>(name: K, value: Prefs[K]) {
  prefs.set((old) => ({ ...old, [name]: value }));
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // As above.
  }
  apply();
}

export function usePrefs(): Prefs {
  return useStore(prefs);
}

const asks = (query: string) => matchMedia(query).matches;

/** The theme that is really shown. */
export function themeInForce(theme: Prefs['theme']): 'light' | 'dark' | 'contrast' {
  if (theme !== 'system') return theme;
  if (asks('(prefers-contrast: more)')) return 'contrast';
  return asks('(prefers-color-scheme: dark)') ? 'dark' : 'light';
}

function apply() {
  const { theme, density, nav } = prefs.get();
  const root = document.documentElement;
  root.dataset.theme = themeInForce(theme);
  root.dataset.density = density;
  root.dataset.nav = nav;
}

/** Follows the system's theme and other tabs' choices. */
export function watchPrefs() {
  for (const query of ['(prefers-color-scheme: dark)', '(prefers-contrast: more)'])
    matchMedia(query).addEventListener('change', apply);
  addEventListener('storage', (event) => {
    if (!event.key?.startsWith(PREFIX)) return;
    prefs.set(read());
    apply();
  });
}
