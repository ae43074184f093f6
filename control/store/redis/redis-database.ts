import { randomUUID } from 'node:crypto';
import { isAborted, pause } from '../../../core/abort.ts';
import { errorText, type PodgateError } from '../../../core/errors.ts';
import type { Lock } from '../../../core/lock.ts';
import type { LogStore } from '../../../core/log-store.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Replicas } from '../../../core/replicas.ts';
import type { Queue } from '../../../core/queue.ts';
import type { Store, StoreMemory } from '../../../core/store.ts';
import { RECORD_SCHEMAS, type RecordSchemas } from '../record-schema.ts';
import type { RecoveryView } from '../recovery-view.ts';
import { createStoreGuard, createStoreMemory, type StoreGuard } from '../store-guard.ts';
import { createWakeup } from '../wakeup.ts';
import { parseRedisTarget, type RedisAddress } from './redis-address.ts';
import {
  openRedisConnection,
  type Patience,
  type RedisConnection,
  type RedisConnectionOptions,
} from './redis-connection.ts';
import { createRedisImport, type RedisImport } from './redis-import.ts';
import { redisKeys } from './redis-keys.ts';
import { createRedisLock } from './redis-lock.ts';
import { createRedisLogStore } from './redis-log-store.ts';
import { createRedisQueue } from './redis-queue.ts';
import { readScripts } from './redis-scripts.ts';
import { createRedisSession, type RedisSession } from './redis-session.ts';
import { createRedisReplicas, type RedisReplicas } from './redis-replicas.ts';
import { createSharedLookup } from './shared-lookup.ts';
import { createRedisStore } from './redis-store.ts';
import { askSentinels } from './sentinels.ts';
import { checkRights } from './rights.ts';
import { checkServer, checkStore, type SendRaw, type ServerFacts } from './start-checks.ts';
import { appendOnlyFile, checkLoadingUser, NOT_SHOWN, SHOW_IT } from './durability.ts';
import { refused } from './redis-failure.ts';
import { watchWakes } from './wake-watch.ts';

export interface RedisDatabase {
  readonly store: Store;
  readonly queue: Queue;
  readonly lock: Lock;
  readonly logs: LogStore;
  readonly replicas: Replicas;
  readonly guard: StoreGuard;
  readonly forRecovery: () => Promise<RecoveryView>;
  readonly imports: RedisImport;
  /** Whatever is asked for later gets 'store.unavailable'; what was asked for is still sent and answered. */
  close(): void;
}

export interface RedisDatabaseOptions {
  /** `redis[s]://[[user]:password@]host[:port][/database]`. Secret. */
  readonly url: string;
  /** Installations of different sites may share a Redis. */
  readonly site: string;
  /** Of this replica, without spaces; default: one that says nothing to people. */
  readonly replicaId?: string;
  /** What replicas must have in common; see core/replicas.ts. */
  readonly shared?: string;
  readonly log: Logger;
  /** What this process, and those before it, have seen of the store. Default: nothing, and it ends with the process. */
  readonly memory?: StoreMemory;
  /** Certificates (PEM) of the authority of a `rediss:` server; null = those that Node trusts. */
  readonly ca?: string | null;
  readonly schemas?: RecordSchemas;
  /** So many last commits stay in the change feed. */
  readonly feedCommits?: number;
  /** Of them, so many bytes of records at most, and about a sixtieth more. */
  readonly feedBytes?: number;
  /** So many replicas of the server must have a commit before it is answered. Default: with Sentinel 1, else 0. */
  readonly copies?: number;
  /** For `imports` alone: also one that is half full is opened. */
  readonly isBeingFilled?: boolean;
  /** Every call answers, or fails, within this time. */
  readonly deadlineMs?: number;
  /** How long opening waits for a Redis that does not answer; Infinity = until `signal` aborts. */
  readonly patienceMs?: number;
  readonly signal?: AbortSignal;
  /** Called when opening has to wait, and again whenever it is for another reason. */
  readonly onWaiting?: (error: PodgateError) => void;
}

const FEED_COMMITS = 10_000;
/** One user may change the largest record again and again; without this bound the feed would have gigabytes of it. */
const FEED_BYTES = 64 * 1024 * 1024;
const DEADLINE_MS = 3_000;
const PATIENCE_MS = 10_000;
/** A Sentinel that does not answer within it is left out. */
const SENTINEL_MS = 1_000;
/** So often the Sentinels are asked whether another server is the master by now, should the old one live on. */
const LOOK_FOR_MASTER_MS = 2_000;

/**
 * The shared store, queue, lock and logs: one Redis, used by any number of processes. Throws PodgateError
 * 'config.invalid' with a sentence for a Redis that refuses us or on which acknowledged records could be lost,
 * 'store.unavailable' for one that does not answer.
 */
