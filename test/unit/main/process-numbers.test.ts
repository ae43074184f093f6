import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { watchProcessNumbers } from '../../../main/process-numbers.ts';

test('a blocked event loop is noticed, in a busy process and in an idle one', async () => {
  const numbers = watchProcessNumbers();
  const stall = async (): Promise<number> => {
    await delay(250);
    numbers();
    const untilMs = performance.now() + 600;
    while (performance.now() < untilMs);
    await delay(250);
    return numbers().eventLoopDelayMaxSeconds;
  };
  expect(await stall()).toBeGreaterThan(0.3);
  // Long enough for it to look less often.
  await delay(4_500);
  expect(await stall()).toBeGreaterThan(0.3);
});
