import type { Stats } from 'node:fs';

/** Times of files are those of the kernel's tick, and HTTP has them in seconds: until then two versions may be taken for one. */
const SETTLED_MS = 1_000;

/**
 * Names what a file contains: an upload is another inode, and whatever writes to a file changes its ctime, which nobody
 * can set. Null while the next change could leave it as it is.
 */
export function changeTag(
  { ino, size, ctimeMs, mtimeMs }: Pick<Stats, 'ino' | 'size' | 'ctimeMs' | 'mtimeMs'>,
  nowMs: number,
): string | null {
  if (nowMs - Math.max(ctimeMs, mtimeMs) < SETTLED_MS) return null;
  return [ino, Math.round(ctimeMs * 1000), size].map((each) => each.toString(36)).join('-');
}
