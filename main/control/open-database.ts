import type { Config } from '../../config/config.ts';
import { readSecrets } from '../../config/secrets.ts';
import type { RecoveryView } from '../../control/store/recovery-view.ts';
import type { StoreGuard } from '../../control/store/store-guard.ts';
import { openSqliteDatabase } from '../../control/store/sqlite/sqlite-database.ts';
import type { Clock } from '../../core/clock.ts';
import { PodgateError } from '../../core/errors.ts';
import type { Lock } from '../../core/lock.ts';
import type { LogStore } from '../../core/log-store.ts';
import type { Logger } from '../../core/logger.ts';
import type { Replicas } from '../../core/replicas.ts';
import type { Queue } from '../../core/queue.ts';
import type { Store, StoreMemory } from '../../core/store.ts';

export interface Database {
  readonly store: Store;
  readonly queue: Queue;
  readonly lock: Lock;
  readonly logs: LogStore;
  readonly replicas: Replicas;
  readonly guard: StoreGuard;
  /** The store as it stands, for an operator's recovery. */
  forRecovery(): Promise<RecoveryView>;
  /** SQLite only: damage found while reading, for the log; null = none. */
  damage?: (() => string | null) | undefined;
  /** SQLite only: checks the files for damage, for the log; null = none found. */
  examine?: (() => Promise<string | null>) | undefined;
  /** SQLite only: writes a complete copy to a new file and returns its size in bytes. */
  copyTo?(path: string): Promise<number>;
  close(): void;
}

/** The configured store, with its queue, lock and logs. */
export async function openDatabase(options: {
  readonly config: Config;
  /** Of the embedded store. */
  readonly path: string;
  /** Names this replica in logs and metrics; no spaces. */
  readonly replicaId: string;
  /** What replicas must have in common; see core/replicas.ts. */
  readonly shared: string;
  readonly memory: StoreMemory;
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
  readonly log: Logger;
  /** Waits for a Redis that does not respond until it does, or until this aborts. */
  readonly signal: AbortSignal;
  /** Called when that wait begins, and whenever its reason changes. */
  readonly onWaiting: (error: PodgateError) => void;
}): Promise<Database> {
  const { config, path, replicaId, shared, memory, clock, log, signal, onWaiting } = options;
  switch (config.store) {
    case 'sqlite':
      return openSqliteDatabase({ path, replicaId, memory, clock, log });
    case 'redis': {
      const { redisUrl, redisCa: ca, redisReplicas } = readSecrets(options.env);
      // The supervisor validated the same environment.
      if (redisUrl === null) throw new PodgateError('config.invalid', { detail: 'PODGATE_REDIS_URL is no longer set' });
      const { openRedisDatabase } = await import('../../control/store/redis/redis-database.ts');
      const copies = redisReplicas === null ? {} : { copies: redisReplicas };
      return openRedisDatabase({
        url: redisUrl,
        ca,
        site: config.site,
        replicaId,
        shared,
        memory,
        log,
        patienceMs: Infinity,
        signal,
        onWaiting,
        ...copies,
      });
    }
  }
}
