/** What a connection of HTTP/1.1 is waiting for; `none` while a request is in progress, which has deadlines of its own. */
export type Wait = 'first' | 'head' | 'idle' | 'linger' | 'none';

/** When a connection has waited too long: a number that is checked at intervals, instead of timers. */
export class ConnectionDeadline {
  #wait: Wait = 'first';
  #atMs: number;

  constructor(firstMs: number) {
    this.#atMs = performance.now() + firstMs;
  }

  get wait(): Wait {
    return this.#wait;
  }

  isPast(nowMs: number): boolean {
    return nowMs >= this.#atMs;
  }

  set(wait: Exclude<Wait, 'none'>, ms: number): void {
    this.#wait = wait;
    this.#atMs = performance.now() + ms;
  }

  clear(): void {
    this.#wait = 'none';
    this.#atMs = Infinity;
  }

  /** A head has begun and must be complete `ms` from now; the first head of a connection, `firstMs` after its beginning. */
  headBegins(ms: number): void {
    if (this.#wait === 'idle') this.set('head', ms);
    else if (this.#wait === 'first') this.#wait = 'head';
  }
}
