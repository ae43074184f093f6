import type { StoreGuard } from '../store-guard.ts';
import type { Connection } from './sqlite-connection.ts';
import type { SqliteSession, WriteOptions } from './sqlite-session.ts';
import { compareHistory } from './store-history.ts';

/** A session that presents, in the transaction of every write, what its process has seen of the store. */
export interface GuardedSession {
  readonly guard: StoreGuard;
  /** Of the commits of this process: see store-history.ts. */
  stamp(): string;
  ageMs(): number;
  /** Throws PodgateError 'store.suspect': for what is written beside the database. */
  assertTrusted(what: string): void;
  /** As SqliteSession. `isTrusted` is false when the store lacks what this process has seen. */
  read<T>(what: string, work: (connection: Connection, isTrusted: boolean) => T): T;
  /** As SqliteSession, and rejects with PodgateError 'store.suspect' when the store lacks what this process has seen. */
  write<T>(what: string, work: (connection: Connection) => T, options?: WriteOptions): Promise<T>;
}

export function guardSession(session: SqliteSession, guard: StoreGuard): GuardedSession {
  /** `isTrusted` is false when the store is not the one that this process has seen; then the guard knows why. */
  function compare(connection: Connection) {
    const presented = guard.mark();
    const { verdict, tip } = compareHistory(connection, presented);
    return { presented, tip, isTrusted: guard.compared(presented, verdict, tip) };
  }

  function noteExchange(): boolean {
    const reason = session.exchanged();
    if (reason !== null) guard.exchanged(reason);
    return reason !== null;
  }

  return {
    guard,
    stamp: () => session.stamp,
    ageMs: () => session.ageMs(),
    assertTrusted(what) {
      noteExchange();
      guard.assertTrusted(what);
    },
    read(what, work) {
      const isExchanged = noteExchange();
      return session.read(what, (connection) => {
        const { presented, tip, isTrusted } = compare(connection);
        if (isTrusted && !isExchanged) guard.saw(presented, tip);
        return work(connection, isTrusted && !isExchanged);
      });
    },
    async write(what, work, options) {
      guard.assertTrusted(what);
      try {
        const written = await session.write(
          what,
          (connection) => {
            const { presented, isTrusted } = compare(connection);
            if (!isTrusted) guard.assertTrusted(what);
            return { presented, result: work(connection), tip: compareHistory(connection, null).tip };
          },
          options,
        );
        // Only now: what a transaction that failed in the end had counted was never there.
        guard.saw(written.presented, written.tip);
        return written.result;
      } catch (error) {
        noteExchange();
        throw error;
      }
    },
  };
}
