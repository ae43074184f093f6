import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisDatabase } from '../../../control/store/redis/redis-database.ts';
import { committed } from '../../contract/store-harness.ts';
import { until } from '../../support/until.ts';
import { fenceOf } from '../../../core/lock.ts';
import { createRedisStage, putPod, read, SITE, type RedisStage } from './redis-stage.ts';

const META = `podgate:{${SITE}}:meta`;
const HOURS_12_US = 12 * 3_600 * 1_000_000;
const never = new AbortController().signal;

let stage: RedisStage;
let one: RedisDatabase;
let two: RedisDatabase;
beforeEach(async () => {
  stage = await createRedisStage();
  [one, two] = [await stage.open(), await stage.open()];
});
afterEach(() => stage.end());

describe('two replicas on one Redis', () => {
  it("see each other's commits at once", async () => {
    const feed = read(two.store, 0);
    let slowest = 0;
    for (let n = 1; n <= 20; n++) {
      const waiting = feed.next();
      await sleep(10);
      const startedAt = performance.now();
      await committed(one.store.commit({ puts: [putPod(`p${n}`, 'absent')] }));
      expect(await waiting).toMatchObject({ kind: 'put', commit: n });
      slowest = Math.max(slowest, performance.now() - startedAt);
    }
    expect(slowest).toBeLessThan(1_000);
    await feed.stop();
  });

  it('wake each other for keys that were added, committed, released or are due later', async () => {
    const claimed = async (wakeUp: () => Promise<unknown>): Promise<string | undefined> => {
      const waiting = two.queue.claim(10_000, AbortSignal.timeout(3_000));
      await sleep(20);
      await wakeUp();
      return (await waiting)?.key;
    };
    expect(await claimed(() => one.queue.add('added'))).toBe('added');
    expect(await claimed(() => one.store.commit({ enqueue: [{ key: 'committed' }] }))).toBe('committed');
    expect(await claimed(() => one.queue.add('later', { delayMs: 100 }))).toBe('later');
    await one.queue.add('back');
    const claim = await one.queue.claim(10_000, never);
    if (claim === null) throw new Error('nothing to claim');
    expect(await claimed(() => one.queue.retry(claim, 0))).toBe('back');
  });

  it('share one order of turns', async () => {
    for (let n = 0; n < 4; n++) await one.queue.add(`alice/${n}`, { share: 'alice' });
    for (let n = 0; n < 2; n++) await two.queue.add(`bob/${n}`, { share: 'bob' });
    const keys: (string | undefined)[] = [];
    for (let n = 0; n < 6; n++) keys.push((await (n % 2 === 0 ? one : two).queue.claim(10_000, never))?.key);
    expect(keys).toEqual(['alice/0', 'bob/0', 'alice/1', 'bob/1', 'alice/2', 'alice/3']);
  });

  it('claim the keys of a dead replica when its lease ends', async () => {
    await one.queue.add('key');
    expect((await one.queue.claim(200, never))?.key).toBe('key');
    one.close();
    expect((await two.queue.claim(10_000, AbortSignal.timeout(3_000)))?.key).toBe('key');
  });

  it('exclude each other by the lock, and the replaced one can no longer write', async () => {
    const slow = await one.lock.acquire('health', 50);
    expect(await two.lock.acquire('health', 50)).toBeNull();
    await sleep(60);
    const next = await two.lock.acquire('health', 10_000);
    if (slow === null || next === null) throw new Error('expected two leases, one after the other');
    expect(next.fence).toBeGreaterThan(slow.fence);
    await committed(two.store.commit({ fence: fenceOf(next) }));
    expect(await one.store.commit({ puts: [putPod('a', 'absent')], fence: fenceOf(slow) })).toEqual({ kind: 'fenced' });
  });
});

describe('a server whose clock is corrected by 12 hours', () => {
  /** As if the clock had been elsewhere until now: the difference is all that the store ever sees. */
  async function jump(us: number): Promise<void> {
    const wall = Number(await stage.admin('HGET', META, 'wall'));
    await stage.admin('HSET', META, 'wall', String(wall - us));
  }

  it.each([
    ['ahead', HOURS_12_US],
    ['back', -HOURS_12_US],
  ])('%s neither ends a lease nor makes it endless', async (_, us) => {
    await one.queue.add('held');
    await one.queue.add('dead');
    await one.queue.add('delayed', { delayMs: 60_000 });
    const held = await one.queue.claim(45_000, never);
    const lease = await one.lock.acquire('held', 45_000);
    if (held === null || lease === null) throw new Error('nothing to claim');
    await jump(us);
    expect(await two.lock.acquire('held', 1_000)).toBeNull();
    expect(await one.lock.renew(lease, 45_000)).toBe(true);
    expect(await one.queue.extend(held, 45_000)).toBe(true);
    expect((await one.queue.claim(100, never))?.key).toBe('dead');
    expect(await one.lock.acquire('dead', 100)).not.toBeNull();
    expect((await one.queue.stats()).delayed).toBe(1);
    expect((await two.queue.claim(10_000, AbortSignal.timeout(3_000)))?.key).toBe('dead');
    await until('the lock is free', () => two.lock.acquire('dead', 100), { timeoutMs: 3_000 });
  });
});

it('runs its scripts on a server that has lost them', async () => {
  await committed(one.store.commit({ puts: [putPod('a', 'absent')] }));
  await stage.admin('SCRIPT', 'FLUSH');
  await committed(one.store.commit({ puts: [putPod('b', 'absent')] }));
});

it('keeps tombstones for seven days of the server’s time, then deletes them', async () => {
  const { store } = one;
  const put = await committed(store.commit({ puts: [putPod('gone', 'absent')] }));
  await committed(store.commit({ deletes: [{ kind: 'pod', key: 'gone', expected: put, uid: 'uid' }] }));
  const age = async (days: number): Promise<void> => {
    const us = Number(await stage.admin('HGET', META, 'age')) + days * 86_400 * 1_000_000;
    await stage.admin('HSET', META, 'age', String(us));
    for (let n = 0; n < 100; n++) await committed(store.commit({}));
  };
  await age(6.9);
  expect(await store.tombstone('pod', 'gone')).not.toBeNull();
  await age(0.2);
  expect(await store.tombstone('pod', 'gone')).toBeNull();
});

it('stores every key under the tag of its site, and leaves none of a removed record or pod', async () => {
  const { store, queue, logs } = one;
  const put = await committed(store.commit({ puts: [putPod('a', 'absent')], enqueue: [{ key: 'a', share: 'alice' }] }));
  await logs.appendAction('uid', 'line');
  await logs.saveOutput('uid', 1, 'text');
  const claim = await queue.claim(1_000, never);
  if (claim !== null) await queue.acknowledge(claim);
  await committed(store.commit({ deletes: [{ kind: 'pod', key: 'a', expected: put, uid: 'uid' }] }));
  await logs.remove('uid');
  const keys = (await stage.admin('KEYS', '*')) as string[];
  for (const key of keys) expect(key.startsWith(`podgate:{${SITE}}:`)).toBe(true);
  const names = keys.map((key) => key.slice(`podgate:{${SITE}}:`.length)).sort();
  expect(names).toEqual(['feed', 'history', 'meta', 'queue:turns', 'tombstone-ages', 'tombstones', 'wakes']);
});
