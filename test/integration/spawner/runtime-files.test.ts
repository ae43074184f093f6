import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isReachableByAll, makeOnce, reachableProgram } from '../../../spawner/orchestrator/process/runtime-files.ts';
import { asRoot } from './process-harness.ts';

describe('files that are created once', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'podgate-runtime-'));
    chmodSync(root, 0o755);
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const content = (path: string) => readFileSync(join(path, 'file'), 'utf8');

  it('are complete and the same for all concurrent callers', async () => {
    let made = 0;
    const make = async (directory: string) => {
      made += 1;
      await writeFile(join(directory, 'file'), 'whole');
    };
    const paths = await Promise.all(Array.from({ length: 5 }, () => makeOnce(root, 'thing-1', make)));
    expect(new Set(paths)).toEqual(new Set([join(root, 'thing-1')]));
    expect(content(paths[0] ?? '')).toBe('whole');
    const before = made;
    expect(content(await makeOnce(root, 'thing-1', make))).toBe('whole');
    expect(made).toBe(before);
    expect(readdirSync(root)).toEqual(['thing-1']);
  });

  it('leave nothing when creation fails, and are created at the next attempt', async () => {
    const fail = async (directory: string) => {
      await writeFile(join(directory, 'file'), 'half');
      throw new Error('the disk is full');
    };
    await expect(makeOnce(root, 'thing-1', fail)).rejects.toThrow('the disk is full');
    expect(readdirSync(root)).toEqual([]);
    const path = await makeOnce(root, 'thing-1', (directory) => writeFile(join(directory, 'file'), 'whole'));
    expect(content(path)).toBe('whole');
  });

  it('are copies of programs where others cannot reach the original', async () => {
    const closed = join(root, 'closed');
    mkdirSync(closed, { mode: 0o700 });
    writeFileSync(join(closed, 'program'), 'v1', { mode: 0o755 });
    expect(await isReachableByAll(join(closed, 'program'))).toBe(false);
    const copy = await reachableProgram(join(closed, 'program'), join(root, 'runtime'), 'program');
    expect(copy.startsWith(join(root, 'runtime'))).toBe(true);
    expect(readFileSync(copy, 'utf8')).toBe('v1');
    expect(await isReachableByAll(copy)).toBe(true);
    expect(await reachableProgram(copy, join(root, 'runtime'), 'program')).toBe(copy);
    // Another version is another copy.
    writeFileSync(join(closed, 'program'), 'version 2');
    expect(
      readFileSync(await reachableProgram(join(closed, 'program'), join(root, 'runtime'), 'program'), 'utf8'),
    ).toBe('version 2');
  });

  // Only root can give a directory to somebody else; CI is root.
  it.skipIf(!asRoot)('are never used from a directory of another user', async () => {
    mkdirSync(join(root, 'planted', 'runtime', 'thing-1'), { recursive: true });
    chownSync(join(root, 'planted'), 12_345, 12_345);
    const make = () => Promise.resolve();
    await expect(makeOnce(join(root, 'planted', 'runtime'), 'thing-1', make)).rejects.toThrow('another user');
  });
});
