/**
 * Admits work one piece at a time, in turn between parties: a party with a hundred pieces waiting gets no more of the event
 * loop than a party with one. Between two turns the event loop does everything else (sockets, timers, the
 * route feed). A turn lasts until the work that was let in awaits something else.
 *
 * It has no bound of its own: a call waits for one turn at most, and calls are bounded (CallAdmission).
 */
export class FairTurns {
  /** By party, in the order in which they get their turn. */
  readonly #waiting = new Map<string, (() => void)[]>();
  #count = 0;
  #isScheduled = false;

  /** Resolves when it is this party's turn. */
  next(party: string): Promise<void> {
    return new Promise((resolve) => {
      const queue = this.#waiting.get(party);
      if (queue === undefined) this.#waiting.set(party, [resolve]);
      else queue.push(resolve);
      this.#count += 1;
      this.#schedule();
    });
  }

  get waiting(): number {
    return this.#count;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#grant();
      if (this.#count > 0) this.#schedule();
    });
  }

  #grant(): void {
    const [first] = this.#waiting;
    if (first === undefined) return;
    const [party, queue] = first;
    const resolve = queue.shift();
    this.#waiting.delete(party);
    if (queue.length > 0) this.#waiting.set(party, queue);
    this.#count -= 1;
    resolve?.();
  }
}
