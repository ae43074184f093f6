import { getEventListeners } from 'node:events';
import { expect, it } from 'vitest';
import { createWakeup } from '../../../control/store/wakeup.ts';

it('a wake-up resumes all waiters, and leaves no listener behind', async () => {
  const wakeup = createWakeup();
  const { signal } = new AbortController();
  const waiting = [wakeup.wait(null, signal), wakeup.wait(60_000, signal)];
  wakeup.wake();
  await Promise.all(waiting);
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});

it('a wait ends after its time, never earlier', async () => {
  const startedAt = performance.now();
  await createWakeup().wait(30, new AbortController().signal);
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(28);
});

it('a wait ends when the signal aborts, and at once when it already has', async () => {
  const wakeup = createWakeup();
  const aborting = new AbortController();
  const waiting = wakeup.wait(null, aborting.signal);
  aborting.abort();
  await waiting;
  await wakeup.wait(null, aborting.signal);
});

it('a wake-up before the wait does not count', async () => {
  const wakeup = createWakeup();
  wakeup.wake();
  const startedAt = performance.now();
  await wakeup.wait(30, new AbortController().signal);
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(28);
});
