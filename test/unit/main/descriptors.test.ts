import { expect, test, vi } from 'vitest';
import { createAcceptPause } from '../../../main/accept-pause.ts';
import { descriptorsFor, planDescriptors } from '../../../main/descriptor-plan.ts';
import { silentLog } from '../../support/silent-log.ts';

test.each([256, 1_024, 4_096, 20_000, 1_048_576])('with %i descriptors each connection can have a backend', (limit) => {
  const { maxConnections, pauseAt, resumeAt } = planDescriptors(limit);
  expect(maxConnections).toBeGreaterThanOrEqual(16);
  expect(2 * maxConnections + 64).toBeLessThanOrEqual(pauseAt);
  expect(resumeAt).toBeLessThan(pauseAt);
  expect(pauseAt).toBeLessThan(limit);
});

test.each([NaN, Infinity])('without a known limit (%d) nothing is bounded', (limit) => {
  expect(planDescriptors(limit)).toEqual({ maxConnections: Infinity, pauseAt: Infinity, resumeAt: Infinity });
});

test('even a very low limit leaves room for some connections, and accepting pauses in time', () => {
  const { maxConnections, pauseAt } = planDescriptors(80);
  expect(maxConnections).toBe(16);
  expect(pauseAt).toBeLessThan(80);
});

test.each([1, 100, 5_000, 10_000, 200_000])(
  'the limit said to be needed for %i connections is enough',
  (connections) => {
    const needed = descriptorsFor(connections);
    expect(planDescriptors(needed).maxConnections).toBeGreaterThanOrEqual(connections);
    expect(planDescriptors(Math.floor(needed * 0.9)).maxConnections).toBeLessThan(Math.max(17, connections));
  },
);

test('accepting pauses at the first count above the limit, once, and resumes when a count shows room', async () => {
  vi.useFakeTimers();
  try {
    const said: string[] = [];
    let open = 100;
    let lowest = 10;
    const pausing = createAcceptPause({
      plan: { pauseAt: 90, resumeAt: 80 },
      lowestFree: () => lowest,
      count: async () => open,
      pause: () => said.push('pause'),
      resume: () => said.push('resume'),
      log: silentLog,
    });
    pausing.taken(89);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(said).toEqual([]);
    pausing.taken(90);
    pausing.taken(91);
    // A hole among the numbers: many are open all the same.
    lowest = 5;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(said).toEqual(['pause']);
    expect(pausing.isPaused).toBe(true);
    open = 80;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(said).toEqual(['pause', 'resume']);
    // Backends take descriptors too; nobody reports those. While few are in use, it looks less often.
    lowest = 5;
    await vi.advanceTimersByTimeAsync(500);
    [open, lowest] = [100, Infinity];
    await vi.advanceTimersByTimeAsync(500);
    expect(said).toEqual(['pause', 'resume', 'pause']);
    [open, lowest] = [5, 5];
    await vi.advanceTimersByTimeAsync(500);
    expect(said.slice(3)).toEqual(['resume']);
    // A client that gets a number that is not low makes it look often again.
    pausing.taken(23);
    [open, lowest] = [100, Infinity];
    await vi.advanceTimersByTimeAsync(100);
    expect(said.slice(4)).toEqual(['pause']);
    pausing.close();
  } finally {
    vi.useRealTimers();
  }
});
