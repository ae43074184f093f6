import { expect, test } from 'vitest';
import {
  oneSleepLess,
  SLEEP_EVERY_MS,
  SLEEPS_MOST,
  untilNextSleepMs,
} from '../../../control/resources/pods/sleep/sleep-budget.ts';
import type { PodRecord } from '../../../core/pod.ts';

const START_MS = 1_000_000;

/** Puts it to sleep as soon as it may, after each of these times awake. */
function sleeps(forMs: number, awakeMs: number): number {
  let record: Pick<PodRecord, 'sleepsLeft'> = {};
  let count = 0;
  for (let nowMs = START_MS + awakeMs; nowMs <= START_MS + forMs; nowMs += awakeMs) {
    nowMs += untilNextSleepMs(record, nowMs);
    expect(untilNextSleepMs(record, nowMs)).toBe(0);
    record = oneSleepLess(record, nowMs);
    count += 1;
  }
  return count;
}

test('somebody who wakes a pod all day makes it start ten times an hour, not fifty', () => {
  const dayMs = 24 * 3_600_000;
  expect(sleeps(dayMs, 70_000)).toBeLessThanOrEqual(SLEEPS_MOST + dayMs / SLEEP_EVERY_MS);
  expect(sleeps(dayMs, 70_000)).toBeGreaterThan(dayMs / SLEEP_EVERY_MS - 2);
});

test('a pod that is used every quarter of an hour sleeps each time', () => {
  expect(sleeps(24 * 3_600_000, 15 * 60_000)).toBe(96);
});

test('a clock that was set back delays the next sleep by no more than the bucket takes to fill', () => {
  const empty = { sleepsLeft: { count: 0, atMs: START_MS } };
  expect(untilNextSleepMs(empty, START_MS)).toBe(SLEEP_EVERY_MS);
  expect(untilNextSleepMs(empty, START_MS - 60_000)).toBe(SLEEP_EVERY_MS);
  expect(untilNextSleepMs(empty, START_MS - 2 * SLEEPS_MOST * SLEEP_EVERY_MS)).toBe(0);
  expect(untilNextSleepMs(empty, START_MS + SLEEP_EVERY_MS)).toBe(0);
});
