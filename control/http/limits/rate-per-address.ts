import { LRUCache } from 'lru-cache';

import { addressKey } from '../../../core/address-key.ts';

/** The address longest unused is forgotten first: it then has its burst again. */
const ADDRESSES_MAX = 10_000;

export interface RateLimit {
  readonly perMinute: number;
  /** At once, after a quiet time. */
  readonly burst: number;
}

interface Bucket {
  left: number;
  atMs: number;
}

/** A token bucket per client address (IPv6: per /64), in bounded memory. */
export class RatePerAddress {
  readonly #limit: RateLimit;
  readonly #buckets = new LRUCache<string, Bucket>({ max: ADDRESSES_MAX });

  constructor(limit: RateLimit) {
    this.#limit = limit;
  }

  /** Counts one. False = it exceeds the rate. */
  take(address: string, nowMs: number): boolean {
    const { perMinute, burst } = this.#limit;
    const block = addressKey(address);
    const bucket = this.#buckets.get(block) ?? { left: burst, atMs: nowMs };
    bucket.left = Math.min(burst, bucket.left + (Math.max(0, nowMs - bucket.atMs) / 60_000) * perMinute);
    bucket.atMs = nowMs;
    const isWithin = bucket.left >= 1;
    if (isWithin) bucket.left -= 1;
    this.#buckets.set(block, bucket);
    return isWithin;
  }
}
