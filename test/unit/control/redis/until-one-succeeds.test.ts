import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { untilOneSucceeds } from '../../../../control/store/redis/until-one-succeeds.ts';

const HOUR_MS = 3_600_000;
const ATTEMPT_MS = 3_000;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** A server at an address that drops packets until it is back; attempts then under way still take their whole deadline. */
function server(howItFails: 'at once' | 'after its deadline') {
  let isBack = false;
  const state = { underWay: 0, mostUnderWay: 0, attempts: 0 };
  return {
    state,
    comesBack: () => void (isBack = true),
    attempt: async (): Promise<void> => {
      const answers = isBack;
      state.attempts += 1;
      state.underWay += 1;
      state.mostUnderWay = Math.max(state.mostUnderWay, state.underWay);
      if (!answers && howItFails === 'after its deadline') await new Promise((done) => setTimeout(done, ATTEMPT_MS));
      state.underWay -= 1;
      if (!answers) throw new Error('away');
    },
  };
}

test.each(['at once', 'after its deadline'] as const)(
  'a server whose attempts fail %s is found within 2 s of its return, however long it was away',
  async (how) => {
    for (const awayMs of [0, 1_000, 61_234, HOUR_MS]) {
      const { state, attempt, comesBack } = server(how);
      let isDone = false;
      const signal = new AbortController().signal;
      const done = untilOneSucceeds({ attempt, onFailure: () => undefined, signal }).then(() => (isDone = true));
      await vi.advanceTimersByTimeAsync(awayMs);
      comesBack();
      await vi.advanceTimersByTimeAsync(2_000);
      expect(isDone).toBe(true);
      await done;
      expect(state.mostUnderWay).toBeLessThanOrEqual(3);
      // Back-off: at most two a second, once it has grown.
      expect(state.attempts).toBeLessThan(10 + (2 * awayMs) / 1_000);
      const { attempts } = state;
      await vi.advanceTimersByTimeAsync(10_000);
      expect(state.attempts).toBe(attempts);
    }
  },
);

test('an error that onFailure throws ends the attempts at once', async () => {
  const { state, attempt } = server('at once');
  const onFailure = (error: unknown): void => {
    if (state.attempts === 3) throw error;
  };
  const done = untilOneSucceeds({ attempt, onFailure, signal: new AbortController().signal });
  await Promise.all([expect(done).rejects.toThrow('away'), vi.advanceTimersByTimeAsync(10_000)]);
  expect(state.attempts).toBe(3);
});

test('an abort signal ends it at once, whatever is in progress', async () => {
  const { state, attempt } = server('after its deadline');
  const aborting = new AbortController();
  const done = untilOneSucceeds({ attempt, onFailure: () => undefined, signal: aborting.signal });
  await vi.advanceTimersByTimeAsync(500);
  aborting.abort();
  await done;
  await vi.advanceTimersByTimeAsync(10_000);
  expect(state.attempts).toBe(1);
});
