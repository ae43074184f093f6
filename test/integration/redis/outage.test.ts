import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { committed } from '../../contract/store-harness.ts';
import { until } from '../../support/until.ts';
import { openWay } from './frozen-way.ts';
import type { RedisDatabase } from '../../../control/store/redis/redis-database.ts';
import { createStoreMemory } from '../../../control/store/store-guard.ts';
import { createRedisStage, DEADLINE_MS, outcome, putPod, read, SITE, type RedisStage } from './redis-stage.ts';

let stage: RedisStage;
beforeEach(async () => {
  stage = await createRedisStage();
});
afterEach(() => stage.end());

describe('a server that is stopped', () => {
  it('fails every call within its deadline, and is used again when it continues', async () => {
    const { store, queue, lock, logs } = await stage.open();
    const first = await committed(store.commit({ puts: [putPod('one', 'absent')] }));
    stage.server.signal('SIGSTOP');
    for (let round = 0; round < 3; round++) {
      const startedAt = performance.now();
      const results = await Promise.all(
        [
          store.commit({ puts: [putPod('one', first)] }),
          store.get('pod', 'one'),
          store.list('pod', { limit: 1 }),
          store.identity(),
          queue.add('key'),
          queue.claim(1_000, new AbortController().signal),
          lock.acquire('name', 1_000),
          logs.appendAction('uid', 'line'),
          read(store, 0).next(),
        ].map(outcome),
      );
      expect(results).toEqual(Array.from({ length: 9 }, () => 'store.unavailable'));
      expect(performance.now() - startedAt).toBeLessThan(2 * DEADLINE_MS);
    }
    stage.server.signal('SIGCONT');
    const record = await until('an answer again', () => store.get('pod', 'one').catch(() => null));
    // What was sent before the deadline may be done, or not; never twice.
    expect([first, first + 1]).toContain(record.revision);
    await committed(store.commit({ puts: [putPod('one', record.revision)] }));
  });
});

it('a claim that is granted after its signal has aborted is released', async () => {
  const { queue } = await stage.open();
  await queue.add('key');
  const aborting = new AbortController();
  const claim = queue.claim(60_000, aborting.signal);
  await new Promise((resolve) => setImmediate(resolve));
  stage.server.signal('SIGSTOP');
  aborting.abort();
  stage.server.signal('SIGCONT');
  expect(await claim).toBeNull();
  expect(await queue.stats()).toEqual({ due: 1, delayed: 0, leased: 0, parked: 0 });
});

describe('a connection that no longer responds', () => {
  it('is replaced after one deadline, for callers and for waiters', async () => {
    const way = await openWay(stage.server.port);
    try {
      const { store } = await stage.open({ url: `redis://127.0.0.1:${way.port}` });
      const first = await committed(store.commit({ puts: [putPod('one', 'absent')] }));
      // So that the server knows the script, and what follows is sent in this order.
      await read(store, 0).next();
      way.freeze();
      const startedAt = performance.now();
      expect(await outcome(store.get('pod', 'one'))).toBe('store.unavailable');
      expect(performance.now() - startedAt).toBeLessThan(2 * DEADLINE_MS);
      expect(
        await until('an answer', () => store.get('pod', 'one').catch(() => null), { timeoutMs: 2_000 }),
      ).toMatchObject({ revision: first });
      // Who watches for changes notices when the read that blocks does not end.
      const feed = read(store, first);
      const next = feed.next();
      const second = await committed(store.commit({ puts: [putPod('one', first)] }));
      expect(await next).toMatchObject({ kind: 'put', commit: second });
      await feed.stop();
    } finally {
      await way.close();
    }
  });
});

describe('a server that is away', () => {
  it('fails calls at once, queues none, and is used again when it is back', async () => {
    const { store, queue } = await stage.open();
    const first = await committed(store.commit({ puts: [putPod('one', 'absent')] }));
    await stage.server.kill();
    await until('the loss is noticed', async () => (await outcome(store.identity())) === 'store.unavailable');
    const startedAt = performance.now();
    expect(await outcome(store.commit({ puts: [putPod('one', first)] }))).toBe('store.unavailable');
    expect(await outcome(queue.add('key'))).toBe('store.unavailable');
    expect(performance.now() - startedAt).toBeLessThan(100);
    await stage.server.start();
    expect(await until('an answer again', () => store.get('pod', 'one').catch(() => null))).toMatchObject({
      revision: first,
    });
    expect(await queue.stats()).toEqual({ due: 0, delayed: 0, leased: 0, parked: 0 });
  });

  it('interrupts a feed, which resumes where it was', async () => {
    const { store } = await stage.open();
    const first = await committed(store.commit({ puts: [putPod('one', 'absent')] }));
    const waiting = outcome(read(store, first).next());
    await stage.server.kill();
    expect(await waiting).toBe('store.unavailable');
    await stage.server.start();
    await until('an answer again', () => store.identity().catch(() => null));
    const feed = read(store, first);
    const next = feed.next();
    const second = await committed(store.commit({ puts: [putPod('one', first)] }));
    expect(await next).toMatchObject({ kind: 'put', commit: second });
    await feed.stop();
  });

  it('fails to open, soon and with an explanation', async () => {
    await stage.server.kill();
    await expect(stage.open()).rejects.toMatchObject({
      code: 'store.unavailable',
      publicMessages: [
        expect.stringMatching(/^The Redis at redis:\/\/127\.0\.0\.1:\d+ does not answer: .*ECONNREFUSED/),
      ],
    });
  });
});

