import { addressKey } from '../../core/address-key.ts';
import { KeyedCounts } from './keyed-counts.ts';

/** Places of one worker in which clients wait for pods that sleep or start. */
export interface WaitingLimits {
  /** A pod that nobody wakes must not use up the places of all. */
  readonly perPod: number;
  readonly inTotal: number;
  /** Of the places of a pod, and of all, that one address (addressKey) may hold: 0.5 = half. */
  readonly addressShare: number;
}

/** Which limit keeps a client from a place: `held` = of the pod or the worker, `held-address` = the share of its address. */
export type WaitingLimit = 'held' | 'held-address';

/** Exact counts: every place taken needs one `release` with the same pod and address. */
export class WaitingPlaces {
  readonly #limits: WaitingLimits;
  readonly #counts = new KeyedCounts();
  #taken = 0;

  constructor(limits: WaitingLimits) {
    this.#limits = limits;
  }

  /** Null = taken. `uid`: of the pod. */
  take(uid: string, address: string): WaitingLimit | null {
    const { perPod, inTotal, addressShare } = this.#limits;
    const keys = keysOf(uid, address);
    const counts = this.#counts;
    if (this.#taken >= inTotal || counts.of(keys.pod) >= perPod) return 'held';
    const hasShare =
      counts.of(keys.addressAtPod) < shareOf(perPod, addressShare) &&
      counts.of(keys.address) < shareOf(inTotal, addressShare);
    if (!hasShare) return 'held-address';
    this.#taken++;
    for (const key of Object.values(keys)) counts.add(key);
    return null;
  }

  release(uid: string, address: string): void {
    this.#taken--;
    for (const key of Object.values(keysOf(uid, address))) this.#counts.remove(key);
  }
}

/** At least one place. */
function shareOf(places: number, share: number): number {
  return Math.ceil(places * share);
}

/** The first word keeps the kinds apart. */
function keysOf(uid: string, address: string): Readonly<Record<'pod' | 'addressAtPod' | 'address', string>> {
  const client = addressKey(address);
  return { pod: `pod ${uid}`, addressAtPod: `pod ${uid} ${client}`, address: `address ${client}` };
}
