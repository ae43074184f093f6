import { afterEach, beforeEach, expect, it } from 'vitest';
import { committed } from '../../contract/store-harness.ts';
import { podPut } from '../../../core/pod-put.ts';
import { podRecord } from '../../support/pod-records.ts';
import { createRedisStage, outcome, putPod, type RedisStage } from './redis-stage.ts';

let stage: RedisStage;
beforeEach(async () => {
  stage = await createRedisStage();
});
afterEach(() => stage.end());

it('a full Redis refuses whole commits, serves reads, lets work finish, and continues when there is space', async () => {
  const { store, queue, lock, logs } = await stage.open();
  const first = await committed(store.commit({ puts: [putPod('kept', 'absent')], enqueue: [{ key: 'work' }] }));
  const claim = await queue.claim(60_000, AbortSignal.timeout(5_000));
  if (claim === null) throw new Error('nothing to claim');
  const lease = await lock.acquire('health', 60_000);
  if (lease === null) throw new Error('the lock is held');
  const before = await store.identity();

  await stage.admin('CONFIG', 'SET', 'maxmemory', '1mb');
  const attempts = [
    store.commit({ puts: [putPod('a', 'absent'), putPod('b', 'absent')], enqueue: [{ key: 'a' }] }),
    store.commit({ puts: [putPod('kept', first)] }),
    store.commit({}),
    queue.add('b'),
    logs.appendAction('uid', 'line'),
    logs.saveOutput('uid', 1, 'text'),
  ];
  expect(new Set(await Promise.all(attempts.map(outcome)))).toEqual(new Set(['store.unavailable']));
  expect(await store.identity()).toEqual(before);
  expect((await store.list('pod', { limit: 10 })).map(({ key }) => key)).toEqual(['kept']);
  expect(await queue.stats()).toEqual({ due: 0, delayed: 0, leased: 1, parked: 0 });
  expect(await lock.renew(lease, 60_000)).toBe(true);
  expect(await queue.acknowledge(claim)).toBe(true);

  // What ends something is taken: otherwise nobody could make room.
  const record = podRecord({ wish: 'OFF', podId: 'kept' });
  const stopped = await committed(
    store.commit({ puts: [{ ...podPut(record, first), key: 'kept' }], enqueue: [{ key: 'work' }] }),
  );
  await committed(store.commit({ deletes: [{ kind: 'pod', key: 'kept', expected: stopped, uid: 'uid' }] }));
  expect(await store.list('pod', { limit: 10 })).toEqual([]);
  expect(await queue.claim(60_000, AbortSignal.timeout(5_000))).not.toBeNull();

  await stage.admin('CONFIG', 'SET', 'maxmemory', '0');
  expect(await store.commit({ puts: [putPod('a', 'absent')] })).toEqual({
    kind: 'committed',
    commit: before.commits + 3,
  });
});

it('a Redis that becomes full during commits has each of them completely or not at all', async () => {
  const { store } = await stage.open();
  const used = /used_memory:(\d+)/.exec(String(await stage.admin('INFO', 'memory')))?.[1];
  await stage.admin('CONFIG', 'SET', 'maxmemory', String(Number(used) + 400_000));
  const results = await Promise.all(
    Array.from({ length: 200 }, (_, n) =>
      outcome(store.commit({ puts: [putPod(`a${n}`, 'absent', 'x'.repeat(3_000)), putPod(`b${n}`, 'absent')] })),
    ),
  );
  const done = results.filter((result) => result === 'done').length;
  expect(done).toBeGreaterThan(0);
  expect(done).toBeLessThan(200);
  const keys = new Set((await store.list('pod', { limit: 1_000 })).map(({ key }) => key));
  expect(keys.size).toBe(2 * done);
  for (const [n, result] of results.entries()) {
    expect([keys.has(`a${n}`), keys.has(`b${n}`)]).toEqual([result === 'done', result === 'done']);
  }
  expect((await store.identity()).commits).toBe(done);
});
