/** At most so many at a time, and whoever comes later waits in line. A place is handed over: nobody in between takes it. */
export class WaitingLine {
  readonly #places: number;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(places: number) {
    this.#places = places;
  }

  /** Whoever comes now has to wait. */
  get isFull(): boolean {
    return this.#taken >= this.#places;
  }

  /** True: a place was taken, which `leave` gives back. False: the signal aborted before one was free. */
  take(signal: AbortSignal): Promise<boolean> {
    if (!this.isFull) {
      this.#taken += 1;
      return Promise.resolve(true);
    }
    if (signal.aborted) return Promise.resolve(false);
    return new Promise((resolve) => {
      const begin = (): void => {
        signal.removeEventListener('abort', giveUp);
        resolve(true);
      };
      const giveUp = (): void => {
        this.#waiting.delete(begin);
        resolve(false);
      };
      this.#waiting.add(begin);
      signal.addEventListener('abort', giveUp, { once: true });
    });
  }

  leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#taken -= 1;
      return;
    }
    this.#waiting.delete(next);
    next();
  }
}
