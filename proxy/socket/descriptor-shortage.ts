import { closeSync, openSync } from 'node:fs';
import { devNull } from 'node:os';
import { kindOfError } from '../../core/error-code.ts';

/** The error of a process that can open nothing more, for calls that fail without saying why; null = it is something else. */
export function descriptorShortage(): Error | null {
  try {
    closeSync(openSync(devNull, 'r'));
    return null;
  } catch (error) {
    return error instanceof Error && kindOfError(error) === 'no-descriptors' ? error : null;
  }
}
