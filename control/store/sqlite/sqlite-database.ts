import { closeSync, fsyncSync, openSync, rmSync, statSync } from 'node:fs';
import type { Clock } from '../../../core/clock.ts';
import { errorCode } from '../../../core/error-code.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { Lock } from '../../../core/lock.ts';
import type { LogStore } from '../../../core/log-store.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Replicas } from '../../../core/replicas.ts';
import type { Queue } from '../../../core/queue.ts';
import type { Store, StoreMemory } from '../../../core/store.ts';
import { RECORD_SCHEMAS, type RecordSchemas } from '../record-schema.ts';
import { createOneReplica } from '../one-replica.ts';
import type { RecoveryView } from '../recovery-view.ts';
import { createStoreGuard, createStoreMemory, type StoreGuard } from '../store-guard.ts';
import { createWakeup, type Wakeup } from '../wakeup.ts';
import { watchFiles } from './file-watch.ts';
import { guardSession, type GuardedSession } from './guarded-session.ts';
import { IN_MEMORY, openConnection } from './open-connection.ts';
import { createOutputFiles, createOutputsInMemory, type OutputFiles } from './output-files.ts';
import { beginLog, hasLog, renounceLog } from './log-origin.ts';
import { DiskRoom } from './disk-room.ts';
import { createFeedTrim } from './trim-feed.ts';
import { connect, type Connection, integerOf, textOf } from './sqlite-connection.ts';
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
  readonly guard: StoreGuard;
  readonly forRecovery: () => Promise<RecoveryView>;
  /** What has been read that was damaged, for the log; null = nothing. */
  damage(): string | null;
  /** Reads all of it from the disk and returns what is damaged; null = nothing, or it is too large to be looked through. */
  examine(): Promise<string | null>;
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
  /** What this process, and those before it, have seen of the store. Default: nothing, and it ends with the process. */
  readonly memory?: StoreMemory;
  readonly replicaId?: string;
  readonly schemas?: RecordSchemas;
  /** So many last commits stay in the change feed. */
  readonly feedCommits?: number;
  /** Of them, so many bytes of records at most, and about a sixteenth more. */
  readonly feedBytes?: number;
}

const FEED_COMMITS = 10_000;
/** One user may change the largest record again and again; without this bound the feed would have gigabytes of it. */
const FEED_BYTES = 64 * 1024 * 1024;

/**
 * The embedded store, queue, lock and logs: one SQLite file, owned by one process at a time. Throws PodgateError
 * 'config.invalid' with a sentence for a file that cannot be ours, 'store.unavailable' for a broken one.
 */
export function openSqliteDatabase(options: SqliteDatabaseOptions): SqliteDatabase {
  const room = options.path === IN_MEMORY ? null : new DiskRoom(options.path, options.log);
  room?.beforeOpening();
  const isLogNew = !hasLog(options.path);
  const connection = openConnection(options.path);
  try {
    return createSqliteDatabase(connection, options, { room, isLogNew });
  } catch (error) {
    connection.close();
    room?.close();
    throw storeFailure(`opening ${options.path}`, error);
  }
}

/** The same over a connection that `openConnection` made, which it then owns. */
export function createSqliteDatabase(
  connection: Connection,
  options: SqliteDatabaseOptions,
  { room = null, isLogNew = false }: { readonly room?: DiskRoom | null; readonly isLogNew?: boolean } = {},
): SqliteDatabase {
  const { path, clock, log } = options;
  const isInMemory = path === IN_MEMORY;
  const session = createSqliteSession({ connection, files: watchFiles(isInMemory ? null : path), room, clock, log });
  const guard = createStoreGuard({ memory: options.memory ?? createStoreMemory(), log });
  const guarded = guardSession(session, guard);
  const outputFiles = isInMemory ? createOutputsInMemory() : createOutputFiles({ dir: `${path}-output`, log });
  const wakeups = { queueChanged: createWakeup(), feedChanged: createWakeup() };
  const parts = { outputFiles, ...wakeups, ...options };
  const adapters = sqliteAdapters(guarded, parts);
  // In this order: a store that is not the one that was seen is left as it is.
  if (guarded.read('opening', (_, isTrusted) => isTrusted)) {
    releaseLeases(connection);
    releaseLocks(connection);
    if (isLogNew) beginLog(connection);
    room?.afterOpening(connection);
    session.settled();
  }
  return {
    ...adapters,
    replicas: createOneReplica({ id: options.replicaId ?? 'one', shared: '' }),
    guard,
    async forRecovery() {
      const fresh = createStoreGuard({ memory: createStoreMemory(), log });
      const view = sqliteAdapters(guardSession(session, fresh), parts);
      await view.store.identity();
      return view;
    },
    copyTo: (copy) => copyDatabase(session, copy),
    damage: () => session.damage(),
    examine: async () => examineDatabase(session),
    close() {
      session.close();
      // Waiters check again and find the store closed.
      wakeups.queueChanged.wake();
      wakeups.feedChanged.wake();
    },
  };
}

/** Store, queue, lock and logs of one who has seen what the session's guard knows. */
export function sqliteAdapters(
  session: GuardedSession,
  parts: Pick<SqliteDatabaseOptions, 'clock' | 'schemas' | 'feedCommits' | 'feedBytes'> & {
    readonly outputFiles: OutputFiles;
    readonly queueChanged: Wakeup;
    readonly feedChanged: Wakeup;
  },
): Pick<SqliteDatabase, 'store' | 'queue' | 'lock' | 'logs'> {
  const { clock, outputFiles, queueChanged, feedChanged } = parts;
  const queue = createSqliteQueue({ session, clock, changed: queueChanged });
  return {
    queue,
    store: createSqliteStore({
      session,
      schemas: parts.schemas ?? RECORD_SCHEMAS,
      trimFeed: createFeedTrim({
        feedCommits: parts.feedCommits ?? FEED_COMMITS,
        feedBytes: parts.feedBytes ?? FEED_BYTES,
      }),
      enqueue: queue.enqueue,
      queueChanged,
      feedChanged,
    }),
    lock: createSqliteLock({ session, clock }),
    logs: createSqliteLogStore({ session, outputFiles }),
  };
}

/** A larger database would hold up the event loop for more than half a second. */
const EXAMINED_MOST_BYTES = 128 * 1024 * 1024;

function examineDatabase(session: SqliteSession): string | null {
  return session.read('examine', (connection) => {
    const pages = integerOf(connection.get('PRAGMA page_count') ?? {}, 'page_count');
    const pageBytes = integerOf(connection.get('PRAGMA page_size') ?? {}, 'page_size');
    if (pages * pageBytes > EXAMINED_MOST_BYTES) return null;
    // What is cached says nothing about the disk.
    connection.exec('PRAGMA shrink_memory');
    const found = textOf(connection.get('PRAGMA quick_check(1)') ?? {}, 'quick_check');
    return found === 'ok' ? null : found;
  });
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
    throw refuse(errorCode(error) ?? 'unknown error');
  }
  try {
    session.read('copy', (connection) => connection.run('VACUUM INTO ?', path));
    const copy = connect(path);
    try {
      renounceLog(copy);
    } finally {
      copy.close();
    }
    const file = openSync(path, 'r+');
    fsyncSync(file);
    closeSync(file);
    return statSync(path).size;
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  }
}
