import { randomBytes } from 'node:crypto';
import type { Clock } from '../../../core/clock.ts';
import { errorText, PodgateError } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import { type DiskReserve, NO_RESERVE } from './disk-reserve.ts';
import type { FileWatch } from './file-watch.ts';
import { beginLog } from './log-origin.ts';
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
  /** It needs room and ends nothing: refused while the disk is full (see disk-reserve.ts). */
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
/** A longer write-ahead log is copied to the main file: as SQLite does it by itself, but when we know of it. */
const CHECKPOINT_BYTES = 4 * 1024 * 1024;

export function createSqliteSession(options: {
  readonly connection: Connection;
  readonly files: FileWatch;
  /** Default: there is none. */
  readonly reserve?: DiskReserve;
  readonly clock: Clock;
  readonly log: Logger;
}): SqliteSession {
  const { connection, files, reserve = NO_RESERVE, clock, log } = options;
  let exchangedReason: string | null = null;
  let damage: string | null = null;
  /**
   * After a checkpoint SQLite begins the log anew without making its file shorter, since writing over what is there costs
   * less: it has grown past its former size once it is as long again.
   */
  let checkpointOverBytes = CHECKPOINT_BYTES;
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

  /** Runs one transaction. Returns the outcome of each job. */
  function writeGroup(group: readonly Job[]): readonly (() => void)[] {
    try {
      assertOurs(files.changed());
      connection.run('BEGIN IMMEDIATE');
      const changesBefore = totalChanges();
      const endings = group.map(runJob);
      // So that the age survives a kill -9: otherwise a key made due now would lie in the future after it.
      if (totalChanges() !== changesBefore) connection.run('UPDATE store SET age_ms = ?', ageMs());
      const startedAtMs = clock.monotonicMs();
      connection.run('COMMIT');
      // What has just been written may lie in a file that nobody will ever find again: then it is not acknowledged.
      assertOurs(files.exchanged());
      files.settled();
      if (files.walBytes() > checkpointOverBytes) checkpoint();
      const endedAtMs = clock.monotonicMs();
      debt = addCommit(debt, endedAtMs - startedAtMs, endedAtMs);
      reserve.restore(endedAtMs);
      return endings;
    } catch (error) {
      const failure = failed('commit', error);
      rollBack();
      // A transaction that failed may have written to the log all the same.
      if (exchangedReason === null) files.settled();
      if (isFull(error)) return writeWithoutRoom(group, failure);
      return group.map((job) => () => job.reject(failure));
    }
  }

  /** What needs no more room than there is, one by one: a write that needs more would take the others with it. */
  function writeWithoutRoom(group: readonly Job[], failure: PodgateError): readonly (() => void)[] {
    const wasShort = reserve.isShort;
    if (!wasShort) {
      reserve.release(connection);
      files.settled();
    }
    if (!reserve.isShort || (wasShort && group.length === 1)) return group.map((job) => () => job.reject(failure));
    return group.flatMap((job) => (job.needsRoom ? [() => job.reject(failure)] : writeGroup([job])));
  }

  function noteExchange(reason: string | null): void {
    if (exchangedReason !== null || reason === null) return;
    exchangedReason = reason;
    try {
      files.leave();
    } catch (error) {
      log.error({ error: errorText(error) }, 'the log of the former store could not be left; delete its -wal file');
    }
  }

  function assertOurs(reason: string | null): void {
    noteExchange(reason);
    if (exchangedReason !== null) throw new PodgateError('store.suspect', { detail: exchangedReason });
  }

  /** The log only grows when it fails, on a full disk say, and the next commit tries again. */
  function checkpoint(): void {
    // Each round the file grows by what the last group was too long: now and then it is cut.
    const mode = files.walBytes() > 2 * CHECKPOINT_BYTES ? 'TRUNCATE' : 'PASSIVE';
    try {
      const { busy, log: pages, checkpointed } = connection.get(`PRAGMA wal_checkpoint(${mode})`) ?? {};
      if (busy === 0 && pages === checkpointed) beginLog(connection);
      files.settled();
      checkpointOverBytes = Math.max(CHECKPOINT_BYTES, files.walBytes());
    } catch (error) {
      files.settled();
      log.warn({ error: errorText(error) }, 'the write-ahead log of the store could not be checkpointed');
    }
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
      if (needsRoom && reserve.isShort) return Promise.reject(storeShort(what));
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
      // At the end of a connection SQLite removes its log, and with it the room that the next one will need.
      if (!reserve.isShort) connection.close();
    },
  };
}
