import { expect, test, vi } from 'vitest';
import { setGuardedInterval } from '../../../core/guarded-timer.ts';

test('what a guarded timer throws is logged at most once a minute, and the turns go on', () => {
  vi.useFakeTimers();
  try {
    const logged: object[] = [];
    let turns = 0;
    const timer = setGuardedInterval({
      everyMs: 1_000,
      work: () => {
        turns += 1;
        throw new Error('EMFILE');
      },
      name: 'a test',
      log: { error: (fields) => logged.push(fields) },
    });
    vi.advanceTimersByTime(59_000);
    expect(turns).toBe(59);
    expect(logged).toEqual([{ timer: 'a test', error: 'EMFILE' }]);
    vi.advanceTimersByTime(10_000);
    expect(logged).toHaveLength(2);
    timer.now();
    expect(turns).toBe(70);
    timer.stop();
    timer.now();
    vi.advanceTimersByTime(1_000);
    expect(turns).toBe(70);
  } finally {
    vi.useRealTimers();
  }
});
