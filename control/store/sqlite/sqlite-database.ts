import { closeSync, fsyncSync, openSync, rmSync, statSync } from 'node:fs';
import type { Clock } from '../../../core/clock.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { Lock } from '../../../core/lock.ts';
import type { LogStore } from '../../../core/log-store.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Replicas } from '../../../core/replicas.ts';
import type { Queue } from '../../../core/queue.ts';
import type { Store } from '../../../core/store.ts';
import { RECORD_SCHEMAS, type RecordSchemas } from '../record-schema.ts';
import { createOneReplica } from '../one-replica.ts';
import { createWakeup } from '../wakeup.ts';
import { IN_MEMORY, openConnection } from './open-connection.ts';
import { createOutputFiles, createOutputsInMemory } from './output-files.ts';
import type { Connection } from './sqlite-connection.ts';
import { storeFailure } from './sqlite-failure.ts';
import { createSqliteLock, releaseLocks } from './sqlite-lock.ts';
import { createSqliteLogStore } from './sqlite-log-store.ts';
import { createSqliteQueue, releaseLeases } from './sqlite-queue.ts';
import { createSqliteSession, type SqliteSession } from './sqlite-session.ts';
import { createSqliteStore } from './sqlite-store.ts';

export interface SqliteDatabase {
  readonly store: Store;
  readonly queue: Queue;
  readonly lock: Lock;
  readonly logs: LogStore;
  readonly replicas: Replicas;
  /** Writes a whole copy to a file that does not exist yet, as of now, and answers its size in bytes. */
  copyTo(path: string): Promise<number>;
  /** Writes what has been asked for, then closes. Whatever is asked for later gets 'store.unavailable'. */
  close(): void;
}

export interface SqliteDatabaseOptions {
  /** A file, made when absent, whose pods' output is kept beside it in `<path>-output/`; or ':memory:'. */
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
  readonly replicaId?: string;
  readonly schemas?: RecordSchemas;
  /** So many last commits stay in the change feed. */
  readonly feedCommits?: number;
}

const FEED_COMMITS = 10_000;

/**
 * The embedded store, queue, lock and logs: one SQLite file, owned by one process at a time. Throws PodgateError
 * 'config.invalid' with a sentence for a file that cannot be ours, 'store.unavailable' for a broken one.
 */
export function openSqliteDatabase(options: SqliteDatabaseOptions): SqliteDatabase {
  const connection = openConnection(options.path);
  try {
    return createSqliteDatabase(connection, options);
  } catch (error) {
    connection.close();
    throw storeFailure(`opening ${options.path}`, error);
  }
}

/** The same over a connection that `openConnection` made, which it then owns. */
export function createSqliteDatabase(connection: Connection, options: SqliteDatabaseOptions): SqliteDatabase {
  const { path, clock, log } = options;
  releaseLeases(connection);
  releaseLocks(connection);
  const session = createSqliteSession({ connection, clock, log });
  const queueChanged = createWakeup();
  const feedChanged = createWakeup();
  const queue = createSqliteQueue({ session, clock, changed: queueChanged });
  const store = createSqliteStore({
    session,
    schemas: options.schemas ?? RECORD_SCHEMAS,
    feedCommits: options.feedCommits ?? FEED_COMMITS,
    enqueue: queue.enqueue,
    queueChanged,
    feedChanged,
  });
  const outputFiles = path === IN_MEMORY ? createOutputsInMemory() : createOutputFiles({ dir: `${path}-output`, log });
  return {
    store,
    queue,
    lock: createSqliteLock({ session, clock }),
    logs: createSqliteLogStore({ session, outputFiles }),
    replicas: createOneReplica({ id: options.replicaId ?? 'one', shared: '' }),
    copyTo: (copy) => copyDatabase(session, copy),
    close() {
      session.close();
      // Whoever waits looks again, and learns that the store is closed.
      queueChanged.wake();
      feedChanged.wake();
    },
  };
}

/**
 * In one statement, which nothing else can interrupt: a copy of the files of a database in use would be torn. Throws
 * PodgateError 'config.invalid' for a path that cannot be written.
 */
async function copyDatabase(session: SqliteSession, path: string): Promise<number> {
  const refuse = (why: string): PodgateError =>
    new PodgateError('config.invalid', { publicMessages: [`The copy cannot be written to ${path}: ${why}.`] });
  try {
    // Made first, for its owner alone; SQLite fills an empty file.
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    throw refuse(error instanceof Error && 'code' in error ? String(error.code) : 'unknown error');
  }
  try {
    session.read('copy', (connection) => connection.run('VACUUM INTO ?', path));
    const file = openSync(path, 'r+');
    fsyncSync(file);
    closeSync(file);
    return statSync(path).size;
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
}
