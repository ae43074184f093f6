import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RESTART_NOTE } from '../messages.ts';

/** The outcome of the last restart, for the command that asked for it. */
export function noteRestart(dataDir: string, problems: readonly string[]): void {
  const path = join(dataDir, RESTART_NOTE);
  try {
    writeFileSync(`${path}.new`, JSON.stringify({ at: new Date().toISOString(), problems }), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  } catch {
    // A full disk: the log has it too.
  }
}