export async function openRedisDatabase(options: RedisDatabaseOptions): Promise<RedisDatabase> {
  const { log } = options;
  const target = parseRedisTarget(options.url);
  const { shown } = target.kind === 'server' ? target.address : target;
  const keys = redisKeys(options.site);
  const scripts = readScripts();
  const feedChanged = createWakeup();
  const queueChanged = createWakeup();
  /** Wakes all waiters, which then check the store again. */
  const wakeAll = (): void => {
    feedChanged.wake();
    queueChanged.wake();
  };
  const watching = new AbortController();
  const { ca = null, deadlineMs = DEADLINE_MS } = options;
  const lookup = createSharedLookup();
  const locate = async (): Promise<RedisAddress> =>
    target.kind === 'server'
      ? target.address
      : askSentinels({ ...target, ca, lookup, deadlineMs: Math.min(deadlineMs, SENTINEL_MS) });
  const copies = options.copies ?? (target.kind === 'sentinel' ? 1 : 0);
  const waits = copies > 0;
  const guard = createStoreGuard({ memory: options.memory ?? createStoreMemory(), log });
  const checks = { keys, scripts, waits, isBeingFilled: options.isBeingFilled === true, mark: () => guard.mark() };
  let warnedOf: string | null = null;
  async function checkAppendOnlyFile(send: SendRaw, facts: ServerFacts, at: string): Promise<void> {
    const proof = await appendOnlyFile(send, facts, { keys, script: scripts['append-only'], mark: guard.mark() });
    if (proof === 'from the start' || warnedOf === facts.runId) return;
    // A replica rewrites its file whenever it copies its master, which a failover may have made of it.
    if (proof === 'not shown, and new' && target.kind === 'server' && guard.mark() === null) {
      throw refused(`The Redis at ${at} is not used for a new store. ${NOT_SHOWN} ${SHOW_IT}`);
    }
    warnedOf = facts.runId;
    log.warn({ redis: at }, `nothing shows that Redis keeps records across a restart. ${NOT_SHOWN} ${SHOW_IT}`);
  }
  const connectionOptions: RedisConnectionOptions = {
    locate,
    shown,
    // Short: until then, nothing else on the connection is answered.
    copies: { count: copies, withinMs: Math.ceil(deadlineMs / 3) },
    ca,
    lookup,
    deadlineMs,
    log,
    async check(send, address) {
      const facts = await checkServer(send, address.shown, target.kind === 'sentinel');
      await checkLoadingUser(send, keys, address.shown);
      await checkRights(send, { keys, script: scripts['missing-rights'], waits, shown: address.shown });
      await checkAppendOnlyFile(send, facts, address.shown);
      await checkStore(send, checks, address.shown);
    },
    onChange: wakeAll,
  };
  const patience: Patience = {
    forMs: options.patienceMs ?? PATIENCE_MS,
    signal: options.signal ?? watching.signal,
    onWaiting: options.onWaiting ?? (() => undefined),
  };
  const connection = await openRedisConnection(connectionOptions, patience);
  const opened = [connection];
  try {
    const session = createRedisSession({ connection, keys, scripts, guard, waits });
    const watcher = await openRedisConnection(connectionOptions, patience);
    opened.push(watcher);
    let replicas: RedisReplicas | null = null;
    const subscription = { channel: keys.bus, onMessage: (text: string) => replicas?.received(text) };
    const subscriber = await openRedisConnection({ ...connectionOptions, subscription }, patience);
    opened.push(subscriber);
    const { replicaId: id = randomUUID(), shared = '' } = options;
    replicas = createRedisReplicas({ id, shared, session, subscriber, log });
    const wakes = { connection: watcher, wakes: keys.wakes, feedChanged, queueChanged };
    const watch = watchWakes(wakes, watching.signal);
    watch.catch((error: unknown) => log.error({ error: errorText(error) }, 'the watch for changes ended'));
    if (target.kind === 'sentinel') void followMaster(locate, opened, watching.signal);
    const adapters = (on: RedisSession) => ({
      store: createRedisStore({
        session: on,
        schemas: options.schemas ?? RECORD_SCHEMAS,
        feedCommits: options.feedCommits ?? FEED_COMMITS,
        feedBytes: options.feedBytes ?? FEED_BYTES,
        feedChanged,
      }),
      queue: createRedisQueue({ session: on, changed: queueChanged }),
      lock: createRedisLock(on),
      logs: createRedisLogStore(on),
    });
    const present = adapters(session);
    await present.store.identity();
    return {
      ...present,
      replicas,
      guard,
      async forRecovery() {
        const fresh = createStoreGuard({ memory: createStoreMemory(), log });
        const view = adapters(createRedisSession({ connection, keys, scripts, guard: fresh, waits }));
        await view.store.identity();
        return view;
      },
      imports: createRedisImport(session),
      close() {
        connection.close();
        watching.abort();
        watcher.close('at once');
        subscriber.close('at once');
        wakeAll();
      },
    };
  } catch (error) {
    for (const each of opened) each.close();
    throw error;
  }
}

/** An old master that was cut off from the others takes writes that will be lost: nobody of ours stays with it. */
async function followMaster(
  locate: () => Promise<RedisAddress>,
  connections: readonly RedisConnection[],
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await pause(LOOK_FOR_MASTER_MS, signal);
    // No Sentinel answers: that is no reason to leave a server that does.
    const address = await locate().catch(() => null);
    if (address === null || isAborted(signal)) continue;
    for (const connection of connections) connection.moveTo(address);
  }
}
