import { afterEach, beforeEach, expect, it } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RedisDatabase } from '../../../control/store/redis/redis-database.ts';
import { until } from '../../support/until.ts';
import { createRedisStage, outcome, putPod, type RedisStage } from './redis-stage.ts';

const ROUNDS = 15;
const WRITERS = 4;
const TIMEOUT_MS = 120_000;

let stage: RedisStage;
beforeEach(async () => {
  stage = await createRedisStage();
});
afterEach(() => stage.end());

/** Everything the writers were answered, over all rounds. */
interface Answered {
  /** n -> number of the commit. */
  readonly commits: Map<number, number>;
  readonly done: Set<string>;
  readonly fences: number[];
}

it(
  `has every acknowledged commit completely after ${ROUNDS} kill -9 of the server at random moments`,
  { timeout: TIMEOUT_MS },
  async () => {
    // A killed server ends its connections at once. Beyond that, a busy machine may take its time.
    const database = await stage.open({ feedCommits: 1_000_000, deadlineMs: 10_000 });
    const { storeId } = await database.store.identity();
    const answered: Answered = { commits: new Map(), done: new Set(), fences: [] };
    let next = 1;
    for (let round = 0; round < ROUNDS; round++) {
      const stop = new AbortController();
      const writers = Array.from({ length: WRITERS }, async () => {
        while (!stop.signal.aborted) await write(database, next++, answered).catch(() => stop.abort());
      });
      // By the work that is done, not by the clock alone: on a busy machine a commit takes long.
      const before = answered.commits.size;
      await until('writers are at work', () => answered.commits.size > before + WRITERS || stop.signal.aborted);
      await sleep(Math.random() * 100);
      await stage.server.kill();
      await Promise.all(writers);
      await stage.server.start();
      const identity = await until('connected again', () => database.store.identity().catch(() => null));
      expect(identity.storeId).toBe(storeId);
      expect(identity.commits).toBeGreaterThanOrEqual(Math.max(0, ...answered.commits.values()));
    }
    await checkRecords(database, answered);
    await checkFeed(database);
    await checkQueue(database, answered);
    const lease = await database.lock.acquire('checker', 1_000);
    expect(lease?.fence).toBeGreaterThan(Math.max(...answered.fences));
    expect(answered.commits.size).toBeGreaterThan(ROUNDS * WRITERS);
    const { commits } = await database.store.identity();
    console.info(`${ROUNDS} kills: ${answered.commits.size} commits acknowledged, ${commits} done, 0 lost`);
  },
);

/** One commit writes a<n> and b<n> and deletes c<n> that another has made, and makes k<n> due; every fifth key is done. */
async function write({ store, queue, lock }: RedisDatabase, n: number, answered: Answered): Promise<void> {
  const made = await store.commit({ puts: [putPod(`c${n}`, 'absent')] });
  if (made.kind !== 'committed') throw new Error(made.kind);
  const result = await store.commit({
    puts: [putPod(`a${n}`, 'absent', 'x'.repeat(n % 3_000)), putPod(`b${n}`, 'absent')],
    deletes: [{ kind: 'pod', key: `c${n}`, expected: made.commit, uid: 'uid' }],
    enqueue: [{ key: `k${n}` }],
  });
  if (result.kind !== 'committed') throw new Error(result.kind);
  answered.commits.set(n, result.commit);
  if (n % 5 !== 0) return;
  const claim = await queue.claim(60_000, AbortSignal.timeout(5_000));
  if (claim !== null && (await queue.acknowledge(claim))) answered.done.add(claim.key);
  const lease = await lock.acquire(`lock-${n}`, 60_000);
  if (lease !== null) answered.fences.push(lease.fence);
}

/** Every commit is there as a whole, acknowledged or not. */
async function checkRecords({ store }: RedisDatabase, answered: Answered): Promise<void> {
  const { commits } = await store.identity();
  const records = new Map((await store.list('pod', { limit: 1_000_000 })).map((record) => [record.key, record]));
  const indexed = await store.list('pod', { tenant: 'default', index: 'user:alice', limit: 1_000_000 });
  // Lists are read page by page: a commit between two pages would be in one of them alone.
  expect((await store.identity()).commits, 'a commit came while the lists were read').toBe(commits);
  const inIndex = new Set(indexed.map(({ key }) => key));
  expect([...records.keys()].filter((key) => !inIndex.has(key))).toEqual([]);
  expect([...inIndex].filter((key) => !records.has(key))).toEqual([]);
  for (const [n, commit] of answered.commits) expect(records.get(`b${n}`)?.revision).toBe(commit);
  for (const [key, { revision }] of records) {
    if (key.startsWith('c')) continue;
    const n = key.slice(1);
    expect([records.get(`a${n}`)?.revision, records.get(`b${n}`)?.revision]).toEqual([revision, revision]);
    expect((await store.tombstone('pod', `c${n}`))?.revision).toBe(revision);
  }
}

async function checkFeed({ store }: RedisDatabase): Promise<void> {
  const aborting = new AbortController();
  const { commits } = await store.identity();
  const numbers = new Set<number>();
  for await (const change of store.changes(0, aborting.signal)) {
    expect(change.kind).not.toBe('gap');
    numbers.add(change.commit);
    if (change.commit === commits) aborting.abort();
  }
  expect(numbers.size).toBe(commits);
}

/** Waiting or claimed is every key that was committed, except those acknowledged. */
async function checkQueue({ queue, store }: RedisDatabase, answered: Answered): Promise<void> {
  const { due, delayed, leased } = await queue.stats();
  const waiting = new Set<string>();
  for (let i = 0; i < due; i++) waiting.add((await queue.claim(60_000, AbortSignal.timeout(5_000)))?.key ?? '');
  expect(waiting.size).toBe(due);
  expect(delayed).toBe(0);
  for (const key of answered.done) expect(waiting.has(key)).toBe(false);
  const missing = [...answered.commits.keys()].filter((n) => !waiting.has(`k${n}`) && !answered.done.has(`k${n}`));
  // Their claim was done when the server was killed, and its answer, or that of their acknowledgement, was lost.
  expect(missing.length).toBeLessThanOrEqual(ROUNDS * WRITERS);
  expect(leased).toBeLessThanOrEqual(ROUNDS * WRITERS);
  expect(await outcome(store.commit({ enqueue: [{ key: 'last' }] }))).toBe('done');
}
