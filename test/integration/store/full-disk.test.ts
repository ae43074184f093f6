import { statfsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import type { Put } from '../../../core/store.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import { SmallDisk } from '../../support/small-disk.ts';
import { putPod } from './sqlite-stage.ts';

const PODS = 40;
const DESCRIPTION = 'x'.repeat(2_000);
/** So many commits end a pod. */
const STEPS = 4;

let disk: SmallDisk;
let database: SqliteDatabase;
let movedMs = 0;
const clock = { now: () => Date.now(), monotonicMs: () => performance.now() + movedMs };
const open = (): SqliteDatabase =>
  openSqliteDatabase({ path: join(disk.directory, 'podgate.db'), clock, log: silentLog });

beforeEach(async () => {
  movedMs = 0;
  disk = await SmallDisk.mount('48m');
  database = open();
});
afterEach(async () => {
  database.close();
  await disk.dispose();
});

const freeBytes = (): number => {
  const { bavail, bsize } = statfsSync(disk.directory);
  return bavail * bsize;
};

function turnedOff(put: Put, expected: number): Put {
  if (put.kind !== 'pod') throw new Error('not a pod');
  return { ...put, expected, value: { ...put.value, wish: 'OFF' } };
}

async function createPods(): Promise<ReadonlyMap<string, number>> {
  const revisions = new Map<string, number>();
  for (let n = 0; n < PODS; n++) {
    await database.store.commit({ puts: [putPod(`p${n}`, 'absent', DESCRIPTION)], enqueue: [{ key: `p${n}` }] });
    revisions.set(`p${n}`, (await database.store.get('pod', `p${n}`))?.revision ?? 0);
  }
  return revisions;
}

/** Every commit that stops and deletes the pods, with what the queue and a lease write meanwhile. */
async function endPods(revisions: ReadonlyMap<string, number>): Promise<void> {
  for (const [key, created] of revisions) {
    let revision = created;
    for (let step = 0; step < STEPS; step++) {
      const put = turnedOff(putPod(key, 'absent', DESCRIPTION), revision);
      expect((await database.store.commit({ puts: [put], enqueue: [{ key }] })).kind).toBe('committed');
      revision = (await database.store.get('pod', key))?.revision ?? 0;
    }
    const claim = await database.queue.claim(60_000, AbortSignal.timeout(5_000));
    if (claim !== null) await database.queue.acknowledge(claim);
  }
}

async function isRefused(): Promise<boolean> {
  const attempt = database.store.commit({ puts: [putPod(`new${Math.random()}`, 'absent', DESCRIPTION)] });
  return attempt.then(
    () => false,
    (error: unknown) => String(error).includes('the disk is full'),
  );
}

const RUNS = Array.from({ length: 20 }, (_, index) => index + 1);

it.each(RUNS)('a full disk, run %i: every pod stops while another program takes each freed block', async (run) => {
  const revisions = await createPods();
  await disk.fill();
  // The disk is checked each second.
  movedMs += 1_100;
  await database.queue.add('any');
  expect(await isRefused()).toBe(true);
  await until('the last block is taken', () => freeBytes() === 0);
  // Every second time another process goes on with it.
  if (run % 2 === 0) {
    database.close();
    database = open();
    expect(await isRefused()).toBe(true);
  }
  await endPods(revisions);
  const pods = await database.store.list('pod', { limit: 1_000 });
  expect(pods.map(({ value }) => value.wish)).toEqual(Array.from({ length: PODS }, () => 'OFF'));
  expect(await database.examine()).toBeNull();
});

it('once there is space again, the store accepts everything', async () => {
  await createPods();
  await disk.fill();
  movedMs += 1_100;
  await database.queue.add('any');
  expect(await isRefused()).toBe(true);
  await disk.empty();
  movedMs += 11_000;
  await database.queue.add('again');
  expect(await isRefused()).toBe(false);
});
