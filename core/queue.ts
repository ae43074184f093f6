import type { RecordKind } from './store.ts';

export interface Claim {
  readonly key: string;
  /** Unique to this claim; a later claim of the same key has another. */
  readonly token: string;
}

/** A key that was set aside because its work kept failing. */
export interface ParkedKey {
  readonly key: string;
  /** For the operator. */
  readonly reason: string;
  /** Wall clock ms. */
  readonly sinceMs: number;
}

export interface QueueStats {
  readonly due: number;
  /** Parked keys are none of these. */
  readonly delayed: number;
  readonly leased: number;
  readonly parked: number;
}

/**
 * At-least-once delivery of keys ("look at this pod"), never of commands. It is a hint: every pass of the health loop
 * adds again what its plan says the spawner must do.
 *
 * Laws: a key is in the queue at most once. A claimed key is not given out again before its lease ends, unless `add`
 * came meanwhile: then it is due again once the claim is settled (acknowledged, retried or expired). `acknowledge`,
 * `retry`, `park` and `extend` with a token that no longer holds the lease do nothing and return false. Due keys are
 * given out in the order in which they became due, fairly between shares: first between their groups (tenants), then
 * between the shares (users) of one group. The group of a share is what stands before its first slash; a share without
 * one is a group of its own. See `shareOf`.
 *
 * A parked key is due again after `forMs`, so that nothing is stuck forever; sooner by `unpark`, or when a commit
 * enqueues it: its record has changed. `add` alone, being the hint that is repeated every few seconds, does not bring it
 * forward. A commit that enqueued the key during the claim wins over `park`: then it is due at once.
 *
 * On a store that lacks what this process has seen, whatever changes the queue throws PodgateError 'store.suspect' (see
 * Store).
 */
export interface Queue {
  /** Makes the key due after `delayMs` (sooner wins if it is queued already). */
  add(key: string, options?: { readonly delayMs?: number; readonly share?: string }): Promise<void>;
  /** Waits until a key is due and claims it; null when the signal aborts. */
  claim(leaseMs: number, signal: AbortSignal): Promise<Claim | null>;
  extend(claim: Claim, leaseMs: number): Promise<boolean>;
  acknowledge(claim: Claim): Promise<boolean>;
  retry(claim: Claim, delayMs: number): Promise<boolean>;
  park(claim: Claim, reason: string, forMs: number): Promise<boolean>;
  /** Longest parked first. */
  parked(limit: number): Promise<readonly ParkedKey[]>;
  /** Makes this parked key (null: all of them) due. Returns how many there were. */
  unpark(key: string | null): Promise<number>;
  stats(): Promise<QueueStats>;
}

/** The key under which a record waits for work: its kind, then its key, which contains a slash (`<tenant>/<id>`). */
export function queueKey(kind: RecordKind, key: string): string {
  return `${kind}/${key}`;
}

export interface QueuedRecord {
  /** A newer release may have added kinds that this one does not know. */
  readonly kind: string;
  readonly key: string;
  /** Enqueued by an earlier release, which knew only pods: without the kind. */
  readonly isWithoutKind: boolean;
}

export function parseQueueKey(text: string): QueuedRecord {
  const slash = text.indexOf('/');
  if (!text.includes('/', slash + 1)) return { kind: 'pod', key: text, isWithoutKind: true };
  return { kind: text.slice(0, slash), key: text.slice(slash + 1), isWithoutKind: false };
}

/** Of a share (see Queue): the tenant for the share of a user. */
export function groupOfShare(share: string): string {
  const slash = share.indexOf('/');
  return slash === -1 ? share : share.slice(0, slash);
}

/**
 * On whose account the work for a pod waits. Tenants take turns, whatever number of users they have, and so do the users
 * of one tenant; users of the same name in two tenants are strangers. Tenant ids contain no slash.
 */
export function shareOf(pod: { readonly tenant: string; readonly createdBy: string }): string {
  return `${pod.tenant}/${pod.createdBy}`;
}
