import { expect, test } from 'vitest';
import { createReadinessExercise } from '../../../control/resources/health/readiness-exercise.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { CommitResult } from '../../../core/store.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';

const COMMITTED: CommitResult = { kind: 'committed', commit: 1 };

test.each([
  ['commit: SQLITE_FULL: database or disk is full', 'writes fail: it is full'],
  ["OOM command not allowed when used memory > 'maxmemory'", 'writes fail: it is full'],
  ['get: SQLITE_CORRUPT: database disk image is malformed', 'damaged'],
  ['commit: SQLITE_IOERR: disk I/O error', 'writes fail: the disk does not work'],
  ['the connection to redis://secret@10.0.0.1 is lost', 'writes fail'],
])('a store that says "%s" shows as "%s", until a write works again', async (detail, shown) => {
  let isBroken = true;
  const stop = new AbortController();
  const exercise = createReadinessExercise({
    store: {
      commit: async () => {
        if (isBroken) throw new PodgateError('store.unavailable', { detail });
        return COMMITTED;
      },
    },
    isTrusted: () => true,
    callApi: async () => undefined,
    log: silentLog,
    everyMs: 5,
  });
  const running = exercise.run(stop.signal);
  await until('it shows', () => exercise.store() === shown);
  isBroken = false;
  await until('it is gone', () => exercise.store() === null);
  stop.abort();
  await running;
});

test('a suspect store is not written to, damage is checked once a minute, and a failing API is reported', async () => {
  let commits = 0;
  let looks = 0;
  let turns = 0;
  const stop = new AbortController();
  const exercise = createReadinessExercise({
    store: {
      commit: async () => {
        commits += 1;
        return COMMITTED;
      },
    },
    isTrusted: () => false,
    examine: async () => {
      looks += 1;
      return 'row 3 missing from index';
    },
    callApi: async () => {
      turns += 1;
      throw new Error('ENOENT /secret/path/api.sock');
    },
    log: silentLog,
    everyMs: 5,
  });
  const running = exercise.run(stop.signal);
  await until('several turns', () => turns >= 5);
  expect([commits, looks]).toEqual([0, 1]);
  expect([exercise.store(), exercise.api()]).toEqual(['damaged', 'calls through the gateway fail']);
  stop.abort();
  await running;
});

test('one late call of the API is not a failure, two in a row are', async () => {
  const late = (): Promise<never> => Promise.reject(new DOMException('late', 'AbortError'));
  const outcomes = [late, async () => undefined, late, late];
  const shown: (string | null)[] = [];
  const stop = new AbortController();
  const exercise = createReadinessExercise({
    store: { commit: async () => COMMITTED },
    isTrusted: () => true,
    callApi: async () => {
      shown.push(exercise.api());
      const outcome = outcomes.shift();
      if (outcome === undefined) stop.abort();
      else await outcome();
    },
    log: silentLog,
    everyMs: 1,
  });
  await exercise.run(stop.signal);
  expect(shown).toEqual([null, null, null, null, 'calls through the gateway fail']);
});
