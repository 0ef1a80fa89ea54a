import { localeTag } from './i18n';
import { prefs } from './prefs';

/** What is not there, in tables and details. */
export const NONE = '–';

const made = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat | Intl.RelativeTimeFormat>();

function numberFormat(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = `n${localeTag()}${JSON.stringify(options)}`;
  let f = made.get(key) as Intl.NumberFormat | undefined;
  if (!f) {
    f = new Intl.NumberFormat(localeTag(), options);
    made.set(key, f);
  }
  return f;
}

function dateFormat(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `d${localeTag()}${JSON.stringify(options)}`;
  let f = made.get(key) as Intl.DateTimeFormat | undefined;
  if (!f) {
    f = new Intl.DateTimeFormat(localeTag(), options);
    made.set(key, f);
  }
  return f;
}

export function number(value: number): string {
  return numberFormat({}).format(value);
}

/** 1,234 as it is; from 10,000 on 12.3K, 1.2M. The exact value belongs into the title. */
export function compact(value: number): string {
  return Math.abs(value) < 10_000
    ? number(value)
    : numberFormat({ notation: 'compact', maximumFractionDigits: 1 }).format(value);
}

export function percent(part: number, digits = 0): string {
  return numberFormat({ style: 'percent', maximumFractionDigits: digits }).format(part);
}

/** US dollars with a precision that fits the size: $0.0042, $12.40, $1,240, $1.2M. */
export function money(nanousd: number): string {
  const usd = nanousd / 1e9;
  const size = Math.abs(usd);
  const style = { style: 'currency', currency: 'USD', currencyDisplay: 'narrowSymbol' } as const;
  if (size === 0) return numberFormat({ ...style, minimumFractionDigits: 2 }).format(0);
  if (size < 0.01)
    return numberFormat({ ...style, minimumFractionDigits: 2, maximumSignificantDigits: 2 }).format(usd);
  if (size < 1)
    return numberFormat({ ...style, minimumFractionDigits: 2, maximumFractionDigits: 3 }).format(usd);
  if (size < 10_000)
    return numberFormat({ ...style, minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(usd);
  return numberFormat({ ...style, notation: 'compact', maximumFractionDigits: 1 }).format(usd);
}

/** All nine places, for titles. */
export function moneyExact(nanousd: number): string {
  return numberFormat({
    style: 'currency',
    currency: 'USD',
    minimumFractionDigits: 2,
    maximumFractionDigits: 9,
  }).format(nanousd / 1e9);
}

export function duration(ms: number): string {
  if (ms < 1) return `${numberFormat({ maximumFractionDigits: 2 }).format(ms)} ms`;
  if (ms < 1000) return `${numberFormat({ maximumFractionDigits: 0 }).format(ms)} ms`;
  if (ms < 60_000)
    return `${numberFormat({ maximumFractionDigits: ms < 10_000 ? 2 : 1 }).format(ms / 1000)} s`;
  const minutes = Math.floor(ms / 60_000);
  const seconds = Math.floor((ms % 60_000) / 1000);
  if (minutes < 60) return `${minutes} min ${seconds} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function bytes(n: number): string {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte'];
  let i = 0;
  let value = n;
  while (value >= 1000 && i < units.length - 1) {
    value /= 1000;
    i++;
  }
  return numberFormat({
    style: 'unit',
    unit: units[i] as string,
    unitDisplay: i === 0 ? 'long' : 'short',
    maximumFractionDigits: 1,
  }).format(value);
}

function zone(): { timeZone?: string } {
  return prefs.get().zone === 'utc' ? { timeZone: 'UTC' } : {};
}

export function dateTime(iso: string | number): string {
  return dateFormat({ dateStyle: 'medium', timeStyle: 'medium', ...zone() }).format(new Date(iso));
}

export function date(iso: string | number): string {
  return dateFormat({ dateStyle: 'medium', ...zone() }).format(new Date(iso));
}

export function dayMonth(at: number): string {
  return dateFormat({ day: 'numeric', month: 'short', timeZone: 'UTC' }).format(new Date(at));
}

/** The time of day; with the day when it is not today. */
export function clock(iso: string): string {
  const then = new Date(iso);
  const isToday = date(iso) === date(Date.now());
  return dateFormat({
    ...(isToday ? {} : { month: 'short', day: 'numeric' }),
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hour12: false,
    ...zone(),
  }).format(then);
}

/** The UTC value that every instant shows on hover. */
export function utc(iso: string): string {
  return new Date(iso)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.000Z$/, ' UTC')
    .replace('Z', ' UTC');
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
];

/** "3 minutes ago", "in 2 days". */
export function relative(iso: string, now = Date.now()): string {
  const key = `r${localeTag()}`;
  let f = made.get(key) as Intl.RelativeTimeFormat | undefined;
  if (!f) {
    f = new Intl.RelativeTimeFormat(localeTag(), { numeric: 'auto' });
    made.set(key, f);
  }
  const seconds = (new Date(iso).getTime() - now) / 1000;
  for (const [unit, size] of STEPS)
    if (Math.abs(seconds) >= size) return f.format(Math.round(seconds / size), unit);
  return f.format(0, 'second');
}
