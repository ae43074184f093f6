import { execFile } from 'node:child_process';
import { SHIM_PATH } from './shim.ts';

const TIMEOUT_MS = 60_000;
/** Of both walks, one line a directory: the second finds everything in the cache of the kernel. */
const MEASURE = 'nice -n 19 du -sx -B1 -- "$@"; nice -n 19 du -sx --inodes -- "$@"';
/** A user of files that deny themselves to it, as root is anyway. */
const OWN_FILES: readonly string[] = ['unshare', '--user', '--map-current-user', '--keep-caps', '--'];

export interface MeasuredDirectory {
  readonly bytes: number;
  readonly files: number;
}

/**
 * What these directories take of the disk, in their order; hard links count once. Pods write there, so that files vanish
 * and links lead anywhere: du follows none and goes on. Null when it takes longer than a minute, or cannot be done.
 */
export function measureDisk(
  directories: readonly string[],
  { hasUserNamespaces }: { readonly hasUserNamespaces: boolean },
  signal: AbortSignal,
): Promise<readonly MeasuredDirectory[] | null> {
  const [program = 'sh', ...args] = [
    ...(hasUserNamespaces ? OWN_FILES : []),
    ...['/bin/sh', '-c', MEASURE, 'sh', ...directories],
  ];
  return new Promise((resolve) => {
    const options = {
      env: { PATH: SHIM_PATH, LC_ALL: 'C' },
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
      signal,
    } as const;
    // What vanishes meanwhile makes du fail with all its numbers printed.
    execFile(program, args, options, (_error, stdout) => resolve(parseMeasured(stdout, directories.length)));
  });
}

/** Lines of `du`, one a directory, bytes first; null when some are missing. */
export function parseMeasured(text: string, count: number): readonly MeasuredDirectory[] | null {
  const numbers = text.split('\n').flatMap((line) => /^(\d+)\t/.exec(line)?.[1] ?? []);
  if (numbers.length !== 2 * count) return null;
  return numbers.slice(0, count).map((bytes, i) => ({ bytes: Number(bytes), files: Number(numbers[count + i]) }));
}
