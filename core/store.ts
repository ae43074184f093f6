import type {
  AcmeAccountRecord,
  CertificateBudgetRecord,
  CertificateRecord,
  ChallengeRecord,
  ChallengeTextRecord,
} from './certificates.ts';
import type { AuditRecord } from './audit.ts';
import type { Fence } from './lock.ts';
import type { CredentialRecord, PodRecord } from './pod.ts';
import type { ImageRecord } from './image-record.ts';
import type { KeptVolumeRecord, UsageRecord } from './quota.ts';
import type { SnapshotRecord, VolumeRecord } from './volume.ts';
import type { SecretRecord } from './secret.ts';
import type { TemplateRecord, TemplateTagRecord } from './template-record.ts';

/** The kinds of record and what each holds. */
export interface RecordTypes {
  readonly pod: PodRecord;
  readonly credential: CredentialRecord;
  readonly certificate: CertificateRecord;
  readonly 'acme-account': AcmeAccountRecord;
  readonly 'certificate-budget': CertificateBudgetRecord;
  readonly challenge: ChallengeRecord;
  readonly 'challenge-text': ChallengeTextRecord;
  readonly usage: UsageRecord;
  readonly 'kept-volume': KeptVolumeRecord;
  readonly volume: VolumeRecord;
  readonly snapshot: SnapshotRecord;
  readonly secret: SecretRecord;
  readonly template: TemplateRecord;
  readonly 'template-tag': TemplateTagRecord;
  readonly image: ImageRecord;
  readonly audit: AuditRecord;
}
export type RecordKind = keyof RecordTypes;

/** `revision` is the number of the commit that wrote the record: it only grows, also across delete and create. */
export interface Stored<K extends RecordKind = RecordKind> {
  readonly kind: K;
  readonly key: string;
  readonly revision: number;
  readonly value: RecordTypes[K];
}

/** As a list returns it. `bytes`: of the text that the store keeps of it, as `maxBytes` counts them. */
export type Listed<K extends RecordKind = RecordKind> = Stored<K> & { readonly bytes: number };

/** The remainder of a deleted record. Kept for at least seven days, so that clean-up can prove the deletion. */
export interface Tombstone {
  readonly kind: RecordKind;
  readonly key: string;
  readonly uid: string;
  readonly revision: number;
}

/** The revision the writer has read, or 'absent' to create (a tombstone counts as absent). */
export type Expected = number | 'absent';

export type Put = {
  [K in RecordKind]: {
    readonly kind: K;
    readonly key: string;
    readonly expected: Expected;
    readonly value: RecordTypes[K];
    readonly tenant: string;
    /** Index entries under which `list` finds the record, such as `user:alice`. Replace the former ones. */
    readonly indexes: readonly string[];
  };
}[RecordKind];

export interface Delete {
  readonly kind: RecordKind;
  readonly key: string;
  readonly expected: number;
  /** Written to the tombstone. */
  readonly uid: string;
}

/** A queue key, and the share that it waits in (see Queue). */
export interface Enqueue {
  readonly key: string;
  readonly share?: string;
}

export interface Batch {
  readonly puts?: readonly Put[];
  readonly deletes?: readonly Delete[];
  /** Queue keys made due in the same atomic step. */
  readonly enqueue?: readonly Enqueue[];
  /** Refused when a greater fence of the same lease has been used. Each lease has its own (see Lock). */
  readonly fence?: Fence;
}

export type CommitResult =
  | { readonly kind: 'committed'; readonly commit: number }
  /** Nothing was written. `keys` did not have the expected revision. */
  | { readonly kind: 'conflict'; readonly keys: readonly string[] }
  | { readonly kind: 'fenced' };

export type Change =
  | { readonly kind: 'put'; readonly commit: number; readonly record: Stored }
  | { readonly kind: 'delete'; readonly commit: number; readonly tombstone: Tombstone }
  /** Changes were lost (trimmed, or the store was replaced): read everything again, then go on after `commit`. */
  | { readonly kind: 'gap'; readonly commit: number };

