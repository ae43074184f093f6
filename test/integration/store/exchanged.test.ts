import { copyFileSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { createStoreMemory } from '../../../control/store/store-guard.ts';
import { PodgateError } from '../../../core/errors.ts';
import { createSqliteStage, putPod, type SqliteStage } from './sqlite-stage.ts';

/** In full: PODGATE_EXCHANGES=200 vitest run test/integration/store/exchanged.test.ts test/integration/redis/exchanged.test.ts */
const ROUNDS = Number(process.env['PODGATE_EXCHANGES'] ?? 10);
const WRITERS = 6;

let stage: SqliteStage;
beforeEach(() => {
  stage = createSqliteStage();
});
afterEach(() => stage.end());

/** What an operator, or an accident, does to the file of a store that is open. */
const EXCHANGES: Readonly<Record<string, (path: string, copies: { older: string; foreign: string }) => void>> = {
  'an older copy, moved over it': (path, { older }) => renameSync(older, path),
  'an older copy, copied into it': (path, { older }) => copyFileSync(older, path),
  'a foreign store, moved over it': (path, { foreign }) => renameSync(foreign, path),
  'a foreign store, copied into it': (path, { foreign }) => copyFileSync(foreign, path),
  'nothing: it is removed': (path) => rmSync(path),
  'nothing: it is emptied': (path) => truncateSync(path, 0),
  'half of it': (path) => truncateSync(path, Math.floor(statSync(path).size / 2)),
  'its log is removed': (path) => rmSync(`${path}-wal`),
  'its log is emptied': (path) => truncateSync(`${path}-wal`, 0),
};

/** Commits without end until the store is suspect. Answers what was acknowledged, and when (performance.now). */
async function write(database: SqliteDatabase, signal: AbortSignal): Promise<ReadonlyMap<string, number>> {
  const acknowledged = new Map<string, number>();
  await Promise.all(
    Array.from({ length: WRITERS }, async (_, writer) => {
      for (let n = 0; !signal.aborted; n++) {
        const key = `p${writer}-${n}`;
        try {
          await database.store.commit({ puts: [putPod(key, 'absent', 'x'.repeat(2_000))], enqueue: [{ key }] });
          acknowledged.set(key, performance.now());
        } catch (error) {
          if (!(error instanceof PodgateError) || error.code !== 'store.suspect') throw error;
          return;
        }
      }
    }),
  );
  return acknowledged;
}

it(`detects a file that is replaced while it is open, ${ROUNDS} times under load, and acknowledges nothing afterwards`, async () => {
  const kinds = Object.entries(EXCHANGES);
  const found = new Map<string, number>();
  for (let round = 0; round < ROUNDS; round++) {
    const [kind, exchange] = kinds[round % kinds.length] ?? ['', () => undefined];
    const names = ['db', 'older', 'foreign'].map((name) => `${name}-${round}`);
    const [name = '', older = '', foreign = ''] = names;
    const other = stage.open(foreign);
    await other.store.commit({ puts: [putPod('foreign', 'absent')] });
    other.close();
    const memory = createStoreMemory();
    const database = stage.open(name, { memory });
    await database.store.commit({ puts: [putPod('first', 'absent')] });
    await database.copyTo(stage.path(older));
    await database.store.commit({ puts: [putPod('second', 'absent')] });
    const stop = new AbortController();
    const writing = write(database, stop.signal);
    await delay(Math.random() * 60);

    exchange(stage.path(name), { older: stage.path(older), foreign: stage.path(foreign) });
    const exchangedMs = performance.now();
    const giveUp = setTimeout(() => stop.abort(), 5_000);
    const acknowledged = await writing;
    clearTimeout(giveUp);
    expect(stop.signal.aborted, `${kind}: nothing was noticed`).toBe(false);
    expect(database.guard.suspicion(), kind).not.toBeNull();
    const late = [...acknowledged].filter(([, atMs]) => atMs > exchangedMs);
    expect(late, `${kind}: acknowledged after the exchange`).toEqual([]);
    for (const attempt of [database.queue.add('k'), database.lock.acquire('l', 1_000), database.store.commit({})]) {
      await expect(attempt).rejects.toMatchObject({ code: 'store.suspect' });
    }
    const mark = memory.read();
    database.close();

    // The next process: it finds the store suspect, cannot open it, or has everything that was acknowledged.
    const next = reopened(name, memory);
    if (next !== null && next.guard.suspicion() === null) {
      const keys = new Set((await next.store.list('pod', { limit: 100_000 })).map(({ key }) => key));
      for (const key of acknowledged.keys()) expect(keys, `${kind}: ${key} is lost and nobody knows`).toContain(key);
      expect((await next.store.identity()).commits).toBeGreaterThanOrEqual(mark?.commits ?? 0);
    } else if (next !== null) {
      await expect(next.store.commit({})).rejects.toMatchObject({ code: 'store.suspect' });
    }
    next?.close();
    found.set(kind, (found.get(kind) ?? 0) + 1);
  }
  console.info(`${ROUNDS} exchanges under load: ${JSON.stringify(Object.fromEntries(found))}`);
}, 600_000);

function reopened(name: string, memory: ReturnType<typeof createStoreMemory>): SqliteDatabase | null {
  try {
    return stage.open(name, { memory });
  } catch (error) {
    if (error instanceof PodgateError && ['store.unavailable', 'config.invalid'].includes(error.code)) return null;
    throw error;
  }
}

it.each([
  ['copied into', (path: string, copy: Buffer) => writeFileSync(path, copy)],
  [
    'copied into, its log removed,',
    (path: string, copy: Buffer) => {
      writeFileSync(path, copy);
      rmSync(`${path}-wal`);
    },
  ],
  [
    'put in the place of',
    (path: string, copy: Buffer) => {
      rmSync(path);
      writeFileSync(path, copy);
    },
  ],
])('does not change what was %s an open file when the process ends', async (_, exchange) => {
  const first = stage.open('a.db');
  for (let n = 0; n < 20; n++) await first.store.commit({ puts: [putPod(`p${n}`, 'absent', 'x'.repeat(2_000))] });
  await first.copyTo(stage.path('copy.db'));
  for (let n = 20; n < 25; n++) await first.store.commit({ puts: [putPod(`p${n}`, 'absent', 'x'.repeat(2_000))] });
  const copy = readFileSync(stage.path('copy.db'));
  exchange(stage.path('a.db'), copy);
  await expect(first.store.commit({})).rejects.toMatchObject({ code: 'store.suspect' });
  first.close();
  expect(readFileSync(stage.path('a.db')).equals(copy)).toBe(true);
  const next = stage.open('a.db');
  expect(await next.store.list('pod', { limit: 100 })).toHaveLength(20);
});

it('still saves a store whose file was removed', async () => {
  const database = stage.open('a.db');
  for (let n = 0; n < 5; n++) await database.store.commit({ puts: [putPod(`p${n}`, 'absent')] });
  rmSync(stage.path('a.db'));
  await expect(database.store.commit({})).rejects.toMatchObject({ code: 'store.suspect' });
  await database.copyTo(stage.path('saved.db'));
  database.close();
  expect(await stage.open('saved.db').store.list('pod', { limit: 100 })).toHaveLength(5);
});
