import { readFileSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RECORD_SCHEMAS } from '../../../control/store/record-schema.ts';
import { LISTS } from '../../../control/store/sqlite/sqlite-store.ts';
import { createSqliteStage, putPod, type SqliteStage } from './sqlite-stage.ts';

const DAY_MS = 24 * 3_600_000;

let stage: SqliteStage;
beforeEach(() => {
  stage = createSqliteStage();
});
afterEach(() => stage.end());

it('every commit is synchronized to the disk: a WAL with synchronous FULL', async () => {
  const settings: unknown[] = [];
  const { store } = stage.openWatched('a.db', (_sql, connection) => {
    settings.push(connection.get('PRAGMA synchronous'), connection.get('PRAGMA journal_mode'));
  });
  await store.identity();
  expect(settings.slice(0, 2)).toMatchObject([{ synchronous: 2 }, { journal_mode: 'wal' }]);
});

describe('group commit', () => {
  it('writes everything of one tick in one transaction', async () => {
    let transactions = 0;
    const { store, queue, lock } = stage.openWatched('a.db', (sql) => {
      if (sql === 'COMMIT') transactions++;
    });
    await Promise.all([
      ...Array.from({ length: 100 }, (_, i) => store.commit({ puts: [putPod(`p${i}`, 'absent')] })),
      ...Array.from({ length: 100 }, (_, i) => queue.add(`k${i}`)),
      lock.acquire('health', 1_000),
    ]);
    expect(transactions).toBe(1);
  });

  it('gathers more in each transaction when the disk is slow', async () => {
    let transactions = 0;
    const { store } = stage.openWatched('a.db', (sql) => {
      if (sql !== 'COMMIT') return;
      transactions++;
      stage.moveClock(10);
    });
    const pending: Promise<unknown>[] = [];
    for (let i = 0; i < 150; i++) {
      pending.push(store.commit({ puts: [putPod(`p${i}`, 'absent')] }));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await Promise.all(pending);
    expect(transactions).toBeLessThan(50);
    expect((await store.identity()).commits).toBe(150);
  });

  it('limits the size of a transaction, and writes a flood completely', async () => {
    let transactions = 0;
    const { store } = stage.openWatched('a.db', (sql) => {
      if (sql === 'COMMIT') transactions++;
    });
    const flood = Array.from({ length: 2_000 }, (_, i) => store.commit({ puts: [putPod(`p${i}`, 'absent')] }));
    const results = await Promise.all(flood);
    expect(results.every(({ kind }) => kind === 'committed')).toBe(true);
    expect(transactions).toBeGreaterThanOrEqual(8);
    expect(transactions).toBeLessThan(40);
  });
});

describe('the queue', () => {
  it('does not query the database while claims wait', async () => {
    let statements = 0;
    const { queue } = stage.openWatched('a.db', () => statements++);
    await queue.add('later', { delayMs: 3_600_000 });
    const stop = new AbortController();
    const waiting = Array.from({ length: 20 }, () => queue.claim(1_000, stop.signal));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const before = statements;
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(statements).toBe(before);
    stop.abort();
    await Promise.all(waiting);
  });

  it('writes nothing for an add that changes nothing', async () => {
    const { queue } = stage.open('a.db');
    await queue.add('a', { share: 'alice' });
    await queue.add('b', { share: 'alice' });
    const before = readFileSync(stage.path('a.db-wal'));
    for (let i = 0; i < 10; i++) await queue.add('a', { share: 'alice' });
    await queue.add('a', { delayMs: 60_000 });
    expect(readFileSync(stage.path('a.db-wal')).equals(before)).toBe(true);
  });

  it('has a key due again after a restart even if nothing was committed for hours before', async () => {
    const first = stage.open('a.db');
    await first.store.commit({ puts: [putPod('a', 'absent')] });
    stage.moveClock(5 * 3_600_000);
    await first.queue.add('key');
    first.close();
    expect((await stage.open('a.db').queue.stats()).due).toBe(1);
  });
});

describe('tombstones', () => {
  it('are kept for seven days in which the store is open, then purged', async () => {
    const { store } = stage.open('a.db');
    const result = await store.commit({ puts: [putPod('old', 'absent')] });
    if (result.kind !== 'committed') throw new Error('not committed');
    await store.commit({ deletes: [{ kind: 'pod', key: 'old', expected: result.commit, uid: 'uid' }] });
    const fill = async (name: string): Promise<void> => {
      await Promise.all(
        Array.from({ length: 200 }, (_, i) => store.commit({ puts: [putPod(`${name}${i}`, 'absent')] })),
      );
    };
    stage.moveClock(7 * DAY_MS - 60_000);
    await fill('before');
    expect(await store.tombstone('pod', 'old')).not.toBeNull();
    stage.moveClock(120_000);
    await fill('after');
    expect(await store.tombstone('pod', 'old')).toBeNull();
  });

  it('survive a wall clock that is corrected by fifty years', async () => {
    const boot = performance.now();
    let wallMs = 0;
    const clock = { now: () => wallMs, monotonicMs: () => performance.now() - boot };
    for (const name of ['during', 'after']) {
      const database = stage.open('a.db', { clock });
      const { store } = database;
      if (name === 'during') {
        const result = await store.commit({ puts: [putPod('old', 'absent')] });
        if (result.kind !== 'committed') throw new Error('not committed');
        await store.commit({ deletes: [{ kind: 'pod', key: 'old', expected: result.commit, uid: 'uid' }] });
      }
      wallMs = Date.now();
      await Promise.all(
        Array.from({ length: 200 }, (_, i) => store.commit({ puts: [putPod(`${name}${i}`, 'absent')] })),
      );
      expect(await store.tombstone('pod', 'old')).not.toBeNull();
      database.close();
    }
  });
});

it.each(Object.entries(LISTS))('the list by %s is read from an index, in its order', async (_shape, sql) => {
  const store = stage.open('a.db');
  await store.store.commit({ puts: [putPod('a', 'absent')] });
  store.close();
  const database = new DatabaseSync(stage.path('a.db'));
  try {
    const plan = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all();
    const steps = plan.map((row) => String(row['detail'])).join('; ');
    expect(steps).toContain('SEARCH');
    expect(steps).not.toMatch(/SCAN|TEMP B-TREE/);
    expect(steps).toMatch(/key>\?/);
  } finally {
    database.close();
  }
});

describe('records of other releases', () => {
  it('are upgraded when they are read, and written in the current version', async () => {
    const older = stage.open('a.db');
    await older.store.commit({ puts: [putPod('a', 'absent', 'written by an older version')] });
    older.close();
    const upgrade = (value: unknown) => ({ ...(value as object), upgraded: true });
    const { version } = RECORD_SCHEMAS.pod;
    const schemas = { ...RECORD_SCHEMAS, pod: { version: version + 1, upgrades: { [version]: upgrade } } };
    const newer = stage.open('a.db', { schemas });
    const record = await newer.store.get('pod', 'a');
    expect(record?.value).toMatchObject({ upgraded: true, spec: { description: 'written by an older version' } });
    expect((await newer.store.list('pod', { limit: 1 }))[0]?.value).toMatchObject({ upgraded: true });
    const changes = newer.store.changes(0, new AbortController().signal)[Symbol.asyncIterator]();
    expect((await changes.next()).value).toMatchObject({ record: { value: { upgraded: true } } });
    await changes.return?.();

    await newer.store.commit({ puts: [putPod('a', record?.revision ?? 0)] });
    newer.close();
    const backAgain = stage.open('a.db');
    await expect(backAgain.store.get('pod', 'a')).rejects.toMatchObject({
      code: 'store.unavailable',
      message: `The pod record a was written by a newer release (version ${version + 1}, here ${version}).`,
    });
  });
});

it('the file stays small when records are rewritten for a long time', async () => {
  const { store } = stage.open('a.db', { feedCommits: 500 });
  const revisions = new Map<number, number>();
  const sizes: number[] = [];
  for (let round = 0; round < 100; round++) {
    const rewrite = async (i: number): Promise<void> => {
      const result = await store.commit({ puts: [putPod(`p${i}`, revisions.get(i) ?? 'absent')] });
      if (result.kind !== 'committed') throw new Error('not committed');
      revisions.set(i, result.commit);
    };
    await Promise.all(Array.from({ length: 50 }, (_, i) => rewrite(i)));
    if (round === 49 || round === 99) sizes.push(statSync(stage.path('a.db')).size);
  }
  expect(sizes[1]).toBeLessThan((sizes[0] ?? 0) * 1.5);
});
