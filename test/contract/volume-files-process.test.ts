import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createDirectoryFiles } from '../../spawner/orchestrator/process/volumes/directory-files.ts';
import { describeVolumeFiles } from './volume-files.suite.ts';

describeVolumeFiles('directories of this machine', async () => {
  const root = await mkdtemp(join(tmpdir(), 'podgate-volume-files-'));
  const files = createDirectoryFiles({ root, asRoot: process.getuid?.() === 0 });
  return {
    files,
    inVolume: async (ref, command) => {
      await promisify(execFile)('/bin/sh', ['-c', command], { cwd: files.mounts.pathOf(ref) });
    },
    close: () => rm(root, { recursive: true, force: true }),
  };
});
