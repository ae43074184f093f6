import { closeSync, openSync, statSync, writeSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import type { Logger } from '../../../core/logger.ts';
import { PodgateError } from '../../../core/errors.ts';
import { silentLog } from '../../support/silent-log.ts';
import { createSqliteStage, putPod, type SqliteStage } from './sqlite-stage.ts';

let stage: SqliteStage;
beforeEach(() => {
  stage = createSqliteStage();
});
afterEach(() => stage.end());

/** As node:sqlite throws it. */
function sqliteError(errcode: number, message: string): Error {
  return Object.assign(new Error(message), { code: 'ERR_SQLITE_ERROR', errcode });
}

async function outcome(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return 'done';
  } catch (error) {
    return error instanceof PodgateError ? error.code : String(error);
  }
}

describe('a full disk', () => {
  let limit: (pages: number) => void;
  let database: SqliteDatabase;
  beforeEach(() => {
    database = stage.openWatched('a.db', (_sql, connection) => {
      limit = (pages) => void connection.get(`PRAGMA max_page_count = ${pages}`);
    });
  });

  it('refuses commits, keeps and reads existing data, and continues when there is space again', async () => {
    await database.store.commit({ puts: [putPod('kept', 'absent')] });
    limit(1);
    const large = 'x'.repeat(100_000);
    const before = await database.store.identity();
    const attempts = Array.from({ length: 5 }, (_, i) =>
      database.store.commit({
        puts: [putPod(`p${i}`, 'absent', large), putPod(`q${i}`, 'absent')],
        enqueue: [{ key: `p${i}` }],
      }),
    );
    expect(new Set(await Promise.all(attempts.map(outcome)))).toEqual(new Set(['store.unavailable']));
    expect(await database.store.identity()).toEqual(before);
    expect((await database.store.list('pod', { limit: 10 })).map(({ key }) => key)).toEqual(['kept']);
    expect((await database.queue.stats()).due).toBe(0);
    limit(1_000_000);
    const again = await database.store.commit({ puts: [putPod('p0', 'absent', large)] });
    expect(again).toEqual({ kind: 'committed', commit: before.commits + 1 });
  });
});

describe('a disk that fails', () => {
  it('while the transaction ends fails every commit in it, and none is half done', async () => {
    let failing = false;
    const database = stage.openWatched('a.db', (sql) => {
      if (failing && sql === 'COMMIT') throw sqliteError(10 | (4 << 8), 'disk I/O error');
    });
    await database.queue.add('claimed');
    const claim = await database.queue.claim(60_000, AbortSignal.timeout(5_000));
    if (claim === null) throw new Error('nothing to claim');
    failing = true;
    const results = await Promise.all([
      outcome(database.store.commit({ puts: [putPod('a', 'absent')], enqueue: [{ key: 'a' }] })),
      outcome(database.queue.add('b')),
      outcome(database.queue.acknowledge(claim)),
      outcome(database.lock.acquire('health', 1_000)),
      outcome(database.logs.appendAction('uid', 'line')),
    ]);
    expect(results).toEqual(Array.from({ length: 5 }, () => 'store.unavailable'));
    failing = false;
    expect(await database.store.get('pod', 'a')).toBeNull();
    expect(await database.queue.stats()).toEqual({ due: 0, delayed: 0, leased: 1, parked: 0 });
    expect(await database.logs.actions('uid')).toEqual([]);
    expect(await database.queue.acknowledge(claim)).toBe(true);
    expect((await database.store.commit({ puts: [putPod('a', 'absent')] })).kind).toBe('committed');
  });

  it.each([5, 8, 10, 11, 13, 14])(
    'with SQLite code %i is reported as store.unavailable by reads and writes',
    async (code) => {
      let failing = false;
      const database = stage.openWatched('a.db', (sql) => {
        if (failing && /SELECT|INSERT/.test(sql)) throw sqliteError(code, 'the disk says no');
      });
      failing = true;
      const calls = [
        database.store.get('pod', 'a'),
        database.store.identity(),
        database.store.commit({ puts: [putPod('a', 'absent')] }),
        database.queue.add('a'),
        database.queue.claim(1_000, AbortSignal.timeout(1_000)),
        database.store.changes(0, AbortSignal.timeout(1_000))[Symbol.asyncIterator]().next(),
      ].map(outcome);
      expect(new Set(await Promise.all(calls))).toEqual(new Set(['store.unavailable']));
      failing = false;
      expect((await database.store.commit({ puts: [putPod('a', 'absent')] })).kind).toBe('committed');
    },
  );
});

it('one write that fails does not affect the others of its group', async () => {
  const database = stage.openWatched('a.db', (sql) => {
    if (sql.includes('action_logs')) throw sqliteError(1, 'no such table');
  });
  const results = await Promise.all([
    outcome(database.store.commit({ puts: [putPod('a', 'absent')] })),
    outcome(database.logs.appendAction('uid', 'line')),
    outcome(database.store.commit({ puts: [putPod('b', 'absent')] })),
  ]);
  expect(results).toEqual(['done', 'api.internal', 'done']);
  expect((await database.store.list('pod', { limit: 10 })).map(({ key }) => key)).toEqual(['a', 'b']);
});

it('a commit that fails half-way leaves nothing, and does not affect the others of its group', async () => {
  let changes = 0;
  const database = stage.openWatched('a.db', (sql) => {
    // The fourth change is the second one of the second commit: a record and an index entry are written by then.
    if (sql.startsWith('INSERT INTO changes') && ++changes === 4) throw sqliteError(19, 'constraint failed');
  });
  const results = await Promise.all(
    ['a', 'b', 'c'].map((name) =>
      outcome(
        database.store.commit({
          puts: [putPod(name, 'absent'), putPod(`${name}2`, 'absent')],
          enqueue: [{ key: name }],
        }),
      ),
    ),
  );
  expect(results).toEqual(['done', 'api.internal', 'done']);
  const left = await database.store.list('pod', { index: 'user:alice', limit: 10 });
  expect(left.map(({ key, revision }) => [key, revision])).toEqual([
    ['a', 1],
    ['a2', 1],
    ['c', 2],
    ['c2', 2],
  ]);
  expect(await database.store.list('pod', { limit: 10 })).toEqual(left);
  expect((await database.queue.stats()).due).toBe(2);
  expect((await database.store.identity()).commits).toBe(2);
});

it('a damaged file causes store.unavailable with the reason in the log, not a crash', async () => {
  const path = stage.path('a.db');
  const database = stage.open('a.db');
  for (let i = 0; i < 200; i++) await database.store.commit({ puts: [putPod(`p${i}`, 'absent', 'x'.repeat(3_000))] });
  database.close();
  const file = openSync(path, 'r+');
  const garbage = Buffer.alloc(4_096, 0xa5);
  // Page 1 has the header: the store is recognised, and found damaged when it is read.
  for (let at = 4_096; at < statSync(path).size; at += 4_096) writeSync(file, garbage, 0, garbage.length, at);
  closeSync(file);
  const lines: string[] = [];
  const log: Logger = { ...silentLog, error: (fields) => lines.push(JSON.stringify(fields)) };
  const opening = (async () => {
    const damaged = stage.open('a.db', { log });
    await damaged.store.list('pod', { limit: 1_000 });
  })();
  const error: unknown = await opening.catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: 'store.unavailable' });
  expect(`${String(error)} ${lines.join()}`).toContain('SQLITE_CORRUPT');
});
