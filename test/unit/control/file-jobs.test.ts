import { expect, test } from 'vitest';
import { FileJobs } from '../../../control/objects/files/file-jobs.ts';
import { silentLog } from '../../support/silent-log.ts';

/** Two run at a time. Each job runs until `end` is called with its name; `began` names those that have begun. */
function stage() {
  const jobs = new FileJobs(silentLog);
  const began: string[] = [];
  const ends = new Map<string, () => void>();
  const run = (name: string): void => {
    void jobs.run(name, () => {
      began.push(name);
      return new Promise((resolve) => ends.set(name, resolve));
    });
  };
  return { jobs, began, run, end: (name: string) => ends.get(name)?.() };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('no third copy begins when one comes at the very moment at which another ends', async () => {
  const { began, run, end } = stage();
  for (const name of ['first', 'second', 'third']) run(name);
  await turn();
  expect(began).toEqual(['first', 'second']);
  end('first');
  // After the first has left its place, and before the third goes on.
  queueMicrotask(() => run('fourth'));
  await turn();
  expect(began).toEqual(['first', 'second', 'third']);
  end('second');
  await turn();
  expect(began).toEqual(['first', 'second', 'third', 'fourth']);
});

test('a copy that waits for its turn can be cancelled at once, and never begins', async () => {
  const { jobs, began, run, end } = stage();
  for (const name of ['first', 'second', 'third', 'fourth']) run(name);
  await jobs.cancel('third');
  end('first');
  await turn();
  expect(began).toEqual(['first', 'second', 'fourth']);
});
