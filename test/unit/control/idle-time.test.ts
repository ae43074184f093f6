import { expect, test } from 'vitest';
import { IdleTime, minimumUptimeMs } from '../../../control/resources/pods/sleep/idle-time.ts';
import type { JudgedUse } from '../../../control/resources/pods/sleep/judge-use.ts';

const MINUTE_MS = 60_000;
const POD = { uid: 'uid', run: 1 };
const workers: ReadonlySet<string> = new Set(['a 1', 'b 1']);
const idle = (lastUsedMs: number | null): JudgedUse => ({ kind: 'idle', lastUsedMs, because: {}, isHeld: false });

/** Looks whenever it is told to, until it is due. */
function dueAfterMs(
  time: IdleTime,
  lookAt: (nowMs: number) => { use: JudgedUse; workers: ReadonlySet<string> },
): number {
  for (let nowMs = 0; nowMs < 60 * MINUTE_MS;) {
    const { isDue, lookAgainMs } = time.look({ startTookMs: 0 }, MINUTE_MS, lookAt(nowMs), nowMs);
    if (isDue) return nowMs;
    nowMs += lookAgainMs;
  }
  return Infinity;
}

test('a pod without use is due after its time, whatever wall clocks say of the last use', () => {
  // An hour ahead, or behind: it is the same at each look.
  for (const lastUsedMs of [null, -3_600_000, 3_600_000]) {
    const time = new IdleTime(POD, 0);
    time.look({}, MINUTE_MS, { use: idle(lastUsedMs), workers }, 0);
    expect(dueAfterMs(time, () => ({ use: idle(lastUsedMs), workers }))).toBe(MINUTE_MS);
  }
});

test('each use begins the time anew, within a tenth of it', () => {
  const usedMs = 40_000;
  const due = dueAfterMs(new IdleTime(POD, 0), (nowMs) => ({ use: idle(nowMs >= usedMs ? 7 : null), workers }));
  expect(due).toBeGreaterThanOrEqual(usedMs + MINUTE_MS);
  expect(due).toBeLessThanOrEqual(usedMs + 1.1 * MINUTE_MS);
});

test('in use, or without a worker that was there before: the time begins anew', () => {
  const others: { use: JudgedUse; workers: ReadonlySet<string> }[] = [
    { use: { ...idle(null), kind: 'in-use', because: { requests: 1 } } as JudgedUse, workers },
    { use: idle(null), workers: new Set(['a 1']) },
  ];
  for (const other of others) {
    const due = dueAfterMs(new IdleTime(POD, 0), (nowMs) => (nowMs === 30_000 ? other : { use: idle(null), workers }));
    expect(due).toBeGreaterThanOrEqual(30_000 + MINUTE_MS);
  }
});

test('a pod runs for twice as long as its last start took, up to half an hour', () => {
  expect(
    [undefined, 45_000, 3_600_000].map((startTookMs) => minimumUptimeMs({ startTookMs: startTookMs ?? 0 })),
  ).toEqual([0, 90_000, 1_800_000]);
  const time = new IdleTime(POD, 0);
  const look = (nowMs: number) =>
    time.look({ startTookMs: 5 * MINUTE_MS }, MINUTE_MS, { use: idle(null), workers }, nowMs);
  expect(look(9 * MINUTE_MS)).toMatchObject({ isDue: false });
  expect(look(10 * MINUTE_MS)).toMatchObject({ isDue: true });
});

test('without an answer of all nothing is decided; the answers that follow say whether it was used meanwhile', () => {
  const unknown = {
    use: { kind: 'unknown', why: 'replica b did not answer' } as JudgedUse,
    workers: new Set<string>(),
  };
  const isAway = (nowMs: number): boolean => nowMs >= 30_000 && nowMs < 90_000;
  for (const [usedMs, least, most] of [
    [Infinity, 90_000, 96_000],
    [50_000, 150_000, 162_000],
  ] as const) {
    const due = dueAfterMs(new IdleTime(POD, 0), (nowMs) =>
      isAway(nowMs) ? unknown : { use: idle(nowMs >= usedMs ? 7 : null), workers },
    );
    expect(due).toBeGreaterThanOrEqual(least);
    expect(due).toBeLessThanOrEqual(most);
  }
});
