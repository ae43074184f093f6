import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { coalesce } from '../../../core/coalesce.ts';
import { setGuardedInterval } from '../../../core/guarded-timer.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('a wait ends at a full second, half a second early or late at most; short ones are exact', () => {
  for (let step = 0; step < 40; step += 1) {
    vi.advanceTimersByTime(37);
    const [, nanoseconds] = process.hrtime();
    const intoSecondMs = Math.floor(nanoseconds / 1e6);
    for (const ms of [1_000, 3_000, 5_250]) {
      const waitMs = coalesce(ms);
      expect((intoSecondMs + waitMs) % 1_000).toBe(0);
      expect(Math.abs(waitMs - ms)).toBeLessThanOrEqual(500);
    }
    expect((intoSecondMs + coalesce(600)) % 500).toBe(0);
    expect(coalesce(499)).toBe(499);
  }
});

test('intervals that begin at different times take their turns together, and none after it was stopped', () => {
  const turns: number[] = [];
  const begin = (everyMs: number) =>
    setGuardedInterval({
      everyMs,
      work: () => turns.push(process.hrtime()[1]),
      name: 'a test',
      log: { error: () => undefined },
    });
  const timers = [1_000, 1_000, 2_000, 3_000].map((everyMs) => {
    vi.advanceTimersByTime(173);
    return begin(everyMs);
  });
  vi.advanceTimersByTime(12_000);
  expect(turns.length).toBeGreaterThanOrEqual(12 + 12 + 6 + 4 - 4);
  expect(new Set(turns).size).toBe(1);
  for (const timer of timers) timer.stop();
  const before = turns.length;
  vi.advanceTimersByTime(12_000);
  expect(turns).toHaveLength(before);
});
