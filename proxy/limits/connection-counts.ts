import { addressKey } from '../../core/address-key.ts';

import { LeasedPlaces } from './leased-places.ts';

export interface ConnectionLimits {
  /** Of this worker alone: it is also what its memory and its descriptors are enough for. */
  readonly maxConnections: number;
  /** Of all workers together (LeasedPlaces). */
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

/** This worker is the only one. */
function unshared(): LeasedPlaces {
  return new LeasedPlaces({ workers: 1, send: () => false, nowMs: () => 0 });
}

/** What is counted of one address, and of one pod. */
const addressPlace = (address: string): string => `address ${addressKey(address)}`;
const podPlace = (uid: string): string => `pod ${uid}`;

/**
 * Counts exactly: each admission but 'none' is undone by one `release`, each place that was taken by one release of its kind.
 * Answers come at once, except where a place has to be asked of the other workers first.
 */
export class ConnectionCounts {
  readonly #limits: ConnectionLimits;
  readonly #onLimit: (limit: Limit) => void;
  readonly #places: LeasedPlaces;
  readonly #surplus = new Map<string, number>();
  #admittedTotal = 0;
  #surplusTotal = 0;

  /** `onLimit` is told each time a limit keeps someone from a place. */
  constructor(
    limits: ConnectionLimits,
    onLimit: (limit: Limit) => void = () => undefined,
    places: LeasedPlaces = unshared(),
  ) {
    this.#limits = limits;
    this.#onLimit = onLimit;
    this.#places = places;
  }

  /** Only the limit in all keeps this address from a place. */
  lacksRoom(address: string): boolean {
    const { maxConnections, maxConnectionsPerAddress } = this.#limits;
    if (this.#admittedTotal < maxConnections) return false;
    return this.#places.held(addressPlace(address)) < maxConnectionsPerAddress;
  }

  admit(address: string, done: (admission: Admission) => void): void {
    const { maxConnections, maxConnectionsPerAddress } = this.#limits;
    if (this.#admittedTotal >= maxConnections) {
      done(this.#refused(address, 'connections'));
      return;
    }
    this.#admittedTotal++;
    this.#places.take(addressPlace(address), maxConnectionsPerAddress, (isTaken) => {
      if (isTaken) {
        done('admitted');
        return;
      }
      this.#admittedTotal--;
      done(this.#refused(address, 'address'));
    });
  }

  #refused(address: string, limit: Limit): Admission {
    this.#onLimit(limit);
    const key = addressKey(address);
    if (this.#surplusTotal >= SURPLUS_MAX || !increment(this.#surplus, key, SURPLUS_PER_ADDRESS_MAX)) return 'none';
    this.#surplusTotal++;
    return 'surplus';
  }

  release(address: string, admission: Exclude<Admission, 'none'>): void {
    if (admission === 'admitted') {
      this.#admittedTotal--;
      this.#places.release(addressPlace(address));
    } else {
      this.#surplusTotal--;
      decrement(this.#surplus, addressKey(address));
    }
  }

  /** For one more request at a time on a connection that has its place. */
  acquireAddress(address: string, done: (isAcquired: boolean) => void): void {
    this.#take(addressPlace(address), this.#limits.maxConnectionsPerAddress, 'address', done);
  }

  releaseAddress(address: string): void {
    this.#places.release(addressPlace(address));
  }

  acquirePod(uid: string, done: (isAcquired: boolean) => void): void {
    this.#take(podPlace(uid), this.#limits.maxConnectionsPerPod, 'pod', done);
  }

  releasePod(uid: string): void {
    this.#places.release(podPlace(uid));
  }

  /** For diagnosis and tests: everything that is held. */
  snapshot(): { admitted: number; surplus: number; counted: number } {
    const counted = this.#surplus.size + this.#places.size;
    return { admitted: this.#admittedTotal, surplus: this.#surplusTotal, counted };
  }

  #take(key: string, max: number, limit: Limit, done: (isAcquired: boolean) => void): void {
    this.#places.take(key, max, (isTaken) => {
      if (!isTaken) this.#onLimit(limit);
      done(isTaken);
    });
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
