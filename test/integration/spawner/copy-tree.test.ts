import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CopyOptions, copyTree } from '../../../spawner/orchestrator/process/copies/copy-tree.ts';

describe.skipIf(process.platform !== 'linux')('a copy of a directory that a pod writes to', () => {
  let root: string;
  let from: string;
  let to: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'podgate-copy-'));
    [from, to] = [join(root, 'from'), join(root, 'to')];
    mkdirSync(join(from, 'inner'), { recursive: true });
    mkdirSync(to);
    writeFileSync(join(from, 'inner', 'file'), 'content', { mode: 0o755 });
    writeFileSync(join(root, 'outside'), 'secret');
  });
  afterEach(() => {
    rmSync(root, { recursive: true, force: true });
  });
  const copied = (change: Partial<CopyOptions> = {}): Promise<void> =>
    copyTree(from, to, {
      ...{ isLeftOut: () => false, onLink: () => undefined, limit: { bytes: 1024 * 1024, of: 'a volume' } },
      ...{ signal: AbortSignal.timeout(10_000), ...change },
    });

  it('has its files and directories, but no links or link targets', async () => {
    symlinkSync('../outside', join(from, 'link'));
    symlinkSync('..', join(from, 'inner', 'up'));
    const links: string[] = [];
    await copied({ onLink: (path) => links.push(path), isLeftOut: (path) => path === 'left-out' });
    expect(links.sort()).toEqual(['inner/up', 'link']);
    expect(readdirSync(to, { recursive: true }).sort()).toEqual(['inner', 'inner/file']);
    expect(readFileSync(join(to, 'inner', 'file'), 'utf8')).toBe('content');
  });

  it.skipIf(process.getuid?.() !== 0)('has no hard link to another user’s file', async () => {
    const { chownSync } = await import('node:fs');
    chownSync(from, 12_345, 12_345);
    linkSync(join(root, 'outside'), join(from, 'hard'));
    await expect(copied()).rejects.toThrow('hard link');
    expect(readdirSync(to)).not.toContain('hard');
  });

  it('ends before it exceeds its limit, also of files without content', async () => {
    writeFileSync(join(from, 'sparse'), '');
    truncateSync(join(from, 'sparse'), 1024 ** 4 * 8);
    await expect(copied()).rejects.toThrow('more than the 1 MiB of a volume');
    rmSync(to, { recursive: true });
    mkdirSync(to);
    // Without a limit, the disk is one.
    await expect(copied({ limit: { bytes: Infinity, of: 'a volume' } })).rejects.toThrow();
    expect(readdirSync(to)).not.toContain('sparse');
  });

  it('ends when its signal aborts', async () => {
    await expect(copied({ signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
    expect(readdirSync(to)).toEqual([]);
  });
});
