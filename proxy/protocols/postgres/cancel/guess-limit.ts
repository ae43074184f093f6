import type { Clock } from '../../../../core/clock.ts';
import { addressKey } from '../../../../core/address-key.ts';

/**
 * Unknown keys of one address: all at once, and a second from then on. Generous, since a key of a session in another
 * worker is unknown here, too; at this rate 32 bits take years, and a guess needs the process id as well.
 */
export const GUESSES_PER_ADDRESS = { most: 100, perSecond: 20 } as const;
/** Unknown keys that one worker asks the others about. */
export const GUESSES_PER_WORKER = { most: 1_000, perSecond: 200 } as const;
/** Addresses remembered; the one longest without a guess is forgotten first. */
export const GUESSING_ADDRESSES_MAX = 10_000;

interface Rate {
  readonly most: number;
  readonly perSecond: number;
}

interface Bucket {
  tokens: number;
  atMs: number;
}

/** Slows down who tries keys: token buckets, taken from by unknown keys alone. */
export class GuessLimit {
  readonly #clock: Pick<Clock, 'monotonicMs'>;
  readonly #addresses = new Map<string, Bucket>();
  readonly #worker: Bucket;

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock;
    this.#worker = { tokens: GUESSES_PER_WORKER.most, atMs: clock.monotonicMs() };
  }

  /** With false, a key of this address is not even looked up: otherwise guessing would go on at full speed. */
  mayTry(address: string): boolean {
    const bucket = this.#addresses.get(addressKey(address));
    if (bucket === undefined) return true;
    this.#fill(bucket, GUESSES_PER_ADDRESS);
    return bucket.tokens >= 1;
  }

  /** The key was unknown here. May the other workers be asked? */
  missed(address: string): boolean {
    const key = addressKey(address);
    const bucket = this.#addresses.get(key) ?? { tokens: GUESSES_PER_ADDRESS.most, atMs: this.#clock.monotonicMs() };
    this.#addresses.delete(key);
    this.#addresses.set(key, bucket);
    if (this.#addresses.size > GUESSING_ADDRESSES_MAX) {
      for (const oldest of this.#addresses.keys()) {
        this.#addresses.delete(oldest);
        break;
      }
    }
    // In this order: an address that has used up its own guesses uses none of the others'.
    return this.#take(bucket, GUESSES_PER_ADDRESS) && this.#take(this.#worker, GUESSES_PER_WORKER);
  }

  #take(bucket: Bucket, rate: Rate): boolean {
    this.#fill(bucket, rate);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  #fill(bucket: Bucket, rate: Rate): void {
    const nowMs = this.#clock.monotonicMs();
    bucket.tokens = Math.min(rate.most, bucket.tokens + ((nowMs - bucket.atMs) / 1_000) * rate.perSecond);
    bucket.atMs = nowMs;
  }
}
