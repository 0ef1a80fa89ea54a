/** The part of ICU MessageFormat that the catalogue uses: {name}, {n, number}, {n, plural, =0 {..} one {# x} other {# xs}},
 * {kind, select, a {..} other {..}}; an apostrophe quotes what follows it up to the next one when it stands before a brace. */

export type Values = Record<string, string | number>;
type Node =
  | string
  | { name: string; kind: 'text' | 'number' | 'plural' | 'select'; cases?: Record<string, Node[]> };

function parse(text: string): Node[] {
  let at = 0;

  function word(): string {
    const start = at;
    while (at < text.length && !/[\s,{}]/.test(text[at] as string)) at++;
    return text.slice(start, at);
  }
  function space() {
    while (/\s/.test(text[at] ?? '')) at++;
  }
  function expect(c: string) {
    space();
    if (text[at] !== c) throw new Error(`${JSON.stringify(text)}: expected ${c} at ${at}`);
    at++;
  }
  function nodes(isNested: boolean): Node[] {
    const out: Node[] = [];
    let run = '';
    while (at < text.length) {
      const c = text[at] as string;
      if (c === "'" && /[{}#']/.test(text[at + 1] ?? '')) {
        const end = text.indexOf("'", at + 2);
        run += text[at + 1] === "'" ? "'" : text.slice(at + 1, end < 0 ? text.length : end);
        at = text[at + 1] === "'" ? at + 2 : end < 0 ? text.length : end + 1;
      } else if (c === '}' && isNested) break;
      else if (c === '#' && isNested) {
        if (run) out.push(run);
        run = '';
        out.push({ name: '#', kind: 'number' });
        at++;
      } else if (c === '{') {
        if (run) out.push(run);
        run = '';
        at++;
        out.push(argument());
      } else {
        run += c;
        at++;
      }
    }
    if (run) out.push(run);
    return out;
  }
  function argument(): Node {
    space();
    const name = word();
    space();
    if (text[at] === '}') {
      at++;
      return { name, kind: 'text' };
    }
    expect(',');
    space();
    const kind = word();
    if (kind === 'number') {
      expect('}');
      return { name, kind };
    }
    if (kind !== 'plural' && kind !== 'select') throw new Error(`${JSON.stringify(text)}: unknown ${kind}`);
    expect(',');
    const cases: Record<string, Node[]> = {};
    for (space(); text[at] !== '}'; space()) {
      if (at >= text.length) throw new Error(`${JSON.stringify(text)} is not closed`);
      const label = word();
      expect('{');
      cases[label] = nodes(true);
      expect('}');
    }
    at++;
    if (!cases.other) throw new Error(`${JSON.stringify(text)} has no case "other"`);
    return { name, kind, cases };
  }
  return nodes(false);
}

const parsed = new Map<string, Node[]>();
const plurals = new Map<string, Intl.PluralRules>();
const numbers = new Map<string, Intl.NumberFormat>();

function cached<T>(map: Map<string, T>, key: string, make: () => T): T {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

function write(nodes: Node[], values: Values, locale: string, count?: number): string {
  let out = '';
  for (const node of nodes) {
    if (typeof node === 'string') {
      out += node;
      continue;
    }
    const value = node.name === '#' ? count : values[node.name];
    if (node.kind === 'text') out += value ?? `{${node.name}}`;
    else if (node.kind === 'number')
      out += cached(numbers, locale, () => new Intl.NumberFormat(locale)).format(Number(value));
    else if (node.kind === 'select')
      out += write(node.cases?.[String(value)] ?? node.cases?.other ?? [], values, locale, count);
    else {
      const n = Number(value);
      const rule = cached(plurals, locale, () => new Intl.PluralRules(locale)).select(n);
      out += write(node.cases?.[`=${n}`] ?? node.cases?.[rule] ?? node.cases?.other ?? [], values, locale, n);
    }
  }
  return out;
}

export function format(message: string, values: Values = {}, locale = 'en'): string {
  if (!message.includes('{') && !message.includes("'")) return message;
  return write(
    cached(parsed, message, () => parse(message)),
    values,
    locale,
  );
}
