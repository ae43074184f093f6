import { randomBytes } from 'node:crypto';
import type { Clock } from '../../../core/clock.ts';
import { errorText, PodgateError } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import type { DiskRoom } from './disk-room.ts';
import type { FileWatch } from './file-watch.ts';
import { rewindLog } from './log-origin.ts';
import { addCommit, gatherDelayMs, type DiskDebt } from './gather-delay.ts';
import { integerOf, type Connection } from './sqlite-connection.ts';
import { isDamage, isFull, storeClosed, storeFailure, storeShort } from './sqlite-failure.ts';

/**
 * What store, queue, lock and logs share: one connection, one writer, one time.
 *
 * Writes asked for in one tick (and, when the disk is slow, within 25 ms) become one transaction, with one wait for the
 * disk. Each keeps its own atomicity in a savepoint, and none is answered before all of them are on the disk.
 */
export interface SqliteSession {
  /** Runs at once. It sees every write that has been answered. `what` names the operation in errors and the log. */
  read<T>(what: string, work: (connection: Connection) => T): T;
  /** Runs `work`, which must not await, in the next group. Rejects with PodgateError only, and then wrote nothing. */
  write<T>(what: string, work: (connection: Connection) => T, options?: WriteOptions): Promise<T>;
  /**
   * The store's age: whole ms for which it has been open, over all its life. Leases, due times and tombstones use it,
   * since it never jumps: a wall clock put right after start must neither end every lease nor purge every tombstone.
   * It stands still while Podgate is down.
   */
  ageMs(): number;
  /** What was read that cannot have been written, since the database was opened; null = nothing. */
  damage(): string | null;
  /** Random, of this process: see store-history.ts. */
  readonly stamp: string;
  /** Why this connection is of no use any more: somebody has exchanged or changed its files. Null = nobody has. */
  exchanged(): string | null;
  /** The connection was written to past this session, as it may be before it is first used. */
  settled(): void;
  close(): void;
}

export interface WriteOptions {
  /** It needs room and ends nothing: refused while the disk is full (see disk-room.ts). */
  readonly needsRoom?: boolean;
}

/** `run` answers what to do once the group is on the disk. */
interface Job {
  readonly what: string;
  readonly needsRoom: boolean;
  readonly run: () => () => void;
  readonly reject: (error: PodgateError) => void;
}

const STAMP_BYTES = 6;
/** Bounds how long one transaction blocks the loop: about 10 ms of work. */
const MOST_JOBS_PER_GROUP = 250;
/**
 * A longer write-ahead log is copied to the main file: as SQLite does it by itself, but when we know of it. The next
 * write begins a new log in the same file, since writing over what is there costs less.
 */
const CHECKPOINT_BYTES = 4 * 1024 * 1024;
/** On a full disk, so that the log never needs more than the file has. */
const CHECKPOINT_BYTES_WHEN_SHORT = 1024 * 1024;
/** So often the room for a group that has found none is doubled: it may need up to 31 times the usual growth. */
const MOST_EXTENSIONS = 5;

