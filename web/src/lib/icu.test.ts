import { describe, expect, it } from 'vitest';
import { format } from './icu';

describe('messages', () => {
  it('are given back as they are without arguments', () => {
    expect(format('Nothing to fill in')).toBe('Nothing to fill in');
  });
  it('take names and numbers', () => {
    expect(format('{who} has {n, number}', { who: 'Ada', n: 12345 })).toBe('Ada has 12,345');
    expect(format('{n, number}', { n: 12345 }, 'de')).toBe('12.345');
  });
  it('choose plurals by the rules of the language, exact values first', () => {
    const text = '{n, plural, =0 {none} one {# call} other {# calls}}';
    expect([0, 1, 2, 1000].map((n) => format(text, { n }))).toEqual([
      'none',
      '1 call',
      '2 calls',
      '1,000 calls',
    ]);
    expect(format('{n, plural, one {jeden} few {# dwa} many {# piec} other {# x}}', { n: 3 }, 'pl')).toBe(
      '3 dwa',
    );
  });
  it('select by a word and nest', () => {
    const text = '{kind, select, a {A{n, plural, one {} other {s}}} other {?}}';
    expect(format(text, { kind: 'a', n: 2 })).toBe('As');
    expect(format(text, { kind: 'b', n: 2 })).toBe('?');
  });
  it('quote braces by apostrophes and keep other apostrophes', () => {
    expect(format("it's '{x}' here")).toBe("it's {x} here");
  });
  it('show what was not given', () => {
    expect(format('Hello {name}')).toBe('Hello {name}');
  });
  it('refuse a plural without the case "other"', () => {
    expect(() => format('{n, plural, one {x}}', { n: 1 })).toThrow('no case "other"');
  });
});
