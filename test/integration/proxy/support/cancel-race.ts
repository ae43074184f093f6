import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../../../support/run.ts';

const SCRIPT = fileURLToPath(new URL('cancel-race.py', import.meta.url));

export interface CancelRace {
  /** Where libpq 17 or later is. */
  readonly libraries: string;
  readonly conninfo: string;
  readonly password: string;
  readonly tries: number;
  /** PQcancelBlocking, which connects as the session did, or PQcancel of old. */
  readonly way: 'encrypted' | 'plain';
}

/** Cancels `tries` statements as they end; answers how many cancels hit their own statement, and how many a later one. */
export async function raceCancels(options: CancelRace): Promise<{ readonly own: number; readonly later: number }> {
  const { libraries, conninfo, password, tries, way } = options;
  const { stdout, stderr } = await run(
    'python3',
    [SCRIPT, join(libraries, 'libpq.so.5'), conninfo, String(tries), way],
    { env: { LD_LIBRARY_PATH: libraries, PGPASSWORD: password } },
  );
  if (stderr !== '') throw new Error(stderr);
  return JSON.parse(stdout) as { own: number; later: number };
}
