import { expect, test } from 'vitest';
import { deathsInARow, restartDelayMs } from '../../../main/supervisor/restart-backoff.ts';

test('the first restart is immediate, and the wait grows with each early death', () => {
  expect([1, 2, 3, 4, 7, 8, 100].map(restartDelayMs)).toEqual([0, 100, 200, 400, 3200, 5000, 5000]);
});

test('a long-lived child resets the count', () => {
  expect(deathsInARow(5, 9_999)).toBe(6);
  expect(deathsInARow(5, 10_000)).toBe(1);
});
