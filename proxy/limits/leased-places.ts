import { baseShare, type ToAllocator, type ToWorker } from './place-messages.ts';

/** How long a decision of the allocator is waited for; then an equal share of the limit decides. */
const ANSWER_MS = 250;
/** After a refusal the allocator is not asked again for so long: a flood of what is refused stays in its worker. */
const DENIED_MS = 20;

interface Counted {
  held: number;
  /** What may be held without asking; null = a share of the limit, since the allocator does not count this key. */
  lease: number | null;
  isScarce: boolean;
  deniedMs: number;
  readonly waiting: { readonly limit: number; readonly done: (isTaken: boolean) => void }[];
  timer: NodeJS.Timeout | undefined;
}

export interface LeasedPlacesOptions {
  /** Of the replica. 1 = there is no allocator. */
  readonly workers: number;
  /** False: the allocator cannot be reached. */
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

  /** Calls `done` once, at once unless the allocator has to be asked. Each place that was taken is released once. */
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

  /** As `take`; null = nothing was taken, since the allocator has to be asked: `take` does. */
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
      // One that was taken without the allocator, which did not answer, is not the allocator's to have back.
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
      // It has been given back in the meantime.
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
        // Our question is on its way, and has the allocator count this key anew.
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
    // What nobody waits for any more, where places are few.
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

  /** Together never more than the limit again, whatever the allocator has leased to others. */
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

  /** A key that the allocator counts is remembered until it does not. */
  #forget(key: string, { held, lease, waiting, deniedMs }: Counted): void {
    if (held > 0 || waiting.length > 0 || (lease !== null && lease > 0)) return;
    if (lease === 0 || this.#options.nowMs() - deniedMs < DENIED_MS) return;
    this.#counted.delete(key);
  }
}
