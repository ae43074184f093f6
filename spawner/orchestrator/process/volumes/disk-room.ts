import { statfs } from 'node:fs/promises';
import { PodgateError } from '../../../../core/errors.ts';

const MIB = 1024 * 1024;
/** Uploads leave so much of the file system free, or this part of a smaller one: the store and the logs may be on it. */
const KEPT_FREE_BYTES = 1024 * MIB;
const KEPT_FREE_PART = 1 / 20;
/** Uploads under way at a time, each of them between two checks, must not use up what is kept free. */
export const ROOM_CHECK_BYTES = MIB;

/** Throws 'orchestrator.unavailable' when the disk on which `directory` lies is nearly full, or will be with `bytes` more. */
export async function requireRoom(directory: string, bytes = 0): Promise<void> {
  const { bavail, blocks, bsize, ffree, files } = await statfs(directory);
  const keptBytes = Math.min(KEPT_FREE_BYTES, blocks * bsize * KEPT_FREE_PART);
  // Some file systems have no fixed number of files, and say 0.
  const hasFiles = files === 0 || ffree > files * KEPT_FREE_PART;
  if (bavail * bsize - bytes > keptBytes && hasFiles) return;
  throw new PodgateError('orchestrator.unavailable', {
    publicMessages: ['The disk that holds volumes is nearly full. Nothing was written; tell the operator.'],
    detail: `uploads leave ${Math.round(keptBytes / MIB)} MiB and ${KEPT_FREE_PART * 100} % of the files free on the disk of ${directory}`,
  });
}
