import { LRUCache } from 'lru-cache';

import { addressKey } from '../../../core/address-key.ts';

/** The key longest unused is forgotten first: it then has its burst again. */
const KEYS_MAX = 10_000;

export interface RateLimit {
  readonly perMinute: number;
  /** At once, after a quiet time. */
  readonly burst: number;
}

interface Bucket {
  left: number;
  atMs: number;
}

/** A token bucket per key, such as a user, in bounded memory. */
export class RatePerKey {
  readonly #limit: RateLimit;
  readonly #buckets = new LRUCache<string, Bucket>({ max: KEYS_MAX });

  constructor(limit: RateLimit) {
    this.#limit = limit;
  }

  /** Counts one. False = it exceeds the rate. */
  take(key: string, nowMs: number): boolean {
    const { perMinute, burst } = this.#limit;
    const bucket = this.#buckets.get(key) ?? { left: burst, atMs: nowMs };
    bucket.left = Math.min(burst, bucket.left + (Math.max(0, nowMs - bucket.atMs) / 60_000) * perMinute);
    bucket.atMs = nowMs;
    const isWithin = bucket.left >= 1;
    if (isWithin) bucket.left -= 1;
    this.#buckets.set(key, bucket);
    return isWithin;
  }
}

/** A token bucket per client address (IPv6: per /64). */
export class RatePerAddress {
  readonly #rate: RatePerKey;

  constructor(limit: RateLimit) {
    this.#rate = new RatePerKey(limit);
  }

  /** Counts one. False = it exceeds the rate. */
  take(address: string, nowMs: number): boolean {
    return this.#rate.take(addressKey(address), nowMs);
  }
}
