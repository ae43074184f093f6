import { errorCode, kindOfError } from '../../../../core/error-code.ts';
import { errorText, PodgateError } from '../../../../core/errors.ts';
import type { FilesRef } from '../../../../core/volume.ts';
import { IGNORED_FS_GROUP } from '../../ignored-fs-group.ts';
import { invalid, namedFailure } from './walk-safely.ts';

const FULL = 'The storage of the volume or snapshot is full. Nothing was written.';
const CLOSED =
  'path: a pod made a file or directory there that is closed to others. Give its group access (chmod g+rwX), and start programs that share files with umask 002.';

/** Directories may have the sticky bit, and files may be immutable. */
export function removalFailure(error: unknown, name: string): unknown {
  const code = errorCode(error);
  if (code === 'ENOTEMPTY' || code === 'EEXIST') {
    return invalid(`path: ${JSON.stringify(name)} is a directory that is not empty; delete what is in it first`);
  }
  return code === 'EPERM' ? invalid(CLOSED) : namedFailure(error, name);
}

export function ignoredGroup(): PodgateError {
  return new PodgateError('orchestrator.unavailable', { publicMessages: [IGNORED_FS_GROUP] });
}

export function beyondLimit({ kind }: FilesRef, sizeLimitMiB: number): PodgateError {
  return new PodgateError('api.too-large', {
    publicMessages: [
      `The ${kind} would exceed its size_limit of ${sizeLimitMiB} MB. Nothing was written; raise size_limit, or store less.`,
    ],
  });
}

/** Disks fail in many ways; to the callers they are all one. */
export async function guarded<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof PodgateError || (error instanceof Error && error.name === 'AbortError')) throw error;
    if (kindOfError(error) === 'full') throw new PodgateError('api.too-large', { publicMessages: [FULL] });
    if (errorCode(error) === 'EACCES') throw new PodgateError('api.invalid', { publicMessages: [CLOSED] });
    throw new PodgateError('orchestrator.unavailable', { detail: errorText(error), cause: error });
  }
}
