import { addressKey } from '../../core/address-key.ts';

/** Connections a worker holds at most; all counts are of this worker alone. */
export interface ConnectionLimits {
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: number;
  readonly maxConnectionsPerPod: number;
}

export type Limit = 'connections' | 'address' | 'pod';

/**
 * 'admitted' has a place; 'surplus' has none and is kept only long enough to be told so in its own protocol; 'none' is
 * closed at once, since telling is what an overload must not spend its time with.
 */
export type Admission = 'admitted' | 'surplus' | 'none';

/** Surplus connections kept at a time, in all and per address. */
const SURPLUS_MAX = 64;
const SURPLUS_PER_ADDRESS_MAX = 8;

/** Counts exactly: each `admit` but 'none' is undone by one `release`, each `acquirePod` that was true by one `releasePod`. */
export class ConnectionCounts {
  readonly #limits: ConnectionLimits;
  readonly #onLimit: (limit: Limit) => void;
  readonly #admitted = new Map<string, number>();
  readonly #surplus = new Map<string, number>();
  readonly #pods = new Map<string, number>();
  #admittedTotal = 0;
  #surplusTotal = 0;

  /** `onLimit` is told each time a limit keeps someone from a place. */
  constructor(limits: ConnectionLimits, onLimit: (limit: Limit) => void = () => undefined) {
    this.#limits = limits;
    this.#onLimit = onLimit;
  }

  /** Only the limit in all keeps this address from a place. */
  lacksRoom(address: string): boolean {
    const { maxConnections, maxConnectionsPerAddress } = this.#limits;
    if (this.#admittedTotal < maxConnections) return false;
    return (this.#admitted.get(addressKey(address)) ?? 0) < maxConnectionsPerAddress;
  }

  admit(address: string): Admission {
    const key = addressKey(address);
    const { maxConnections, maxConnectionsPerAddress } = this.#limits;
    if (this.#admittedTotal < maxConnections && increment(this.#admitted, key, maxConnectionsPerAddress)) {
      this.#admittedTotal++;
      return 'admitted';
    }
    this.#onLimit(this.#admittedTotal < maxConnections ? 'address' : 'connections');
    if (this.#surplusTotal < SURPLUS_MAX && increment(this.#surplus, key, SURPLUS_PER_ADDRESS_MAX)) {
      this.#surplusTotal++;
      return 'surplus';
    }
    return 'none';
  }

  release(address: string, admission: Exclude<Admission, 'none'>): void {
    const key = addressKey(address);
    if (admission === 'admitted') {
      this.#admittedTotal--;
      decrement(this.#admitted, key);
    } else {
      this.#surplusTotal--;
      decrement(this.#surplus, key);
    }
  }

  /** For one more request at a time on a connection that has its place. */
  acquireAddress(address: string): boolean {
    const isAcquired = increment(this.#admitted, addressKey(address), this.#limits.maxConnectionsPerAddress);
    if (!isAcquired) this.#onLimit('address');
    return isAcquired;
  }

  releaseAddress(address: string): void {
    decrement(this.#admitted, addressKey(address));
  }

  acquirePod(uid: string): boolean {
    const isAcquired = increment(this.#pods, uid, this.#limits.maxConnectionsPerPod);
    if (!isAcquired) this.#onLimit('pod');
    return isAcquired;
  }

  releasePod(uid: string): void {
    decrement(this.#pods, uid);
  }

  /** For diagnosis and tests: everything that is held. */
  snapshot(): { admitted: number; surplus: number; addresses: number; pods: number } {
    return {
      admitted: this.#admittedTotal,
      surplus: this.#surplusTotal,
      addresses: this.#admitted.size + this.#surplus.size,
      pods: this.#pods.size,
    };
  }
}

function increment(counts: Map<string, number>, key: string, max: number): boolean {
  const count = counts.get(key) ?? 0;
  if (count >= max) return false;
  counts.set(key, count + 1);
  return true;
}

function decrement(counts: Map<string, number>, key: string): void {
  const count = (counts.get(key) ?? 0) - 1;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}
