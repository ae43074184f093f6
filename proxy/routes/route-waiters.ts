/** What a wait for a route has come to: `full` = too many others wait already. */
export type RouteWait = 'live' | 'gone' | 'full';

export interface RouteWaiterLimits {
  /** For one host: a pod that nobody wakes must not use up the places of all. */
  readonly perHost: number;
  readonly inTotal: number;
}

export const DEFAULT_ROUTE_WAITER_LIMITS: RouteWaiterLimits = { perHost: 1_000, inTotal: 10_000 };

/** Clients that wait for the route of a host to change. */
export class RouteWaiters {
  readonly #limits: RouteWaiterLimits;
  readonly #byHost = new Map<string, Set<(outcome: RouteWait) => void>>();
  #waiting = 0;

  constructor(limits: RouteWaiterLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#waiting;
  }

  hosts(): Iterable<string> {
    return this.#byHost.keys();
  }

  /** Ends with `settle`, or at once with `full`. Rejects with the signal's reason when it aborts. */
  wait(host: string, signal: AbortSignal): Promise<RouteWait> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const waiters = this.#byHost.get(host) ?? new Set();
      if (this.#waiting >= this.#limits.inTotal || waiters.size >= this.#limits.perHost) {
        resolve('full');
        return;
      }
      const settled = (outcome: RouteWait): void => {
        signal.removeEventListener('abort', onAbort);
        resolve(outcome);
      };
      const onAbort = (): void => {
        this.#waiting--;
        waiters.delete(settled);
        if (waiters.size === 0) this.#byHost.delete(host);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#byHost.set(host, waiters.add(settled));
      this.#waiting++;
    });
  }

  /** Ends the waits for this host. */
  settle(host: string, outcome: 'live' | 'gone'): void {
    const waiters = this.#byHost.get(host);
    if (waiters === undefined) return;
    this.#byHost.delete(host);
    this.#waiting -= waiters.size;
    for (const settled of waiters) settled(outcome);
  }
}
