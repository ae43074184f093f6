import { expect, test } from 'vitest';
import { FileJobs } from '../../../control/objects/files/file-jobs.ts';
import { silentLog } from '../../support/silent-log.ts';

/** A job that runs until it is told to end, and says so in `began`. */
function longJob(name: string, began: string[]) {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const work = (): Promise<undefined> => {
    began.push(name);
    return promise;
  };
  return { work, end: () => resolve(undefined) };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('no third copy begins when one comes at the very moment at which another ends', async () => {
  const jobs = new FileJobs(silentLog);
  const began: string[] = [];
  const [first, second, third, fourth] = [
    longJob('first', began),
    longJob('second', began),
    longJob('third', began),
    longJob('fourth', began),
  ];
  const done = jobs.run('first', first.work);
  void jobs.run('second', second.work);
  void jobs.run('third', third.work);
  // As soon as the first one has ended, in the same turn of the event loop.
  void done.then(() => jobs.run('fourth', fourth.work));
  first.end();
  await turn();
  expect(began).toEqual(['first', 'second', 'third']);
  second.end();
  await turn();
  expect(began).toEqual(['first', 'second', 'third', 'fourth']);
});

test('a copy that waits for its turn can be cancelled at once, and never begins', async () => {
  const jobs = new FileJobs(silentLog);
  const began: string[] = [];
  const [first, second, third, fourth] = [
    longJob('first', began),
    longJob('second', began),
    longJob('third', began),
    longJob('fourth', began),
  ];
  void jobs.run('first', first.work);
  void jobs.run('second', second.work);
  void jobs.run('third', third.work);
  void jobs.run('fourth', fourth.work);
  await jobs.cancel('third');
  first.end();
  await turn();
  expect(began).toEqual(['first', 'second', 'fourth']);
});
