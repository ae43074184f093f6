import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createTrustedStore } from '../../../control/health/trusted-store.ts';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { podPut } from '../../../core/pod-put.ts';
import type { Batch, Store, StoreIdentity } from '../../../core/store.ts';
import type { StoreTrust } from '../../../core/lifecycle/clean-up.ts';
import { podRecord } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';

const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };

let directory: string;
let opened: SqliteDatabase[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-trusted-'));
  opened = [];
});
afterEach(() => {
  for (const database of opened) database.close();
  rmSync(directory, { recursive: true, force: true });
});

function open(file: string): Store {
  const database = openSqliteDatabase({ path: join(directory, file), clock, log: silentLog });
  opened.push(database);
  return database.store;
}

const pod = (podId: string): Batch => ({ puts: [podPut(podRecord({ podId }), 'absent')] });

test('a suspect store takes no orders and still answers, and what is refused leaves its counter as it was', async () => {
  const store = open('store.db');
  let trust: StoreTrust | null = null;
  let seen: StoreIdentity | null = null;
  const trusted = createTrustedStore({ store, judge: { trust: () => trust }, lastSeen: { read: () => seen } });
  await trusted.commit(pod('first'));
  const before = await store.identity();

  trust = { kind: 'suspect', reason: 'the workload of dev/x is newer than the store' };
  const refusal: unknown = await trusted.commit(pod('second')).catch((error: unknown) => error);
  expect(refusal).toMatchObject({ code: 'store.unavailable' });
  expect(refusal).toHaveProperty('publicMessages.0', expect.stringContaining('The store is suspect'));
  expect(await store.identity()).toEqual(before);
  expect(await trusted.list('pod', { limit: 10 })).toHaveLength(1);

  // Not judged yet, but another one than was seen by the process before this.
  trust = null;
  seen = { storeId: 'another', commits: 1 };
  await expect(trusted.commit(pod('second'))).rejects.toMatchObject({ code: 'store.unavailable' });
  seen = { ...before, commits: before.commits + 1 };
  await expect(trusted.commit(pod('second'))).rejects.toMatchObject({ code: 'store.unavailable' });
  expect(await store.identity()).toEqual(before);
  seen = before;
  expect(await trusted.commit(pod('second'))).toMatchObject({ kind: 'committed' });
});

test('many orders at a time do not make the store suspect to each other', async () => {
  const trusted = createTrustedStore({
    store: open('store.db'),
    judge: { trust: () => null },
    lastSeen: { read: () => null },
  });
  for (let round = 0; round < 5; round++) {
    const orders = Array.from({ length: 40 }, (_, at) => trusted.commit(pod(`pod${round}x${at}`)));
    expect((await Promise.all(orders)).every(({ kind }) => kind === 'committed')).toBe(true);
  }
});

test('an older copy under a store that was healthy a moment ago takes no order, not even one', async () => {
  const first = open('store.db');
  let present = first;
  const store: Store = new Proxy(first, { get: (_, name) => present[name as keyof Store].bind(present) });
  const trusted = createTrustedStore({
    store,
    judge: { trust: () => ({ kind: 'healthy' }) },
    lastSeen: { read: () => null },
  });
  await trusted.commit(pod('first'));
  opened.pop()?.close();
  cpSync(join(directory, 'store.db'), join(directory, 'older.db'));
  present = open('store.db');
  await trusted.commit(pod('second'));

  present = open('older.db');
  const older = await present.identity();
  for (const podId of ['third', 'fourth', 'fifth']) {
    await expect(trusted.commit(pod(podId))).rejects.toMatchObject({ code: 'store.unavailable' });
  }
  expect(await present.identity()).toEqual(older);
});
