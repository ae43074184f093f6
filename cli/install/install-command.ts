import { lstatSync, mkdirSync, realpathSync, symlinkSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { errorText } from '../../core/errors.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';

const SCRIPT = join(import.meta.dirname, '../../podgate');

export interface InstalledCommand {
  readonly path: string;
  /** Shells find it: its directory is on the PATH. */
  readonly isOnPath: boolean;
}

/** Links `podgate` of this checkout into a directory of programs. Throws CliError; it replaces nothing that is not its own. */
export function installCommandLink(directory: string | undefined): InstalledCommand {
  const target = directory ?? (process.getuid?.() === 0 ? '/usr/local/bin' : join(homedir(), '.local/bin'));
  const path = join(target, 'podgate');
  const isOnPath = (process.env['PATH'] ?? '').split(delimiter).includes(target);
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) {
    if (isOurs(path)) return { path, isOnPath };
    throw new CliError(
      EXIT_FAILED,
      `${path} exists and belongs to something else; remove it, or choose another --directory`,
    );
  }
  try {
    mkdirSync(target, { recursive: true });
    symlinkSync(SCRIPT, path);
  } catch (error) {
    throw new CliError(EXIT_FAILED, `${path} cannot be made: ${errorText(error)}`);
  }
  return { path, isOnPath };
}

function isOurs(path: string): boolean {
  try {
    return realpathSync(path) === realpathSync(SCRIPT);
  } catch {
    return false;
  }
}
