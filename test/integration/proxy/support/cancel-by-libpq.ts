import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until } from '../../../support/until.ts';

const SCRIPT = fileURLToPath(new URL('cancel-by-libpq.py', import.meta.url));

export interface LibpqCancel {
  /** Where libpq 17 or later is. */
  readonly libraries: string;
  readonly conninfo: string;
  readonly password: string;
  readonly sql: string;
  /** PQcancelBlocking, which connects as the session did, or PQcancel of old. */
  readonly way: 'encrypted' | 'plain';
  readonly isRunning: () => Promise<boolean>;
}

/** Runs the statement and cancels it once it runs; answers how it ended, in libpq's words. */
export async function cancelByLibpq(options: LibpqCancel): Promise<string> {
  const { libraries, conninfo, password, sql, way, isRunning } = options;
  const child = spawn('python3', [SCRIPT, join(libraries, 'libpq.so.5'), conninfo, sql, way], {
    env: { ...process.env, LD_LIBRARY_PATH: libraries, PGPASSWORD: password },
    stdio: ['pipe', 'pipe', 'pipe'],
    timeout: 40_000,
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said += text));
  const closed = once(child, 'close');
  await until('the statement runs', () => child.exitCode !== null || isRunning());
  child.stdin.on('error', () => undefined).end('\n');
  await closed;
  return said;
}
