import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { migrateStore } from '../../../cli/migrate/migrate-store.ts';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import type { Store } from '../../../core/store.ts';
import { silentLog } from '../../support/silent-log.ts';
import { createRedisStage, outcome, putPod, type RedisStage } from './redis-stage.ts';

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const PODS = 450;

let directory: string;
let path: string;
let stage: RedisStage;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-migrate-'));
  path = join(directory, 'podgate.db');
  stage = await createRedisStage();
});
afterEach(async () => {
  await stage.end();
  rmSync(directory, { recursive: true, force: true });
});

async function withSource<T>(work: (database: SqliteDatabase) => Promise<T>): Promise<T> {
  const database = openSqliteDatabase({ path, clock, log: silentLog });
  try {
    return await work(database);
  } finally {
    database.close();
  }
}

/** All that the laws of Store let one see, except sizes: each store writes its records in a form of its own. */
async function contents(store: Store) {
  return {
    pods: (await store.list('pod', { limit: 10_000 })).map(({ kind, key, revision, value }) => ({
      kind,
      key,
      revision,
      value,
    })),
    ofAlice: (await store.list('pod', { tenant: 'default', index: 'user:alice', limit: 10_000 })).map(({ key }) => key),
    deleted: await store.tombstone('pod', 'deleted'),
  };
}

async function fill(): Promise<Awaited<ReturnType<typeof contents>>> {
  return withSource(async ({ store, logs, queue }) => {
    await Promise.all(
      Array.from({ length: PODS }, (_, at) => store.commit({ puts: [putPod(`pod${at}`, 'absent', 'ä "quoted"')] })),
    );
    const put = await store.commit({ puts: [putPod('deleted', 'absent')] });
    if (put.kind !== 'committed') throw new Error(put.kind);
    await store.commit({ deletes: [{ kind: 'pod', key: 'deleted', expected: put.commit, uid: 'gone' }] });
    for (const line of ['one', 'two']) await logs.appendAction('uid', line);
    for (const run of [1, 2]) await logs.saveOutput('uid', run, `output ${run}`);
    await queue.add('pod1', { share: 'alice' });
    return contents(store);
  });
}

it('everything of one store is in the other, with revisions, lists, tombstones, logs and identity', async () => {
  const before = await fill();
  const identity = await withSource(({ store }) => store.identity());
  const filling = await stage.open({ isBeingFilled: true, deadlineMs: 20_000 });
  expect((await migrateStore({ path, database: filling, act: false })).isMoved).toBe(false);
  expect(await filling.imports.count()).toEqual({ records: 0, tombstones: 0 });
  const report = await migrateStore({ path, database: filling, act: true });
  expect(report.text).toContain(`${PODS} records, 1 tombstones, logs of 1 pods migrated`);

  const { store, logs, queue } = await stage.open();
  expect(await contents(store)).toEqual(before);
  expect(await logs.actions('uid')).toEqual(['one', 'two']);
  expect(await logs.output('uid')).toBe('output 2');
  expect(await queue.stats()).toMatchObject({ due: 1 });
  const { storeId, commits } = await store.identity();
  expect(storeId).toBe(identity.storeId);
  expect(commits).toBeGreaterThanOrEqual(identity.commits);
  const next = await store.commit({
    puts: [putPod('pod1', before.pods.find(({ key }) => key === 'pod1')?.revision ?? 0)],
  });
  expect(next).toEqual({ kind: 'committed', commit: commits + 1 });
  expect((await migrateStore({ path, database: filling, act: true })).text).toContain('already');
});

it('an interrupted migration blocks both stores until it is repeated', async () => {
  const before = await fill();
  const filling = await stage.open({ isBeingFilled: true, deadlineMs: 20_000 });
  let pages = 0;
  const broken = {
    ...filling,
    imports: {
      ...filling.imports,
      put: async (...args: Parameters<typeof filling.imports.put>) => {
        if (++pages === 2) throw new Error('killed');
        await filling.imports.put(...args);
      },
    },
  };
  await expect(migrateStore({ path, database: broken, act: true })).rejects.toThrow('killed');
  expect(await outcome(stage.open())).toBe('config.invalid');
  expect((await migrateStore({ path, database: filling, act: true })).isMoved).toBe(true);
  expect(await contents((await stage.open()).store)).toEqual(before);
});

it('a Redis with records of its own, or with an active replica, is not changed', async () => {
  await fill();
  const other = await stage.open();
  const running = new AbortController();
  const work = other.replicas.run(running.signal);
  const filling = await stage.open({ isBeingFilled: true, deadlineMs: 20_000 });
  await expect.poll(() => other.replicas.live().length).toBe(1);
  await expect(migrateStore({ path, database: filling, act: true })).rejects.toThrow(
    'a running Podgate uses that Redis',
  );
  running.abort();
  await work;
  await stage.admin('DEL', 'podgate:{test}:replicas');
  await other.store.commit({ puts: [putPod('own', 'absent')] });
  await expect(migrateStore({ path, database: filling, act: true })).rejects.toThrow('has records of this site');
  expect((await other.store.list('pod', { limit: 10 })).map(({ key }) => key)).toEqual(['own']);
});
