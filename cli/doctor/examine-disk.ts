import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Overwriting, overwritingOf } from '../../control/store/sqlite/overwrite-in-place.ts';
import { errorText } from '../../core/errors.ts';
import { type Finding, ok, warn } from '../../core/finding.ts';

/** The embedded store: where are its records, and can it still stop a pod when the disk is full? */
export function examineDisk(dataDir: string): Finding {
  const where = `Records are in ${dataDir}`;
  const file = join(dataDir, 'podgate.db');
  if (!existsSync(file)) return ok('store', `${where}.`);
  try {
    return ofOverwriting(overwritingOf(file), where, dataDir);
  } catch (error) {
    return warn('store', `${where}. Its file system could not be examined: ${errorText(error)}.`, 'Install e2fsprogs.');
  }
}

function ofOverwriting(overwriting: Overwriting, where: string, dataDir: string): Finding {
  const isRefused = 'when the disk is full, stopping a pod may be refused';
  switch (overwriting) {
    case 'in place':
      return ok('store', `${where}.`);
    case 'copies':
      return warn(
        'store',
        `${where}, on btrfs, which copies each block that is overwritten: ${isRefused}.`,
        `Stop Podgate. Then: mv ${dataDir} ${dataDir}.old && mkdir -m 700 ${dataDir} && chattr +C ${dataDir} && cp -a --reflink=never ${dataDir}.old/. ${dataDir}/`,
      );
    case 'always copies':
      return warn(
        'store',
        `${where}, on ZFS, which copies each block that is overwritten: ${isRefused}.`,
        'Put the data directory on another file system, or give it a quota that leaves some MiB of the pool free.',
      );
  }
}
