/** What a connection of HTTP/1.1 is waiting for. */
export type Wait = 'first' | 'head' | 'idle' | 'request' | 'linger' | 'none';

/** Until when. A number that is looked at now and then, instead of a timer of each request. */
export class RequestDeadline {
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

  /** 'none' has no limit. */
  set(wait: Wait, ms: number): void {
    this.#wait = wait;
    this.#atMs = wait === 'none' ? Infinity : performance.now() + ms;
  }

  clear(): void {
    this.set('none', 0);
  }

  /** A head has begun, which has `ms` from now on; the first one of a connection has had its time since its begin. */
  headBegins(ms: number): void {
    if (this.#wait === 'idle') this.set('head', ms);
    else if (this.#wait === 'first') this.#wait = 'head';
  }
}
