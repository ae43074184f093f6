import {
  chmodSync,
  chownSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openDataDirectory } from '../../../main/data-directory.ts';
import { acquireExclusiveLock } from '../../../main/exclusive-lock.ts';
import { openLastSeenFile } from '../../../main/control/last-seen-file.ts';
import { isUsable } from '../../../main/control/pods-root.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'podgate-state-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

test('a second holder of the data directory is refused with a sentence that names the first', async () => {
  const first = await openDataDirectory(directory);
  await expect(openDataDirectory(directory)).rejects.toMatchObject({
    code: 'config.invalid',
    publicMessages: [expect.stringContaining(`another Podgate (pid ${process.pid})`)],
  });
  first.release();
  const second = await openDataDirectory(directory);
  expect(second.installation).toBe(first.installation);
  expect(statSync(second.runDir).mode & 0o777).toBe(0o700);
  second.release();
});

test.runIf(process.getuid?.() === 0)(
  'a directory of another user is refused: its owner could change what is kept',
  async () => {
    chownSync(directory, 12_345, 12_345);
    await expect(openDataDirectory(directory)).rejects.toMatchObject({
      publicMessages: [expect.stringContaining('belongs to another user (user id 12345)')],
    });
  },
);

test.each([0o777, 0o1777])('a directory that everybody may write to is refused: mode %o', async (mode) => {
  chmodSync(directory, mode);
  await expect(openDataDirectory(directory)).rejects.toMatchObject({
    publicMessages: [expect.stringMatching(/other users can write to .*; run chmod go-w /)],
  });
  expect(existsSync(join(directory, 'installation.id'))).toBe(false);
});

test.runIf(process.getuid?.() === 0)(
  'a directory that a group may write to is refused unless we are in it',
  async () => {
    chownSync(directory, 0, 12_345);
    chmodSync(directory, 0o2775);
    await expect(openDataDirectory(directory)).rejects.toMatchObject({
      publicMessages: [expect.stringContaining('other users can write to')],
    });
    chownSync(directory, 0, process.getgid?.() ?? 0);
    chmodSync(directory, 0o2775);
    (await openDataDirectory(directory)).release();
  },
);

test('the directory of pods must be in a path that no other user can replace', () => {
  expect(isUsable(join(directory, 'new'))).toBe(true);
  expect(isUsable(join(directory, 'new'))).toBe(true);
  symlinkSync(join(directory, 'new'), join(directory, 'link'));
  expect(isUsable(join(directory, 'link'))).toBe(false);
  chmodSync(join(directory, 'new'), 0o733);
  expect(isUsable(join(directory, 'new'))).toBe(false);
  if (process.getuid?.() !== 0) return;
  chmodSync(join(directory, 'new'), 0o711);
  chownSync(join(directory, 'new'), 12_345, 12_345);
  expect(isUsable(join(directory, 'new'))).toBe(false);
});

test.each([
  ['a file', (file: string) => file, 'it is not a directory'],
  ['below a file', (file: string) => join(file, 'x'), 'part of the path is not a directory'],
  ['under /proc', () => '/proc/self/podgate/x', 'the directory cannot be created'],
])('a path that is %s is refused with the reason', async (what, pathOf, reason) => {
  if (what.startsWith('under') && !existsSync('/proc/self')) return;
  const file = join(directory, 'file');
  writeFileSync(file, '');
  await expect(openDataDirectory(pathOf(file))).rejects.toMatchObject({
    code: 'config.invalid',
    publicMessages: [expect.stringContaining(reason)],
  });
});

test('sockets get a short directory where the data directory has a long path', async () => {
  const deep = await openDataDirectory(join(directory, 'd'.repeat(100)));
  expect(Buffer.byteLength(deep.runDir)).toBeLessThan(90);
  deep.release();
  expect(() => statSync(deep.runDir)).toThrow('ENOENT');
});

test('a lock that is released in time is waited for', async () => {
  const path = join(directory, 'a.lock');
  const first = await acquireExclusiveLock(path, 0);
  expect(await acquireExclusiveLock(path, 0)).toBeNull();
  const waiting = acquireExclusiveLock(path, 5_000);
  first?.release();
  const second = await waiting;
  expect(second).not.toBeNull();
  second?.release();
});

test('the last known state of the store survives a restart', async () => {
  const path = join(directory, 'seen.json');
  const file = openLastSeenFile(path, silentLog);
  expect(file.read()).toBeNull();
  const mark = (commits: number) => ({ storeId: 'a', commits, stamp: `stamp${commits}`, fence: 1 });
  for (const last of [7, 8, 900]) {
    file.note(mark(last - 1));
    file.note(mark(last));
    await until('it is noted', () => openLastSeenFile(path, silentLog).read()?.commits === last);
    expect(openLastSeenFile(path, silentLog).read()).toEqual(mark(last));
  }
  expect(statSync(path).size).toBeLessThanOrEqual(1_024);
});

test('after a truncated write, the previous state counts, and the next write replaces the truncated one', async () => {
  const path = join(directory, 'seen.json');
  const mark = (commits: number) => ({ storeId: 'a', commits, stamp: 's', fence: 0 });
  for (const commits of [1, 2]) {
    openLastSeenFile(path, silentLog).note(mark(commits));
    await until('it is noted', () => openLastSeenFile(path, silentLog).read()?.commits === commits);
  }
  const text = readFileSync(path, 'utf8');
  writeFileSync(path, text.replace('"commits":2,"stamp":"s","fence":0', '"commits":2,"sta\0\0\0\0\0'));
  const file = openLastSeenFile(path, silentLog);
  expect(file.read()).toEqual(mark(1));
  file.note(mark(3));
  await until('it is noted', () => openLastSeenFile(path, silentLog).read()?.commits === 3);
});

test('the state written by an older release is read, then replaced', async () => {
  const path = join(directory, 'seen.json');
  writeFileSync(path, '{"storeId":"a","commits":41}');
  const file = openLastSeenFile(path, silentLog);
  expect(file.read()).toEqual({ storeId: 'a', commits: 41, stamp: '', fence: 0 });
  file.note({ storeId: 'a', commits: 42, stamp: 's', fence: 0 });
  await until('it is noted', () => openLastSeenFile(path, silentLog).read()?.commits === 42);
});

test('a damaged state file counts as no state', () => {
  const path = join(directory, 'seen.json');
  writeFileSync(path, '{"storeId":"a"');
  expect(openLastSeenFile(path, silentLog).read()).toBeNull();
});
