import { closeSync, openSync } from 'node:fs';
import { devNull } from 'node:os';

/** There is no file descriptor for one more socket: in this process, or on this machine. That says nothing about the pod. */
export function isOutOfDescriptors(code: unknown): boolean {
  return code === 'EMFILE' || code === 'ENFILE';
}

/** The error of a process that can open nothing more, for calls that fail without saying why; null = it is something else. */
export function descriptorShortage(): Error | null {
  try {
    closeSync(openSync(devNull, 'r'));
    return null;
  } catch (error) {
    return error instanceof Error && 'code' in error && isOutOfDescriptors(error.code) ? error : null;
  }
}
