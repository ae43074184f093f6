import { errorCode } from '../../../core/error-code.ts';
import type { Credentials } from '../../../core/pod.ts';
import type { ProbedPlace } from './probes.ts';

/** From connecting to the result of a query. */
const LOGIN_DEADLINE_MS = 5_000;

/**
 * 'result': its user has logged in to its own database and run a query. 'refused': the server accepts connections, and not
 * this one; the data directory appears with its user, password and database, so its user has changed one of them.
 * 'unavailable': not yet, or no more.
 */
export type PostgresLogin = 'result' | 'refused' | 'unavailable';

/** Logs in and runs a query. Never throws; 'unavailable' once `signal` aborts. */
export async function probePostgresLogin(
  { connect, place }: ProbedPlace,
  { username, password }: Credentials,
  signal: AbortSignal,
): Promise<PostgresLogin> {
  // Loaded by those who have a Postgres.
  const { default: pg } = await import('pg');
  const socket = connect(place);
  // The client connects the socket it is given, which connects already.
  const stream = Object.assign(socket, { connect: () => socket });
  const client = new pg.Client({
    stream: () => stream,
    user: username,
    database: username,
    password,
    ssl: false,
    connectionTimeoutMillis: LOGIN_DEADLINE_MS,
    query_timeout: LOGIN_DEADLINE_MS,
  });
  // What comes after the answer is nobody's business.
  client.on('error', () => undefined);
  const onAbort = (): void => {
    socket.destroy();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    await client.connect();
    await client.query('SELECT 1');
    return 'result';
  } catch (error) {
    return isRefusal(error) ? 'refused' : 'unavailable';
  } finally {
    signal.removeEventListener('abort', onAbort);
    client.end().catch(() => undefined);
    socket.destroySoon();
  }
}

/** An ErrorResponse of a server that is neither starting nor ending (class 57: operator intervention). */
function isRefusal(error: unknown): boolean {
  const code = errorCode(error) ?? '';
  return /^[0-9A-Z]{5}$/.test(code) && !code.startsWith('57');
}
