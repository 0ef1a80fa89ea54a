import { describe, expect, it } from 'vitest';
import type { UsageRow } from '@/api/types';
import { restOf } from './jobs';
import { byDay } from './overview';
import { splitList } from './provider-form';
import { stepsOf } from './request';
import { toFilter } from './requests';

describe('the stretches of a call', () => {
  it('follow each other without a gap', () => {
    const steps = stepsOf({ connect_us: 100, sent_us: 150, head_us: 900, first_us: 1000, total_us: 5000 });
    expect(steps.map((s) => [s.from, s.to])).toEqual([
      [0, 100],
      [100, 150],
      [150, 900],
      [900, 1000],
      [1000, 5000],
    ]);
  });
  it('leave out what never came or took no time', () => {
    const steps = stepsOf({ connect_us: 0, sent_us: 50, head_us: null, first_us: null, total_us: 700 });
    expect(steps.map((s) => s.label)).toEqual(['timing.send', 'timing.stream']);
  });
});

describe('the days of a range', () => {
  const row = (group: string, cost: number) =>
    ({ group, cost_nanousd: cost, calls: 1, tokens: { total: 2 } }) as unknown as UsageRow;
  it('have a value each, also without a call', () => {
    const from = Date.UTC(2026, 2, 28);
    // The 29th has 23 hours where clocks go forward; buckets are days of UTC and do not mind.
    expect(
      byDay([row('2026-03-28', 5), row('2026-03-30', 7), row('2026-04-09', 1)], from, 4, 'cost'),
    ).toEqual([5, 0, 7, 0]);
  });
});

describe('the filter of an address', () => {
  it('turns a range into an instant on the minute and keeps the rest', () => {
    const filter = toFilter({ model: 'gpt-5', since: '1h' });
    expect(filter.model).toBe('gpt-5');
    const ago = Date.now() - new Date(filter.since ?? '').getTime();
    expect(ago).toBeGreaterThanOrEqual(3_600_000);
    expect(ago).toBeLessThan(3_661_000);
    expect(filter.since).toMatch(/:00\.000Z$/);
  });
  it('asks for nothing that is not asked for', () => {
    expect(toFilter({})).toEqual({});
    expect(toFilter({ since: 'nonsense' })).toEqual({});
  });
});

describe('small things', () => {
  it('lists are split at commas, spaces and lines', () => {
    expect(splitList(' gpt-5*, claude-*\n o3 ,')).toEqual(['gpt-5*', 'claude-*', 'o3']);
  });
  it('the rest of a job is told only when it can be', () => {
    const started_at = new Date(1000).toISOString();
    expect(restOf({ started_at, progress: { done: 10, total: 40, phase: '' } }, 2000)).toBe(3000);
    expect(restOf({ started_at, progress: { done: 0, total: 40, phase: '' } }, 2000)).toBeNull();
    expect(restOf({ started_at, progress: { done: 0, total: 0, phase: '' } }, 2000)).toBeNull();
  });
});
