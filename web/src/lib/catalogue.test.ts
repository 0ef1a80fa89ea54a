import { describe, expect, it } from 'vitest';
import { format } from './icu';

const files = import.meta.glob<{ default: Record<string, string> }>('../locales/*/*.ts', { eager: true });
const languages = new Map<string, Record<string, Record<string, string>>>();
for (const [path, file] of Object.entries(files)) {
  const [, language, area] = /locales\/(\w+)\/(\w+)\.ts$/.exec(path) ?? [];
  const areas = languages.get(language as string) ?? {};
  areas[area as string] = file.default;
  languages.set(language as string, areas);
}
const sources = import.meta.glob<string>('../**/*.{ts,tsx}', {
  eager: true,
  query: '?raw',
  import: 'default',
});

const values = (message: string) => {
  const names = new Set([...message.matchAll(/\{(\w+)[,}]/g)].map((m) => m[1] as string));
  return Object.fromEntries([...names].map((name) => [name, 3]));
};

describe('the catalogue', () => {
  it('has the same areas and messages in every language', () => {
    const english = languages.get('en') ?? {};
    for (const [language, areas] of languages) {
      expect(Object.keys(areas).sort(), language).toEqual(Object.keys(english).sort());
      for (const area of Object.keys(english))
        expect(Object.keys(areas[area] ?? {}).sort(), `${language}/${area}`).toEqual(
          Object.keys(english[area] ?? {}).sort(),
        );
    }
  });
  it('uses the same arguments in every language', () => {
    for (const [area, messages] of Object.entries(languages.get('en') ?? {}))
      for (const [id, message] of Object.entries(messages))
        for (const [language, areas] of languages)
          expect(Object.keys(values(areas[area]?.[id] ?? '')).sort(), `${language} ${id}`).toEqual(
            Object.keys(values(message)).sort(),
          );
  });
  it('is well-formed', () => {
    for (const [language, areas] of languages)
      for (const messages of Object.values(areas))
        for (const [id, message] of Object.entries(messages))
          expect(() => format(message, values(message), language), id).not.toThrow();
  });
  it('has no message that nobody shows', () => {
    const code = Object.entries(sources)
      .filter(([path]) => !path.includes('/locales/'))
      .map(([, text]) => text)
      .join('\n');
    // Ids that are put together at run time: what stands before the first ${ is a prefix, what follows it a suffix.
    const made = [...code.matchAll(/`([a-z_]+\.[a-z_]*)\$\{[^`]*?\}([a-z_]*)`/g)].map(
      (m) => [m[1], m[2]] as const,
    );
    const unused = Object.values(languages.get('en') ?? {})
      .flatMap((messages) => Object.keys(messages))
      .filter((id) => !code.includes(`'${id}'`))
      .filter(
        (id) =>
          !made.some(([prefix, suffix]) => id.startsWith(prefix as string) && id.endsWith(suffix as string)),
      );
    expect(unused).toEqual([]);
  });
});
