import { beforeEach, describe, expect, it } from 'vitest';
import { bytes, compact, dateTime, duration, money, moneyExact, relative, utc } from './format';
import { setPref } from './prefs';

beforeEach(() => setPref('zone', 'utc'));

describe('money', () => {
  it('has the precision of its size', () => {
    expect(
      [0, 4_200, 4_200_000, 49_000_000, 12_400_000_000, 1_240_000_000_000, 1_234_567_000_000_000].map(money),
    ).toEqual(['$0.00', '$0.0000042', '$0.0042', '$0.049', '$12.40', '$1,240.00', '$1.2M']);
  });
  it('has all its places where it is exact', () => {
    expect(moneyExact(4_210_001)).toBe('$0.004210001');
  });
});

describe('counts and sizes', () => {
  it('are exact while they are short', () => {
    expect([0, 9_999, 12_345, 1_234_567].map(compact)).toEqual(['0', '9,999', '12.3K', '1.2M']);
  });
  it('tell bytes in fitting units', () => {
    expect([12, 1_500, 2_000_000].map(bytes)).toEqual(['12 bytes', '1.5 kB', '2 MB']);
  });
  it('tell how long something took', () => {
    expect([0.25, 42, 1_234, 12_345, 90_000, 7_260_000].map(duration)).toEqual([
      '0.25 ms',
      '42 ms',
      '1.23 s',
      '12.3 s',
      '1 min 30 s',
      '2 h 1 min',
    ]);
  });
});

describe('instants', () => {
  const now = Date.UTC(2026, 10, 24, 12, 0, 0);
  it('are told from now', () => {
    const at = (seconds: number) => relative(new Date(now + seconds * 1000).toISOString(), now);
    expect([0, -30, -60, -7200, 86_400 * 3].map(at)).toEqual([
      'now',
      'now',
      '1 minute ago',
      '2 hours ago',
      'in 3 days',
    ]);
  });
  it('are shown in the zone that was chosen, and in UTC', () => {
    expect(dateTime('2026-03-29T00:59:59Z')).toBe('Mar 29, 2026, 12:59:59 AM');
    expect(utc('2026-03-29T00:59:59.250Z')).toBe('2026-03-29 00:59:59.250 UTC');
    expect(utc('2026-03-29T00:59:59Z')).toBe('2026-03-29 00:59:59 UTC');
  });
});
