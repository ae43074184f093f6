import { expect, test } from 'vitest';
import { HangWatch, type SilentProcess } from '../../../main/supervisor/hang-watch.ts';

const LIMITS = { silentAfterMs: 3_000, hungAfterMs: 10_000, startMs: 60_000 };
const IDLE: SilentProcess = { waitedMs: 0, isTraced: false, isBlocked: false };

function started(): HangWatch {
  const watch = new HangWatch(LIMITS);
  watch.heard(false);
  return watch;
}

/** Verdicts of so many ticks of half a second. */
function ticks(watch: HangWatch, count: number, look: (tick: number) => SilentProcess | null = () => IDLE) {
  return Array.from({ length: count }, (_, tick) => watch.tick(500, () => look(tick)));
}

test('a process is silent after 3 s and hung after 10 s without a heartbeat', () => {
  const verdicts = ticks(started(), 20);
  expect(verdicts.indexOf('silent')).toBe(5);
  expect(verdicts.indexOf('hung')).toBe(19);
});

test('a heartbeat resets the timer', () => {
  const watch = started();
  ticks(watch, 19);
  watch.heard(false);
  expect(ticks(watch, 5)).not.toContain('silent');
});

test('a process starved of CPU gets four times as long', () => {
  const watch = started();
  // It gets a tenth of the time.
  const verdicts = ticks(watch, 100, (tick) => ({ ...IDLE, waitedMs: 1_000_000 + tick * 450 }));
  expect(verdicts.indexOf('hung')).toBeGreaterThan(75);
});

test('a process in an endless loop is not starved of CPU', () => {
  expect(ticks(started(), 40, (tick) => ({ ...IDLE, waitedMs: tick * 50 }))).toContain('hung');
});

test('a process stopped by a debugger or waiting for a disk is not hung', () => {
  expect(ticks(started(), 100, () => ({ ...IDLE, isTraced: true }))).not.toContain('hung');
  expect(ticks(started(), 100, () => ({ ...IDLE, isBlocked: true }))).not.toContain('hung');
  const watch = started();
  watch.heard(true);
  expect(ticks(watch, 100)).not.toContain('silent');
});

test('before its first heartbeat it has a minute', () => {
  const watch = new HangWatch(LIMITS);
  expect(new Set(ticks(watch, 119))).toEqual(new Set(['alive']));
  expect(ticks(watch, 1)).toEqual(['hung']);
});

test('without data from the kernel, the clock decides', () => {
  expect(ticks(started(), 20, () => null)).toContain('hung');
});
