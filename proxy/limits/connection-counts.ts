import { addressKey } from '../../core/address-key.ts';
import { KeyedCounts } from './keyed-counts.ts';
import { LeasedPlaces } from './leased-places.ts';
import { FULL_CODE, type FullCode, type PodLimit, type PodPlaces } from './pod-places.ts';

export interface ConnectionLimits {
  /** For this worker alone: what its memory and descriptors allow. */
  readonly maxConnections: number;
  /** For all workers together (LeasedPlaces). */
  readonly maxConnectionsPerAddress: number;
  readonly maxConnectionsPerPod: number;
  /** From one address to one pod, so that a single client cannot use up a pod. null = not counted. */
  readonly maxConnectionsPerAddressAtPod: number | null;
  /** For all replicas together (`replicasChanged`): to the pods of one owner, and of one tenant; null = no such quota. */
  readonly maxConnectionsPerOwner: number | null;
  readonly maxConnectionsPerTenant: number | null;
}

export type Limit = 'connections' | 'address' | PodLimit;

/**
 * 'admitted' has a place; 'surplus' has none and stays open only until the client has received the reason in its own
 * protocol; 'none' is closed at once, because an overloaded worker has no time for responses.
 */
export type Admission = 'admitted' | 'surplus' | 'none';

/** Maximum number of surplus connections at a time, in total and per address. */
const SURPLUS_MAX = 64;
const SURPLUS_PER_ADDRESS_MAX = 8;

/** This worker is the only one. */
function unshared(): LeasedPlaces {
  return new LeasedPlaces({ workers: 1, send: () => false, nowMs: () => 0 });
}

const addressPlace = (address: string): string => `address ${addressKey(address)}`;

/**
 * Exact counts: every admission other than 'none' needs one `release`, and every place taken needs one release of its kind.
 * Calls return at once, unless a place has to be requested from the other workers first.
 */
export class ConnectionCounts {
  readonly #limits: ConnectionLimits;
  readonly #onLimit: (limit: Limit) => void;
  readonly #places: LeasedPlaces;
  readonly #surplus = new KeyedCounts();
  /** Of this replica; null = not counted. */
  readonly #maxOf: Record<PodLimit, number | null>;
  #admittedTotal = 0;
  #surplusTotal = 0;

  /** `onLimit` is called whenever a limit refuses a place. */
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

  /** The number of replicas that share the quotas of owners and tenants. Open connections are not affected. */
  replicasChanged(replicas: number): void {
    this.#maxOf.owner = shareOf(this.#limits.maxConnectionsPerOwner, replicas);
    this.#maxOf.tenant = shareOf(this.#limits.maxConnectionsPerTenant, replicas);
  }

  /** Whether the total limit alone refuses a place to this address. */
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
    if (this.#surplusTotal >= SURPLUS_MAX || this.#surplus.of(key) >= SURPLUS_PER_ADDRESS_MAX) return 'none';
    this.#surplusTotal++;
    this.#surplus.add(key);
    return 'surplus';
  }

  release(address: string, admission: Exclude<Admission, 'none'>): void {
    if (admission === 'admitted') {
      this.#admittedTotal--;
      this.#places.release(addressPlace(address));
    } else {
      this.#surplusTotal--;
      this.#surplus.remove(addressKey(address));
    }
  }

  /** For one more concurrent request on a connection that already has its place. */
  acquireAddress(address: string, done: (isAcquired: boolean) => void): void {
    this.#places.take(addressPlace(address), this.#limits.maxConnectionsPerAddress, (isTaken) => {
      if (!isTaken) this.#onLimit('address');
      done(isTaken);
    });
  }

  releaseAddress(address: string): void {
    this.#places.release(addressPlace(address));
  }

  /** Takes all of these places, or none and calls `done` with the reason. */
  acquirePod(places: PodPlaces, done: (refusal: FullCode | null) => void): void {
    this.#acquireFrom(0, places, done);
  }

  releasePod(places: PodPlaces): void {
    this.#releaseBefore(places.length, places);
  }

  /** On the path of every connection and request: allocates a closure only if a place has to be requested. */
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

  /** For diagnosis and tests: all places in use. */
  snapshot(): { admitted: number; surplus: number; counted: number } {
    const counted = this.#surplus.size + this.#places.size;
    return { admitted: this.#admittedTotal, surplus: this.#surplusTotal, counted };
  }
}

/** Rounded down, so that all replicas together do not exceed the quota; each has at least one place. */
function shareOf(quota: number | null, replicas: number): number | null {
  return quota === null ? null : Math.max(1, Math.floor(quota / replicas));
}
