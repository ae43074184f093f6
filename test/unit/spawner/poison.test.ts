import { expect, it } from 'vitest';
import { PodgateError } from '../../../core/errors.ts';
import { isPoisoned } from '../../../spawner/poison.ts';

it('a key that throws five times in a row is poisoned', () => {
  const bug = new TypeError('x is not a function');
  expect(isPoisoned({ count: 4, madeMeanwhile: 9 }, bug)).toBe(false);
  expect(isPoisoned({ count: 5, madeMeanwhile: 0 }, bug)).toBe(true);
});

it.each(['store.unavailable', 'orchestrator.unavailable'] as const)(
  'an outage (%s) poisons no key, however long it lasts, unless others were served meanwhile',
  (code) => {
    const outage = new PodgateError(code);
    expect(isPoisoned({ count: 1_000, madeMeanwhile: 0 }, outage)).toBe(false);
    expect(isPoisoned({ count: 9, madeMeanwhile: 5 }, outage)).toBe(false);
    expect(isPoisoned({ count: 10, madeMeanwhile: 1 }, outage)).toBe(true);
  },
);
