import { expect, test } from 'vitest';
import { backoffMs } from '../../../core/backoff.ts';

test('a wait doubles with each failure in a row, up to its maximum', () => {
  const waits = [0, 1, 2, 3, 4, 5, 100].map((failures) => backoffMs(failures, { firstMs: 100, maxMs: 750 }));
  expect(waits).toEqual([0, 100, 200, 400, 750, 750, 750]);
});

test('the first wait does not exceed the maximum either', () => {
  expect(backoffMs(1, { firstMs: 5_000, maxMs: 1_000 })).toBe(1_000);
});

test('growth may be slower than doubling', () => {
  const waits = [1, 2, 3, 4].map((failures) => backoffMs(failures, { firstMs: 100, maxMs: 300, factor: 1.5 }));
  expect(waits).toEqual([100, 150, 225, 300]);
});

test('jitter shortens a delay by at most its share, also at the maximum', () => {
  const growth = { firstMs: 100, maxMs: 1_000, jitter: 0.5 };
  expect(backoffMs(1, growth, () => 0)).toBe(100);
  expect(backoffMs(1, growth, () => 0.999)).toBeCloseTo(50.05);
  expect(backoffMs(50, growth, () => 0.5)).toBe(750);
});

test.each([0, -1, NaN, Infinity, 1e9, 2 ** 53])('a count of %s gives a wait within bounds', (failures) => {
  for (const firstMs of [0, 1, 250]) {
    const waitMs = backoffMs(failures, { firstMs, maxMs: 1_000, jitter: 0.2 });
    expect(waitMs).toBeGreaterThanOrEqual(0);
    expect(waitMs).toBeLessThanOrEqual(1_000);
  }
});
