import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { OutputPause } from '../../../control/resources/pods/exec/output-pause.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Whether output goes on once that much time has passed. */
async function isOverAfter(pause: OutputPause, ms: number): Promise<boolean> {
  let isOver = false;
  void pause.over().then(() => (isOver = true));
  await vi.advanceTimersByTimeAsync(ms);
  return isOver;
}

test('output waits until the client asks to go on', async () => {
  const pause = new OutputPause();
  expect(await isOverAfter(pause, 0)).toBe(true);
  pause.begin();
  expect(await isOverAfter(pause, 500)).toBe(false);
  pause.resume();
  expect(await isOverAfter(pause, 0)).toBe(true);
});

test('a pause ends after a second, unless it is asked for again', async () => {
  const pause = new OutputPause();
  pause.begin();
  expect(await isOverAfter(pause, 999)).toBe(false);
  pause.begin();
  expect(await isOverAfter(pause, 999)).toBe(false);
  expect(await isOverAfter(pause, 1)).toBe(true);
});
