import { baseShare, type ToAllocator, type ToWorker } from './place-messages.ts';

/** How long to wait for the allocator; after that, this worker's equal share of the limit applies. */
const ANSWER_MS = 250;
/** After a refusal, the allocator is not asked again for this long, so a flood of refused requests stays in its worker. */
const DENIED_MS = 20;

interface Counted {
  held: number;
  /** How many places may be taken without asking; null = this worker's share, because the allocator does not count this key. */
  lease: number | null;
  isScarce: boolean;
  deniedMs: number;
  readonly waiting: { readonly limit: number; readonly done: (isTaken: boolean) => void }[];
  timer: NodeJS.Timeout | undefined;
}

export interface LeasedPlacesOptions {
  /** Number of workers in this replica. 1 = there is no allocator. */
  readonly workers: number;
  /** Returns false if the allocator cannot be reached. */
  readonly send: (message: ToAllocator) => boolean;
  readonly nowMs: () => number;
}

/** This worker's places under limits that all workers of the replica share (decision 0035). */
export class LeasedPlaces {
  readonly #options: LeasedPlacesOptions;
  readonly #counted = new Map<string, Counted>();

  constructor(options: LeasedPlacesOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#counted.size;
  }

  held(key: string): number {
    return this.#counted.get(key)?.held ?? 0;
  }

  /** Calls `done` once: synchronously, unless the allocator has to be asked. Release each place exactly once. */
  take(key: string, limit: number, done: (isTaken: boolean) => void): void {
    const isTaken = this.takeNow(key, limit);
    if (isTaken !== null) {
      done(isTaken);
      return;
    }
    const counted = this.#of(key);
    counted.waiting.push({ limit, done });
    if (counted.waiting.length === 1) this.#ask(key, counted);
  }

  /** Like `take`, but returns null without taking a place if the allocator has to be asked; call `take` then. */
  takeNow(key: string, limit: number): boolean | null {
    const counted = this.#of(key);
    if (counted.waiting.length === 0 && counted.held < this.#allowance(counted, limit)) {
      counted.held++;
      return true;
    }
    if (this.#options.workers > 1 && this.#options.nowMs() - counted.deniedMs >= DENIED_MS) return null;
    this.#forget(key, counted);
    return false;
  }

  release(key: string): void {
    const counted = this.#counted.get(key);
    if (counted === undefined) return;
    counted.held--;
    const { lease } = counted;
    if (
      lease !== null &&
      (counted.isScarce || counted.held === 0 || lease - counted.held > Math.max(8, counted.held))
    ) {
      // A place taken while the allocator did not respond is not returned to it.
      const spare = lease - counted.held;
      if (spare > 0) {
        counted.lease = counted.held;
        this.#options.send({ kind: 'give', key, places: spare });
      }
    }
    this.#forget(key, counted);
  }

  receive(message: ToWorker): void {
    const { key } = message;
    if (message.kind === 'count') {
      const counted = this.#of(key);
      counted.lease = counted.held;
      counted.isScarce = true;
      this.#options.send({ kind: 'held', key, round: message.round, held: counted.held });
      return;
    }
    const counted = this.#counted.get(key);
    if (counted === undefined) {
      // It has been returned in the meantime.
      if (message.kind === 'grant') this.#options.send({ kind: 'give', key, places: message.places });
      return;
    }
    switch (message.kind) {
      case 'grant':
        counted.lease = (counted.lease ?? counted.held) + message.places;
        counted.isScarce = message.isScarce;
        this.#serve(key, counted);
        return;
      case 'deny':
        counted.deniedMs = this.#options.nowMs();
        counted.isScarce = true;
        this.#refuse(counted);
        this.#forget(key, counted);
        return;
      case 'free':
        // The request is already on its way, and makes the allocator count this key again.
        if (counted.waiting.length > 0) return;
        counted.lease = null;
        counted.isScarce = false;
        counted.deniedMs = -Infinity;
        this.#forget(key, counted);
        return;
    }
  }

  #allowance({ lease }: Counted, limit: number): number {
    const { workers } = this.#options;
    if (workers === 1) return limit;
    return lease ?? baseShare(limit, workers);
  }

  #ask(key: string, counted: Counted): void {
    const { limit = 0 } = counted.waiting[0] ?? {};
    clearTimeout(counted.timer);
    counted.lease = counted.held;
    counted.isScarce = true;
    if (!this.#options.send({ kind: 'ask', key, limit, held: counted.held })) {
      this.#decideAlone(key, counted);
      return;
    }
    counted.timer = setTimeout(() => this.#decideAlone(key, counted), ANSWER_MS);
    counted.timer.unref();
  }

  #serve(key: string, counted: Counted): void {
    clearTimeout(counted.timer);
    while (counted.waiting.length > 0 && counted.held < (counted.lease ?? 0)) {
      counted.held++;
      counted.waiting.shift()?.done(true);
    }
    if (counted.waiting.length > 0) this.#ask(key, counted);
    // No request waits for it any more, and places are scarce.
    const spare = (counted.lease ?? 0) - counted.held;
    if (counted.isScarce && spare > 0) {
      counted.lease = counted.held;
      this.#options.send({ kind: 'give', key, places: spare });
    }
  }

  #refuse(counted: Counted): void {
    clearTimeout(counted.timer);
    for (const { done } of counted.waiting.splice(0)) done(false);
  }

  /** Brings the total back within the limit, whatever the allocator has leased to others. */
  #decideAlone(key: string, counted: Counted): void {
    clearTimeout(counted.timer);
    for (const { limit, done } of counted.waiting.splice(0)) {
      const mayTake = counted.held < Math.ceil(limit / this.#options.workers);
      if (mayTake) counted.held++;
      done(mayTake);
    }
    this.#forget(key, counted);
  }

  #of(key: string): Counted {
    let counted = this.#counted.get(key);
    if (counted === undefined) {
      counted = { held: 0, lease: null, isScarce: false, deniedMs: -Infinity, waiting: [], timer: undefined };
      this.#counted.set(key, counted);
    }
    return counted;
  }

  /** A key is kept for as long as the allocator counts it. */
  #forget(key: string, { held, lease, waiting, deniedMs }: Counted): void {
    if (held > 0 || waiting.length > 0 || (lease !== null && lease > 0)) return;
    if (lease === 0 || this.#options.nowMs() - deniedMs < DENIED_MS) return;
    this.#counted.delete(key);
  }
}
