import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { watchProcessNumbers } from '../../../main/process-numbers.ts';

function hold(ms: number): void {
  const untilMs = performance.now() + ms;
  while (performance.now() < untilMs);
}

test('a blocked event loop is noticed, in a busy process and in an idle one', async () => {
  const numbers = watchProcessNumbers();
  const stall = async (ms: number): Promise<number> => {
    await delay(250);
    numbers();
    hold(ms);
    await delay(1_250);
    return numbers().eventLoopDelayMaxSeconds;
  };
  expect(await stall(600)).toBeGreaterThan(0.3);
  // Long enough for it to look less often.
  await delay(4_500);
  const seconds = await stall(100);
  expect(seconds).toBeGreaterThan(0.09);
  // Work in many short turns is no delay.
  await delay(4_500);
  numbers();
  for (let turn = 0; turn < 40; turn += 1) {
    hold(5);
    await delay(1);
  }
  await delay(1_100);
  expect(numbers().eventLoopDelayMaxSeconds).toBeLessThan(0.15);
});