describe('a store that was replaced while in use', () => {
  /** What the process does on a store that lacks what it has seen: it reads, and writes nothing. */
  async function refuses({ store, queue, lock }: RedisDatabase): Promise<void> {
    const keys = async () => JSON.stringify(await stage.admin('HGETALL', `podgate:{${SITE}}:meta`));
    const before = await keys();
    expect(await outcome(store.commit({ puts: [putPod('new', 'absent')] }))).toBe('store.suspect');
    expect(await outcome(queue.add('key'))).toBe('store.suspect');
    expect(await outcome(lock.acquire('name', 1_000))).toBe('store.suspect');
    expect(await store.get('pod', 'new')).toBeNull();
    expect(await keys()).toBe(before);
  }

  it('by nothing (FLUSHALL) is suspect, gets no identity, and after a recovery gives readers a gap', async () => {
    const database = await stage.open();
    const { store, guard } = database;
    for (let n = 0; n < 3; n++) await committed(store.commit({ puts: [putPod(`p${n}`, 'absent')] }));
    const before = await store.identity();
    const feed = read(store, 2);
    expect(await feed.next()).toMatchObject({ kind: 'put', commit: 3 });
    const waiting = feed.next();
    await stage.admin('FLUSHALL');
    await refuses(database);
    expect(await store.identity()).toMatchObject({ storeId: '', commits: 0 });
    expect(guard.suspicion()).toBe('the store is empty');
    expect(await stage.admin('EXISTS', `podgate:{${SITE}}:meta`)).toBe(0);

    const view = await database.forRecovery();
    const adopted = await view.store.adopt({ ...before, commits: 100, fence: 0, replaces: [] });
    expect(await store.identity()).toEqual(adopted);
    expect(guard.suspicion()).toBeNull();
    expect(await waiting).toEqual({ kind: 'gap', commit: adopted.commits });
    await committed(store.commit({ puts: [putPod('new', 'absent')] }));
    expect(await feed.next()).toMatchObject({ kind: 'put', record: { key: 'new' } });
    await feed.stop();
  });

  it('by an empty server, before or after the process was started, is suspect', async () => {
    const memory = createStoreMemory();
    const database = await stage.open({ memory });
    await committed(database.store.commit({ puts: [putPod('one', 'absent')] }));
    await stage.server.kill();
    rmSync(join(stage.server.folder, 'appendonlydir'), { recursive: true });
    await stage.server.start();
    await until('an answer again', () => database.store.identity().catch(() => null));
    await refuses(database);
    database.close();
    await refuses(await stage.open({ memory }));
  });

  it('by an older copy is suspect, even when others have written past what was lost; fences keep increasing', async () => {
    const memory = createStoreMemory();
    const database = await stage.open({ memory });
    const { store, lock, guard } = database;
    await committed(store.commit({ puts: [putPod('a', 'absent')] }));
    const before = await store.identity();
    // It has seen what is in the copy, and nothing of what comes after it.
    const behind = createStoreMemory(guard.mark());
    const data = join(stage.server.folder, 'appendonlydir');
    const copy = join(stage.server.folder, 'copy');
    await stage.server.kill();
    cpSync(data, copy, { recursive: true });
    await stage.server.start();
    await until('an answer again', () => store.identity().catch(() => null));

    await committed(store.commit({ puts: [putPod('lost', 'absent')] }));
    const lease = await lock.acquire('health', 60_000);
    const feed = read(store, 0);
    expect(await feed.next()).toMatchObject({ commit: 1 });
    expect(await feed.next()).toMatchObject({ commit: 2, record: { key: 'lost' } });

    await stage.server.kill();
    rmSync(data, { recursive: true });
    cpSync(copy, data, { recursive: true });
    await stage.server.start();
    expect(await until('an answer again', () => store.identity().catch(() => null))).toEqual(before);
    expect(guard.suspicion()).toBe('the store is older than last seen');
    await refuses(database);

    const other = await stage.open({ memory: behind });
    for (const key of ['x', 'y', 'z']) await committed(other.store.commit({ puts: [putPod(key, 'absent')] }));
    expect(await store.identity()).toMatchObject({ commits: 4 });
    expect(guard.suspicion()).toContain('an older copy that has been changed since');
    await refuses(database);
    const waiting = feed.next();
    const afterRestart = await stage.open({ memory });
    await refuses(afterRestart);

    const view = await database.forRecovery();
    const fence = guard.mark()?.fence ?? 0;
    await view.store.adopt({ ...before, commits: 1_000, fence, replaces: [] });
    expect(await waiting).toMatchObject({ kind: 'gap' });
    await feed.stop();
    for (const each of [database, other, afterRestart]) {
      await each.store.identity();
      await committed(each.store.commit({}));
    }
    const next = await other.lock.acquire('health', 60_000);
    expect(next?.fence).toBeGreaterThan(lease?.fence ?? Infinity);
  });

  it('is trusted again as soon as the right one is back', async () => {
    const database = await stage.open();
    await committed(database.store.commit({ puts: [putPod('a', 'absent')] }));
    const dump = Buffer.from(String(await stage.admin('HGET', `podgate:{${SITE}}:meta`, 'commits')));
    await stage.admin('HSET', `podgate:{${SITE}}:meta`, 'commits', '0');
    await refuses(database);
    await stage.admin('HSET', `podgate:{${SITE}}:meta`, 'commits', dump.toString());
    expect(await outcome(database.store.commit({}))).toBe('store.suspect');
    await database.store.identity();
    await committed(database.store.commit({}));
  });
});
