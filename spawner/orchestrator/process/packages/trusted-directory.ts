import { lstatSync, realpathSync, type Stats } from 'node:fs';
import { dirname } from 'node:path';

const WRITABLE_BY_OTHERS = 0o022;
const WRITABLE_BY_ALL = 0o002;
const STICKY = 0o1000;
/** Owner of files whose owner does not exist in our user namespace: there, root is such a one. */
const OVERFLOW_UID = 65_534;

/**
 * Why programs in a directory must not be run: another user of this machine may have put them there. A sentence that
 * says what to do, or null when only this user and root can write to it, or exchange a directory above it.
 */
export function distrustOf(directory: string): string | null {
  const real = realpathSync(directory);
  const own = lstatSync(real);
  const us = process.getuid?.() ?? 0;
  if (!own.isDirectory()) return `${directory} is not a directory; remove it.`;
  if (own.uid !== us && own.uid !== 0)
    return `${directory} belongs to another user; remove it, or run: chown ${us} ${directory}.`;
  if ((own.mode & WRITABLE_BY_OTHERS) !== 0) {
    return `${directory} is writable by other users, who may have changed what is in it; remove it, then run: chmod go-w ${dirname(directory)}.`;
  }
  for (let above = dirname(real); ; above = dirname(above)) {
    const problem = distrustOfAncestor(above, lstatSync(above), us);
    if (problem !== null) return problem;
    if (above === dirname(above)) return null;
  }
}

function distrustOfAncestor(path: string, { uid, mode }: Stats, us: number): string | null {
  if (![0, us, OVERFLOW_UID].includes(uid))
    return `${path} belongs to another user; set XDG_CACHE_HOME to a directory of yours.`;
  // In a sticky directory, such as /tmp, nobody else can rename what is ours.
  if ((mode & WRITABLE_BY_ALL) === 0 || (mode & STICKY) !== 0) return null;
  return `${path} is writable by every user; run: chmod o-w ${path}.`;
}
