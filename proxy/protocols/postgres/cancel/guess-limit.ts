import type { Clock } from '../../../../core/clock.ts';
import { AddressBuckets, TokenBucket } from '../../../limits/token-bucket.ts';

/**
 * Unknown keys of one address: all at once, and a second from then on. Generous, since a key of a session in another
 * worker is unknown here, too; at this rate 32 bits take years, and a guess needs the process id as well.
 */
export const GUESSES_PER_ADDRESS = { most: 100, perSecond: 20 } as const;
/** Unknown keys that one worker asks the others about. */
export const GUESSES_PER_WORKER = { most: 1_000, perSecond: 200 } as const;

/** Slows down who tries keys: token buckets, taken from by unknown keys alone. */
export class GuessLimit {
  readonly #addresses: AddressBuckets;
  readonly #worker: TokenBucket;

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#addresses = new AddressBuckets(clock, GUESSES_PER_ADDRESS);
    this.#worker = new TokenBucket(clock, GUESSES_PER_WORKER);
  }

  /** With false, a key of this address is not even looked up: otherwise guessing would go on at full speed. */
  mayTry(address: string): boolean {
    return this.#addresses.hasToken(address);
  }

  /** The key was unknown here. May the other workers be asked? */
  missed(address: string): boolean {
    // In this order: an address that has used up its own guesses uses none of the others'.
    return this.#addresses.take(address) && this.#worker.take();
  }
}
