import type { Clock } from '../../core/clock.ts';
import { addressKey } from '../../core/address-key.ts';

/** `most` at once, and `perSecond` from then on. */
export interface Rate {
  readonly most: number;
  readonly perSecond: number;
}

/** Addresses remembered; the one longest unused is forgotten first. */
export const BUCKET_ADDRESSES_MAX = 10_000;

export class TokenBucket {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #rate: Rate;
  #tokens: number;
  #atMs: number;

  constructor(clock: Pick<Clock, 'monotonicMs'>, rate: Rate) {
    this.#clock = clock;
    this.#rate = rate;
    this.#tokens = rate.most;
    this.#atMs = clock.monotonicMs();
  }

  get hasToken(): boolean {
    const nowMs = this.#clock.monotonicMs();
    const { most, perSecond } = this.#rate;
    this.#tokens = Math.min(most, this.#tokens + ((nowMs - this.#atMs) / 1_000) * perSecond);
    this.#atMs = nowMs;
    return this.#tokens >= 1;
  }

  take(): boolean {
    if (!this.hasToken) return false;
    this.#tokens -= 1;
    return true;
  }
}

/** A bucket for each address (or /64 of IPv6). */
export class AddressBuckets {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #rate: Rate;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(clock: Pick<Clock, 'monotonicMs'>, rate: Rate) {
    this.#clock = clock;
    this.#rate = rate;
  }

  hasToken(address: string): boolean {
    return this.#buckets.get(addressKey(address))?.hasToken ?? true;
  }

  take(address: string): boolean {
    const key = addressKey(address);
    const bucket = this.#buckets.get(key) ?? new TokenBucket(this.#clock, this.#rate);
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > BUCKET_ADDRESSES_MAX) {
      for (const oldest of this.#buckets.keys()) {
        this.#buckets.delete(oldest);
        break;
      }
    }
    return bucket.take();
  }
}
