import { expect, test } from 'vitest';
import { VanishedWatch } from '../../../proxy/limits/vanished-watch.ts';
import type { TcpState } from '../../../proxy/socket/tcp-state.ts';

const LIMIT_MS = 70_000;
const lost = (sinceAckMs: number, unansweredSegments = 5): TcpState => ({
  isUnacknowledged: true,
  unansweredSegments,
  sinceAckMs,
});
const settled: TcpState = { isUnacknowledged: false, unansweredSegments: 0, sinceAckMs: 3_600_000 };

test('a client that acknowledges nothing for the whole limit counts as vanished', () => {
  const watch = new VanishedWatch();
  expect(watch.hasVanished(0, 10, LIMIT_MS, () => lost(1_000))).toBe(false);
  expect(watch.hasVanished(69_000, 10, LIMIT_MS, () => lost(70_000))).toBe(false);
  expect(watch.hasVanished(70_000, 10, LIMIT_MS, () => lost(71_000))).toBe(true);
});

test('a client that was quiet for an hour has the whole limit from its first unacknowledged byte', () => {
  const watch = new VanishedWatch();
  expect(watch.hasVanished(0, 10, LIMIT_MS, () => settled)).toBe(false);
  expect(watch.hasVanished(3_600_000, 20, LIMIT_MS, () => lost(3_600_000))).toBe(false);
  expect(watch.hasVanished(3_670_000, 20, LIMIT_MS, () => lost(3_670_000))).toBe(true);
});

test('a full window with acknowledged probes does not count, however rare the probes are', () => {
  const watch = new VanishedWatch();
  for (let nowMs = 0; nowMs <= 600_000; nowMs += 5_000) {
    expect(watch.hasVanished(nowMs, 10, LIMIT_MS, () => lost(nowMs % 120_000, 1))).toBe(false);
  }
});

test('skips connections without writes since everything was acknowledged', () => {
  const watch = new VanishedWatch();
  let reads = 0;
  const read = (): TcpState => {
    reads++;
    return settled;
  };
  for (let nowMs = 0; nowMs < 100_000; nowMs += 5_000) watch.hasVanished(nowMs, 10, LIMIT_MS, read);
  expect(reads).toBe(1);
  watch.hasVanished(100_000, 11, LIMIT_MS, read);
  expect(reads).toBe(2);
});

test('without reports from the system, no client counts as vanished', () => {
  expect(new VanishedWatch().hasVanished(0, 10, 0, () => null)).toBe(false);
});
