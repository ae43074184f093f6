import { constants, type FileHandle, open, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Client } from 'pg';
import { errorCode } from '../../../../../core/error-code.ts';
import { openRoot, within } from '../../volumes/walk-safely.ts';
import type { RecipeContext } from '../recipe.ts';
import { ADMIN_ROLE } from './installation.ts';

const CONNECT_DEADLINE_MS = 5_000;
/** A server of the pod's user could send without end. */
const RECEIVED_MAX_BYTES = 1024 * 1024;
const HBA = 'pg_hba.conf';
/** Of Linux, not in node:fs: names a file without opening it. */
const O_PATH = 0o10000000;

/**
 * Settings of a server that let Podgate in: a Unix socket in the data directory, which is closed to everybody but the
 * pod's user, who is the server's superuser anyway. Passwords change, and nobody else has that of the admin role.
 * The path of the directory may be too long for a socket, so it is relative to it.
 */
export async function ownSessionSettings({ config }: RecipeContext, hba: string): Promise<readonly string[]> {
  if (process.platform !== 'linux') return ['unix_socket_directories='];
  const file = join(config, HBA);
  await writeFile(file, hba, { mode: 0o644 });
  return ['unix_socket_directories=.', `hba_file=${file}`];
}

export interface OwnSessionOptions {
  readonly data: string;
  readonly port: number;
  /** Role and database of the template, where the admin role or the database `postgres` is not there any more. */
  readonly username: string;
  readonly queryTimeoutMs: number;
}

/** Runs `work` in a session as a superuser. `signal`, and that given to `work`, ends it; the latter also aborts with the session. */
export async function withOwnSession<T>(
  options: OwnSessionOptions,
  signal: AbortSignal,
  work: (client: Client, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { username } = options;
  const ways = [
    { user: ADMIN_ROLE, database: 'postgres' },
    { user: ADMIN_ROLE, database: username },
    { user: username, database: username },
  ];
  for (const [index, way] of ways.entries()) {
    const opened = await openSession(options, way, signal).catch((error: unknown) => {
      const isLast = index === ways.length - 1;
      if (isLast || !isMissing(error)) throw error;
      return null;
    });
    if (opened === null) continue;
    try {
      return await work(opened.client, opened.signal);
    } finally {
      opened.close();
    }
  }
  throw new Error('no way in is left');
}

/** A role or a database that is not there (any more), or is not to be connected to. */
function isMissing(error: unknown): boolean {
  return ['28000', '3D000', '55000', '42501'].includes(errorCode(error) ?? '');
}

async function openSession(
  { data, port, queryTimeoutMs }: OwnSessionOptions,
  { user, database }: { readonly user: string; readonly database: string },
  signal: AbortSignal,
): Promise<{ readonly client: Client; readonly signal: AbortSignal; readonly close: () => void }> {
  signal.throwIfAborted();
  // Loaded by those who have a Postgres.
  const { default: pg } = await import('pg');
  const socketFile = await openSocket(data, port);
  const socket = connect(`/proc/self/fd/${socketFile.fd}`);
  const ended = new AbortController();
  const end = (): void => {
    socket.destroy();
    ended.abort(new Error('the session has ended'));
  };
  let receivedBytes = 0;
  socket.on('data', (bytes: Uint8Array) => {
    receivedBytes += bytes.length;
    if (receivedBytes > RECEIVED_MAX_BYTES) end();
  });
  socket.once('close', end);
  signal.addEventListener('abort', end, { once: true });
  const client = new pg.Client({
    // The client connects the socket it is given, which connects already.
    stream: () => Object.assign(socket, { connect: () => socket }),
    ...{ user, database, ssl: false, application_name: 'podgate' },
    connectionTimeoutMillis: CONNECT_DEADLINE_MS,
    query_timeout: queryTimeoutMs,
  });
  client.on('error', end);
  const close = (): void => {
    signal.removeEventListener('abort', end);
    client.end().catch(() => undefined);
    socket.destroySoon();
  };
  try {
    await client.connect();
    return { client, signal: AbortSignal.any([signal, ended.signal]), close };
  } catch (error) {
    close();
    throw error;
  } finally {
    await socketFile.close();
  }
}

/**
 * The pod may have put a link there: to the socket of another pod's server, which would take us for its own. So it is
 * opened without following links, has to be its own, and is connected to by what has been opened.
 */
async function openSocket(data: string, port: number): Promise<FileHandle> {
  const directory = await openRoot(data);
  try {
    const file = await open(within(directory, `.s.PGSQL.${port}`), O_PATH | constants.O_NOFOLLOW);
    const [own, stats] = await Promise.all([directory.stat(), file.stat()]);
    if (stats.isSocket() && stats.uid === own.uid) return file;
    await file.close();
    throw new Error('the socket of the server is not its own');
  } finally {
    await directory.close();
  }
}
