import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { committed } from '../../contract/store-harness.ts';
import { until } from '../../support/until.ts';
import { openWay } from './frozen-way.ts';
import { createRedisStage, DEADLINE_MS, outcome, putPod, read, type RedisStage } from './redis-stage.ts';

let stage: RedisStage;
beforeEach(async () => {
  stage = await createRedisStage();
});
afterEach(() => stage.end());

describe('a server that is stopped', () => {
  it('fails every call within its deadline, and is used again when it goes on', async () => {
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

it('a claim that is granted after its signal has aborted is given back', async () => {
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

describe('a connection that has gone dead', () => {
  it('is given up for another after one deadline, by whoever calls and by whoever waits', async () => {
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
  it('fails calls at once, keeps none for later, and is used again when it is back', async () => {
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

  it('breaks a feed, which goes on where it was', async () => {
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

  it('refuses to open, soon and with a sentence', async () => {
    await stage.server.kill();
    await expect(stage.open()).rejects.toMatchObject({
      code: 'store.unavailable',
      publicMessages: [
        expect.stringMatching(/^The Redis at redis:\/\/127\.0\.0\.1:\d+ does not answer: .*ECONNREFUSED/),
      ],
    });
  });
});

describe('a store that was replaced under its readers', () => {
  it('by nothing (FLUSHALL) has another identity and gives them a gap', async () => {
    const { store } = await stage.open();
    const before = await store.identity();
    for (let n = 0; n < 3; n++) await committed(store.commit({ puts: [putPod(`p${n}`, 'absent')] }));
    const feed = read(store, 2);
    expect(await feed.next()).toMatchObject({ kind: 'put', commit: 3 });
    const waiting = feed.next();
    await stage.admin('FLUSHALL');
    expect(await waiting).toEqual({ kind: 'gap', commit: 0 });
    const after = await store.identity();
    expect(after.storeId).not.toBe(before.storeId);
    expect(after.commits).toBe(0);
    const first = await committed(store.commit({ puts: [putPod('new', 'absent')] }));
    expect(await feed.next()).toMatchObject({ kind: 'put', commit: first, record: { key: 'new' } });
    await feed.stop();
  });

  it('gives a gap to a reader that knows as many commits as the new one has', async () => {
    const { store } = await stage.open();
    await committed(store.commit({ puts: [putPod('old', 'absent')] }));
    const feed = read(store, 0);
    expect(await feed.next()).toMatchObject({ kind: 'put', commit: 1 });
    await stage.admin('FLUSHALL');
    await committed(store.commit({ puts: [putPod('new', 'absent')] }));
    expect(await feed.next()).toEqual({ kind: 'gap', commit: 1 });
    await feed.stop();
  });

  it('by an empty server has another identity', async () => {
    const { store } = await stage.open();
    const before = await store.identity();
    await stage.server.kill();
    rmSync(join(stage.server.folder, 'appendonlydir'), { recursive: true });
    await stage.server.start();
    const after = await until('an answer again', () => store.identity().catch(() => null));
    expect(after.storeId).not.toBe(before.storeId);
  });

  it('by an older copy has the same identity and fewer commits; fences grow on; readers get a gap, also when it has grown past them', async () => {
    const { store, lock } = await stage.open();
    await committed(store.commit({ puts: [putPod('a', 'absent')] }));
    const before = await store.identity();
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
    expect((await lock.acquire('health', 60_000))?.fence).toBeGreaterThan(lease?.fence ?? Infinity);
    expect(await store.get('pod', 'lost')).toBeNull();
    // The reader, had it not looked meanwhile, would take this for what follows on what it knows.
    for (const key of ['x', 'y', 'z']) await committed(store.commit({ puts: [putPod(key, 'absent')] }));
    expect(await feed.next()).toEqual({ kind: 'gap', commit: 4 });
    await feed.stop();
  });
});