export function createSqliteSession(options: {
  readonly connection: Connection;
  readonly files: FileWatch;
  /** Null (the default): the database is in memory. */
  readonly room?: DiskRoom | null;
  readonly clock: Clock;
  readonly log: Logger;
}): SqliteSession {
  const { connection, files, room = null, clock, log } = options;
  let exchangedReason: string | null = null;
  let damage: string | null = null;
  const pageBytes = integerOf(connection.get('PRAGMA page_size') ?? {}, 'page_size');
  const openedAtMs = clock.monotonicMs();
  const ageAtOpenMs = integerOf(connection.get('SELECT age_ms FROM store') ?? {}, 'age_ms');
  const ageMs = (): number => ageAtOpenMs + Math.floor(clock.monotonicMs() - openedAtMs);

  let jobs: Job[] = [];
  let closed = false;
  /** Ends the wait for the next group. */
  let cancelScheduled: (() => void) | null = null;
  let debt: DiskDebt = { ms: 0, atMs: openedAtMs };

  function schedule(): void {
    if (cancelScheduled !== null) return;
    const delayMs = gatherDelayMs(debt, clock.monotonicMs());
    if (delayMs > 0) {
      const timer = setTimeout(flush, delayMs);
      cancelScheduled = () => clearTimeout(timer);
    } else {
      // Not a microtask: everything that this turn of the event loop brings shares the transaction.
      const immediate = setImmediate(flush);
      cancelScheduled = () => clearImmediate(immediate);
    }
  }

  function flush(): void {
    cancelScheduled = null;
    writeNextGroup();
    if (jobs.length > 0) schedule();
  }

  function writeNextGroup(): void {
    const group = jobs.slice(0, MOST_JOBS_PER_GROUP);
    jobs = jobs.slice(MOST_JOBS_PER_GROUP);
    for (const settle of writeGroup(group)) settle();
  }

  /** Runs one transaction. Returns the outcome of each job. `attempt`: the same group has found no room so often. */
  function writeGroup(group: readonly Job[], attempt = 0): readonly (() => void)[] {
    try {
      assertOurs(files.changed());
      connection.run('BEGIN IMMEDIATE');
      const changesBefore = totalChanges();
      const endings = group.map(runJob);
      // So that the age survives a kill -9: otherwise a key made due now would lie in the future after it.
      const hasChanged = totalChanges() !== changesBefore;
      if (hasChanged) connection.run('UPDATE store SET age_ms = ?', ageMs());
      const startedAtMs = clock.monotonicMs();
      connection.run('COMMIT');
      // What has just been written may lie in a file that nobody will ever find again: then it is not acknowledged.
      assertOurs(files.exchanged());
      files.settled();
      if (logBytes() > (room?.isShort === true ? CHECKPOINT_BYTES_WHEN_SHORT : CHECKPOINT_BYTES)) checkpoint();
      const endedAtMs = clock.monotonicMs();
      debt = addCommit(debt, endedAtMs - startedAtMs, endedAtMs);
      if (hasChanged) makeRoom(endedAtMs);
      return endings;
    } catch (error) {
      const failure = failed('commit', error);
      rollBack();
      // A transaction that failed may have written to the log all the same.
      if (exchangedReason === null) files.settled();
      if (isFull(error) && room !== null) return writeWithoutRoom(room, group, attempt, failure);
      return group.map((job) => () => job.reject(failure));
    }
  }

  /** Once there is more room, or else what needs none, one by one: a write that does would take the others with it. */
  function writeWithoutRoom(
    room: DiskRoom,
    group: readonly Job[],
    attempt: number,
    failure: PodgateError,
  ): readonly (() => void)[] {
    const reject = (job: Job) => () => job.reject(failure);
    const wasShort = room.isShort;
    if (!wasShort && attempt === MOST_EXTENSIONS) return group.map(reject);
    const isExtended = room.extend(connection, 2 ** attempt);
    files.settled();
    if (isExtended) return writeGroup(group, attempt + 1);
    if (wasShort && attempt > 0) return group.map(reject);
    checkpoint();
    return group.flatMap((job) => (job.needsRoom ? [reject(job)] : writeGroup([job], 1)));
  }

  /** What has been committed stays so, whatever happens here. */
  function makeRoom(nowMs: number): void {
    try {
      room?.afterCommit(connection, nowMs);
    } catch (error) {
      failed('reserving disk space', error);
    }
    files.settled();
  }

  function noteExchange(reason: string | null): void {
    if (exchangedReason !== null || reason === null) return;
    exchangedReason = reason;
    try {
      files.leave();
    } catch (error) {
      log.error({ error: errorText(error) }, 'failed to detach the log of the former store; delete its -wal file');
    }
  }

  function assertOurs(reason: string | null): void {
    noteExchange(reason);
    if (exchangedReason !== null) throw new PodgateError('store.suspect', { detail: exchangedReason });
  }

  /** Of the write-ahead log: what its file is long does not count. */
  function logBytes(): number {
    const { log: pages } = connection.get('PRAGMA wal_checkpoint(NOOP)') ?? {};
    return typeof pages === 'number' ? pages * pageBytes : 0;
  }

  /** The log only grows when it fails, and the next commit tries again. */
  function checkpoint(): void {
    try {
      if (rewindLog(connection)) room?.cutLogFile();
    } catch (error) {
      log.warn({ error: errorText(error) }, 'failed to checkpoint the write-ahead log of the store');
    }
    files.settled();
  }

  function totalChanges(): number {
    return integerOf(connection.get('SELECT total_changes() AS changes') ?? {}, 'changes');
  }

  function runJob(job: Job): () => void {
    connection.run('SAVEPOINT job');
    try {
      const ending = job.run();
      connection.run('RELEASE job');
      return ending;
    } catch (error) {
      // SQLite ends the whole transaction by itself after some failures: then all jobs have failed. A full disk concerns
      // all of them.
      if (!connection.isInTransaction() || isFull(error)) throw error;
      connection.run('ROLLBACK TO job');
      connection.run('RELEASE job');
      const failure = failed(job.what, error);
      return () => job.reject(failure);
    }
  }

  function rollBack(): void {
    if (!connection.isInTransaction()) return;
    try {
      connection.run('ROLLBACK');
    } catch (error) {
      failed('rollback', error);
    }
  }

  function failed(what: string, error: unknown): PodgateError {
    const failure = storeFailure(what, error);
    // The guard has told of it.
    if (failure.code === 'store.suspect') return failure;
    if (isDamage(error)) damage = failure.message;
    log.error({ code: failure.code, detail: failure.message }, 'the store failed');
    return failure;
  }

  return {
    ageMs,
    damage: () => damage,
    stamp: randomBytes(STAMP_BYTES).toString('base64url'),
    settled: () => files.settled(),
    exchanged() {
      if (!closed) noteExchange(files.changed());
      return exchangedReason;
    },
    read(what, work) {
      if (closed) throw storeClosed(what);
      try {
        return work(connection);
      } catch (error) {
        throw failed(what, error);
      }
    },
    write(what, work, { needsRoom = false } = {}) {
      if (closed) return Promise.reject(storeClosed(what));
      if (needsRoom && room?.isShort === true) return Promise.reject(storeShort(what));
      return new Promise((resolve, reject) => {
        const run = (): (() => void) => {
          const result = work(connection);
          return () => resolve(result);
        };
        jobs.push({ what, needsRoom, run, reject });
        schedule();
      });
    },
    close() {
      if (closed) return;
      closed = true;
      cancelScheduled?.();
      while (jobs.length > 0) writeNextGroup();
      if (exchangedReason === null && room?.beforeClosing() === false) return;
      connection.close();
      room?.close();
    },
  };
}
