import { addressKey } from '../../core/address-key.ts';

import { LeasedPlaces } from './leased-places.ts';
import { FULL_CODE, type FullCode, type PodLimit, type PodPlaces } from './pod-places.ts';

export interface ConnectionLimits {
  /** Of this worker alone: it is also what its memory and its descriptors are enough for. */
  readonly maxConnections: number;
  /** Of all workers together (LeasedPlaces). */
  readonly maxConnectionsPerAddress: number;
  readonly maxConnectionsPerPod: number;
  /** Of one address to one pod: so that nobody keeps all others from a pod. null = not counted. */
  readonly maxConnectionsPerAddressAtPod: number | null;
  /** Of all replicas together (`replicasChanged`): to the pods of one owner, and of one tenant; null = no such quota. */
  readonly maxConnectionsPerOwner: number | null;
  readonly maxConnectionsPerTenant: number | null;
}

export type Limit = 'connections' | 'address' | PodLimit;

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

const addressPlace = (address: string): string => `address ${addressKey(address)}`;

/**
 * Counts exactly: each admission but 'none' is undone by one `release`, each place that was taken by one release of its kind.
 * Answers come at once, except where a place has to be asked of the other workers first.
 */
export class ConnectionCounts {
  readonly #limits: ConnectionLimits;
  readonly #onLimit: (limit: Limit) => void;
  readonly #places: LeasedPlaces;
  readonly #surplus = new Map<string, number>();
  /** Of this replica; null = not counted. */
  readonly #maxOf: Record<PodLimit, number | null>;
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
    this.#maxOf = {
      'pod-address': limits.maxConnectionsPerAddressAtPod,
      pod: limits.maxConnectionsPerPod,
      owner: limits.maxConnectionsPerOwner,
      tenant: limits.maxConnectionsPerTenant,
    };
  }

  /** So many replicas divide the quotas of owners and tenants. Connections that are open stay. */
  replicasChanged(replicas: number): void {
    this.#maxOf.owner = shareOf(this.#limits.maxConnectionsPerOwner, replicas);
    this.#maxOf.tenant = shareOf(this.#limits.maxConnectionsPerTenant, replicas);
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
    this.#places.take(addressPlace(address), this.#limits.maxConnectionsPerAddress, (isTaken) => {
      if (!isTaken) this.#onLimit('address');
      done(isTaken);
    });
  }

  releaseAddress(address: string): void {
    this.#places.release(addressPlace(address));
  }

  /** Takes all of these places, or none: then `done` is called with the reason. */
  acquirePod(places: PodPlaces, done: (refusal: FullCode | null) => void): void {
    this.#acquireFrom(0, places, done);
  }

  releasePod(places: PodPlaces): void {
    this.#releaseBefore(places.length, places);
  }

  /** Every connection and request comes this way: a closure is made only where a place has to be asked for. */
  #acquireFrom(first: number, places: PodPlaces, done: (refusal: FullCode | null) => void): void {
    for (let index = first; index < places.length; index++) {
      const place = places[index];
      const max = place === undefined ? null : this.#maxOf[place.limit];
      if (place === undefined || max === null) continue;
      const isTaken = this.#places.takeNow(place.key, max);
      if (isTaken === true) continue;
      if (isTaken === false) this.#refusePod(index, places, place.limit, done);
      else this.#askForPod(index, places, max, done);
      return;
    }
    done(null);
  }

  #askForPod(index: number, places: PodPlaces, max: number, done: (refusal: FullCode | null) => void): void {
    const place = places[index];
    if (place === undefined) return;
    this.#places.take(place.key, max, (isTaken) => {
      if (isTaken) this.#acquireFrom(index + 1, places, done);
      else this.#refusePod(index, places, place.limit, done);
    });
  }

  #refusePod(index: number, places: PodPlaces, limit: PodLimit, done: (refusal: FullCode) => void): void {
    this.#releaseBefore(index, places);
    this.#onLimit(limit);
    done(FULL_CODE[limit]);
  }

  #releaseBefore(end: number, places: PodPlaces): void {
    for (let index = 0; index < end; index++) {
      const place = places[index];
      if (place !== undefined && this.#maxOf[place.limit] !== null) this.#places.release(place.key);
    }
  }

  /** For diagnosis and tests: everything that is held. */
  snapshot(): { admitted: number; surplus: number; counted: number } {
    const counted = this.#surplus.size + this.#places.size;
    return { admitted: this.#admittedTotal, surplus: this.#surplusTotal, counted };
  }
}

/** Rounded down, so that all replicas together do not exceed the quota; each has at least one place. */
function shareOf(quota: number | null, replicas: number): number | null {
  return quota === null ? null : Math.max(1, Math.floor(quota / replicas));
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