export interface StoreIdentity {
  /** Random, made with the store. A restored copy has the same id and a lower counter. */
  readonly storeId: string;
  /** Number of commits so far. */
  readonly commits: number;
  /** IDs of stores that this one has replaced by `adopt`: what they created counts as created by this one. */
  readonly replaces?: readonly string[];
}

/**
 * A place in the history of a store: the greatest commit of it that a process has seen, its own or another's. Every write
 * presents it, and the store refuses the write, in the same atomic step, when that commit is not part of its history.
 */
export interface StoreMark {
  readonly storeId: string;
  readonly commits: number;
  /**
   * Random, from this commit of this history: a copy of the store that has been changed elsewhere has another stamp
   * here, however many commits it has. '' = not known, as in what an older release has written.
   */
  readonly stamp: string;
  /** The greatest fence that this process has been given. */
  readonly fence: number;
}

/** Keeps the mark of a process outside the store, across its restarts. */
export interface StoreMemory {
  /** Null = this process, and those before it, have seen no store yet. */
  read(): StoreMark | null;
  /** Called whenever the mark advances. Returns at once and never throws; the mark is on the disk soon after. */
  note(mark: StoreMark): void;
}

/** The identity under which a store continues that replaces another one: see `npx podgate recover`. */
export interface Adoption {
  readonly storeId: string;
  /** The counter continues above this number; it never decreases. */
  readonly commits: number;
  /** Every fence given from now on is greater than this. */
  readonly fence: number;
  /** Other stores that it replaces, too. */
  readonly replaces: readonly string[];
}

export interface ListQuery {
  readonly tenant?: string;
  readonly index?: string;
  /** Keys greater than this one, in key order. */
  readonly after?: string;
  readonly limit: number;
  /** No further record is read once the sum of `bytes` is at least this: then there may be more, although fewer than `limit`. */
  readonly maxBytes?: number;
}

/**
 * Records with compare-and-set and a change feed.
 *
 * Laws: `commit` is one atomic, durable step - puts, deletes, enqueued keys and feed entries all or none - and returns
 * only after it would survive `kill -9`. A commit may be done and its answer lost: callers read again and compare.
 * `get` and `list` see every commit that was answered before they were called. Records carry a schema version, which
 * the store keeps and upgrades. `adopt` is one atomic, durable step: afterwards the store has that id, a counter that is
 * not lower, and in `replaces` its former id and those given, beside what was there; records stay as they are, and every
 * reader of changes gets a gap. Doing it twice changes nothing. Every method throws PodgateError 'store.unavailable' within its deadline, never hangs.
 *
 * Of the history: every answer advances the mark of the process (StoreMark), and `commit`, like every write to the
 * queue, the locks, the logs and what replicas agree on, throws PodgateError 'store.suspect' and writes nothing when the
 * store lacks a commit that this process has seen: it is older, empty, another one, or a copy that has gone its own way.
 * Reads go on; `changes` gives nothing meanwhile, and a gap afterwards. `identity` compares again: once the right store is back, or this one
 * has been adopted, writes go on. After `adopt` the marks that processes have of the adopted and the replaced stores are
 * part of its history.
 */
export interface Store {
  commit(batch: Batch): Promise<CommitResult>;
  get<K extends RecordKind>(kind: K, key: string): Promise<Stored<K> | null>;
  tombstone(kind: RecordKind, key: string): Promise<Tombstone | null>;
  list<K extends RecordKind>(kind: K, query: ListQuery): Promise<readonly Listed<K>[]>;
  /** Every change after the commit `after`, in order, as it happens, until the signal aborts (then it returns). */
  changes(after: number, signal: AbortSignal): AsyncIterable<Change>;
  identity(): Promise<StoreIdentity>;
  adopt(adoption: Adoption): Promise<StoreIdentity>;
}
