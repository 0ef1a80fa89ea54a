import type account from '../locales/en/account';
import type gateway from '../locales/en/gateway';
import type home from '../locales/en/home';
import type requests from '../locales/en/requests';
import shell from '../locales/en/shell';
import type team from '../locales/en/team';
import { format, type Values } from './icu';
import { prefs } from './prefs';
import { createStore, useStore } from './store';

/** The catalogue: one file per area and language, loaded with the pages that need it; the shell's English is always there. */
interface Areas {
  shell: typeof shell;
  account: typeof account;
  gateway: typeof gateway;
  home: typeof home;
  requests: typeof requests;
  team: typeof team;
}
export type Area = keyof Areas;
export type MessageId = { [A in Area]: keyof Areas[A] & string }[Area];

const files = import.meta.glob<{ default: Record<string, string> }>([
  '../locales/*/*.ts',
  '!../locales/en/shell.ts',
]);
const LANGUAGES = ['en', 'de'] as const;
export type Language = (typeof LANGUAGES)[number];

const messages: Record<string, string> = { ...shell };
const loaded = new Set<string>(['en/shell']);
const wanted = new Set<Area>(['shell']);

function languageOf(locale: string): Language {
  if (locale !== 'auto') return locale as Language;
  for (const name of navigator.languages) {
    const language = LANGUAGES.find((l) => name.toLowerCase().startsWith(l));
    if (language) return language;
  }
  return 'en';
}

const language = createStore<Language>('en');

async function loadFile(name: string) {
  if (loaded.has(name)) return;
  const load = files[`../locales/${name}.ts`];
  if (!load) throw new Error(`no catalogue ${name}`);
  const file = await load();
  loaded.add(name);
  Object.assign(messages, file.default);
}

/** Makes the messages of an area available in the language in force. */
export async function loadArea(area: Area): Promise<void> {
  wanted.add(area);
  const now = language.get();
  await loadFile(`en/${area}`);
  if (now !== 'en') await loadFile(`${now}/${area}`);
}

export async function setLanguage(next: Language): Promise<void> {
  if (next === 'en') {
    Object.assign(messages, shell);
    loaded.clear();
    loaded.add('en/shell');
  }
  for (const area of wanted) if (!(next === 'en' && area === 'shell')) await loadFile(`${next}/${area}`);
  document.documentElement.lang = next;
  language.set(next);
}

/** Before the first rendering, and whenever the choice changes. */
export async function startLanguage(): Promise<void> {
  const follow = async () => {
    const next = languageOf(prefs.get().locale);
    if (next !== language.get()) await setLanguage(next);
  };
  prefs.subscribe(() => void follow());
  await follow();
}

export function t(id: MessageId, values?: Values): string {
  return format(messages[id] ?? id, values, language.get());
}

/** A message whose id is put together at run time, with what to say when there is none. */
export function tMaybe(id: string, fallback: string): string {
  const message = messages[id];
  return message === undefined ? fallback : format(message, {}, language.get());
}

export function useLanguage(): Language {
  return useStore(language);
}

/** For Intl: the browser's own variant of the language, so that an Austrian gets Austrian dates. */
export function localeTag(): string {
  const now = language.get();
  return navigator.languages.find((name) => name.toLowerCase().startsWith(now)) ?? now;
}
