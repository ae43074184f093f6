import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { PodgateError } from '../../../core/errors.ts';
import { fenceOf } from '../../../core/lock.ts';
import { createSqliteStage, putPod, type SqliteStage } from './sqlite-stage.ts';

let stage: SqliteStage;
beforeEach(() => {
  stage = createSqliteStage();
});
afterEach(() => stage.end());

function refusal(call: () => unknown): PodgateError {
  try {
    call();
  } catch (error) {
    if (error instanceof PodgateError) return error;
    throw error;
  }
  throw new Error('expected a refusal');
}

it('rejects the database of another program without changing a byte', () => {
  const path = stage.path('other.db');
  const other = new DatabaseSync(path);
  other.exec('CREATE TABLE precious (data TEXT); INSERT INTO precious VALUES (42)');
  other.close();
  const before = readFileSync(path);
  const error = refusal(() => stage.open('other.db'));
  expect(error.code).toBe('config.invalid');
  expect(error.publicMessages).toEqual([
    `${path} is the database of another program. Podgate does not touch it: move it away.`,
  ]);
  expect(readFileSync(path).equals(before)).toBe(true);
});

it('rejects a database that another program has marked as its own, even an empty one', () => {
  const other = new DatabaseSync(stage.path('other.db'));
  other.exec('PRAGMA application_id = 12345');
  other.close();
  expect(refusal(() => stage.open('other.db')).code).toBe('config.invalid');
});

it('rejects a file that is not a database, and does not change it', () => {
  const text = 'dear diary, '.repeat(1_000);
  writeFileSync(stage.path('diary.txt'), text);
  const error = refusal(() => stage.open('diary.txt'));
  expect(error.code).toBe('config.invalid');
  expect(error.message).toContain('is not a database of Podgate');
  expect(readFileSync(stage.path('diary.txt'), 'utf8')).toBe(text);
});

it('rejects a store of a newer release, and does not change it', async () => {
  const database = stage.open('a.db');
  await database.store.commit({ puts: [putPod('one', 'absent')] });
  database.close();
  const newer = new DatabaseSync(stage.path('a.db'));
  newer.exec('PRAGMA user_version = 99');
  newer.close();
  const before = readFileSync(stage.path('a.db'));
  const error = refusal(() => stage.open('a.db'));
  expect(error.code).toBe('config.invalid');
  expect(error.message).toContain('newer release (schema 99');
  expect(readFileSync(stage.path('a.db')).equals(before)).toBe(true);
});

it('rejects a directory, and a path that does not exist, with an explanation', () => {
  mkdirSync(stage.path('folder'));
  for (const name of ['folder', 'absent/a.db']) expect(refusal(() => stage.open(name)).message).toContain(name);
  expect(refusal(() => stage.open('absent/a.db')).code).toBe('config.invalid');
});

it('treats an empty file, such as a crash during creation leaves, as a new store', async () => {
  writeFileSync(stage.path('a.db'), '');
  expect((await stage.open('a.db').store.identity()).commits).toBe(0);
});

it('makes the files private to their owner, even if a copy was readable by others', async () => {
  const database = stage.open('a.db');
  await database.store.commit({ puts: [putPod('one', 'absent')] });
  await database.logs.saveOutput('uid', 1, 'text');
  for (const name of ['a.db', 'a.db-wal', 'a.db-output/uid/1.log']) {
    expect(statSync(stage.path(name)).mode & 0o077).toBe(0);
  }
  expect(statSync(stage.path('a.db-output')).mode & 0o077).toBe(0);
  database.close();
  chmodSync(stage.path('a.db'), 0o644);
  stage.open('a.db');
  expect(statSync(stage.path('a.db')).mode & 0o077).toBe(0);
});

it('rejects a store that a running process has open, and opens it when that process is dead', async () => {
  const { storeId } = await initialised();
  const owner = spawn(
    process.execPath,
    [new URL('store-writer.ts', import.meta.url).pathname, stage.path('a.db'), '1'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  try {
    await once(owner.stdout, 'data');
    const error = refusal(() => stage.open('a.db'));
    expect(error.code).toBe('config.invalid');
    expect(error.message).toContain('Another process has');
  } finally {
    owner.kill('SIGKILL');
    await once(owner, 'exit');
  }
  expect((await stage.open('a.db').store.identity()).storeId).toBe(storeId);
});

async function initialised(): Promise<{ readonly storeId: string }> {
  const database = stage.open('a.db');
  const identity = await database.store.identity();
  database.close();
  return identity;
}

it('detects a restored copy by a lower counter under the same id, gives its readers a gap, and exceeds all earlier fences', async () => {
  const original = stage.open('a.db');
  await original.store.commit({ puts: [putPod('one', 'absent')] });
  original.close();
  copyFileSync(stage.path('a.db'), stage.path('backup'));

  const later = stage.open('a.db');
  const fences: number[] = [];
  for (let i = 0; i < 5; i++) {
    const lease = await later.lock.acquire('health', 1_000);
    if (lease === null) throw new Error('the lock is held');
    fences.push(lease.fence);
    await later.store.commit({ puts: [putPod(`later-${i}`, 'absent')], fence: fenceOf(lease) });
    await later.lock.release(lease);
    stage.moveClock(10);
  }
  const before = await later.store.identity();
  later.close();
  copyFileSync(stage.path('backup'), stage.path('a.db'));

  const restored = stage.open('a.db');
  const after = await restored.store.identity();
  expect(after.storeId).toBe(before.storeId);
  expect(after.commits).toBeLessThan(before.commits);
  const changes = restored.store.changes(before.commits, new AbortController().signal)[Symbol.asyncIterator]();
  expect((await changes.next()).value).toEqual({ kind: 'gap', commit: after.commits });
  await changes.return?.();
  const lease = await restored.lock.acquire('health', 1_000);
  expect(lease?.fence).toBeGreaterThan(Math.max(...fences));
});

it('completes the writes that were requested before it was closed', async () => {
  const database = stage.open('a.db');
  const pending = Array.from({ length: 600 }, (_, i) => database.store.commit({ puts: [putPod(`p${i}`, 'absent')] }));
  database.close();
  for (const result of await Promise.all(pending)) expect(result.kind).toBe('committed');
  expect(await stage.open('a.db').store.list('pod', { limit: 1_000 })).toHaveLength(600);
});

it('grants the leases of a dead owner to the next one at once', async () => {
  const first = stage.open('a.db');
  await first.queue.add('key');
  await first.queue.claim(3_600_000, new AbortController().signal);
  await first.lock.acquire('health', 3_600_000);
  first.close();
  const second = stage.open('a.db');
  expect((await second.queue.claim(1_000, AbortSignal.timeout(5_000)))?.key).toBe('key');
  expect(await second.lock.acquire('health', 1_000)).not.toBeNull();
});
