import type { RecoveryView } from '../../control/store/recovery-view.ts';
import type { StoreGuard } from '../../control/store/store-guard.ts';
import type { Lock } from '../../core/lock.ts';
import type { LogStore } from '../../core/log-store.ts';
import type { PodRecord } from '../../core/pod.ts';
import type { Queue } from '../../core/queue.ts';
import type { Delete, Expected, Put, Store } from '../../core/store.ts';
import { podRecord } from '../support/pod-records.ts';

/** What `copy` has made; of the implementation. */
export type StoreCopy = Readonly<Record<string, Buffer>>;

/** All adapters of one database, as the suites use them. */
export interface StoreHarness {
  readonly store: Store;
  readonly queue: Queue;
  readonly lock: Lock;
  readonly logs: LogStore;
  readonly guard: StoreGuard;
  readonly forRecovery: () => Promise<RecoveryView>;
  /** The whole store, as it is now. */
  copy(): Promise<StoreCopy>;
  /** Puts a copy (null: nothing) in the place of the store, under the process or, where it owns the store, in between. */
  exchange(copy: StoreCopy | null): Promise<StoreHarness>;
  /** Of everything that is stored, but for the age of the store. */
  fingerprint(): Promise<string>;
  /** Lets time pass for the database: by moving its clock, or by waiting where it has its own. */
  passTime(ms: number): Promise<void>;
  /** Ends the adapters and opens the same data again, as the next process that remembers what this one has seen. */
  reopen(): Promise<StoreHarness>;
  /** Ends the adapters, data kept. */
  close(): Promise<void>;
}

/** What laws an implementation can not be asked to keep. */
export interface StoreTraits {
  /** False where the data ends with the adapters. */
  readonly keepsData: boolean;
}

export interface StoreHarnessOptions {
  /** So many last commits stay in the change feed. */
  readonly feedCommits?: number;
  /** Of them, so many bytes of records at most. */
  readonly feedBytes?: number;
}

/** Opens an empty database. What was opened is closed and removed after each test by whoever gave the function. */
export type OpenStoreHarness = (options?: StoreHarnessOptions) => Promise<StoreHarness>;

/** A record as the API makes it. */
export function newPod(podId: string, changes: Partial<PodRecord> = {}): PodRecord {
  return podRecord({ podId, uid: `uid-of-${podId}`, applied: null, run: 0, status: 'REQUESTED', ...changes });
}

export function putPod(
  podId: string,
  expected: Expected,
  changes: Partial<PodRecord> = {},
  place: { readonly tenant?: string; readonly indexes?: readonly string[] } = {},
): Put {
  return {
    kind: 'pod',
    key: podId,
    expected,
    value: newPod(podId, changes),
    tenant: place.tenant ?? 'dev',
    indexes: place.indexes ?? [],
  };
}

export function deletePod(podId: string, expected: number): Delete {
  return { kind: 'pod', key: podId, expected, uid: `uid-of-${podId}` };
}

/** The number of a commit that must succeed. */
export async function committed(result: ReturnType<Store['commit']>): Promise<number> {
  const outcome = await result;
  if (outcome.kind !== 'committed') throw new Error(`expected a commit, got ${JSON.stringify(outcome)}`);
  return outcome.commit;
}

export const never = (): AbortSignal => new AbortController().signal;
