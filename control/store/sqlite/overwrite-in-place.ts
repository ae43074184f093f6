import { execFileSync } from 'node:child_process';
import { existsSync, statfsSync } from 'node:fs';
import { errorText } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';

/** `f_type` of statfs(2): file systems that write a new block for each one that is overwritten. */
const BTRFS = 0x9123683e;
const ZFS = 0x2fc12fc1;

const TOOL_MS = 5_000;

/** Whether what is in the disk's free space can be missing when a file is overwritten. btrfs asks for it file by file. */
export type Overwriting = 'in place' | 'copies' | 'always copies';

/**
 * On btrfs, has the files that will be made in this directory overwritten in place: writes to them need no free block then,
 * so a full disk can still stop a pod. What is there already stays as it is.
 */
export function overwriteInPlace(directory: string, log: Logger): void {
  // Whoever opens the store says what is wrong with its place.
  if (!existsSync(directory) || statfsSync(directory).type !== BTRFS) return;
  try {
    execFileSync('chattr', ['+C', directory], { stdio: 'ignore', timeout: TOOL_MS });
  } catch (error) {
    log.warn({ error: errorText(error), directory }, 'chattr +C failed: on a full disk, stopping a pod may be refused');
  }
}

/** Of a file that is there. Throws where it cannot be read. */
export function overwritingOf(file: string): Overwriting {
  const { type } = statfsSync(file);
  if (type === ZFS) return 'always copies';
  if (type !== BTRFS) return 'in place';
  const listed = execFileSync('lsattr', ['-d', '--', file], { encoding: 'utf8', timeout: TOOL_MS });
  return /^\S*C/.test(listed) ? 'in place' : 'copies';
}
