/** What a wait for a route has come to. */
export type RouteWait = 'live' | 'gone';

/** Clients that wait for the route of a host to change. How many may wait is up to those who call. */
export class RouteWaiters {
  readonly #byHost = new Map<string, Set<(outcome: RouteWait) => void>>();

  hosts(): Iterable<string> {
    return this.#byHost.keys();
  }

  /** Ends with `settle`. Rejects with the signal's reason when it aborts. */
  wait(host: string, signal: AbortSignal): Promise<RouteWait> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const waiters = this.#byHost.get(host) ?? new Set();
      const settled = (outcome: RouteWait): void => {
        signal.removeEventListener('abort', onAbort);
        resolve(outcome);
      };
      const onAbort = (): void => {
        waiters.delete(settled);
        if (waiters.size === 0) this.#byHost.delete(host);
        reject(signal.reason as Error);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#byHost.set(host, waiters.add(settled));
    });
  }

  /** Ends the waits for this host. */
  settle(host: string, outcome: RouteWait): void {
    const waiters = this.#byHost.get(host);
    if (waiters === undefined) return;
    this.#byHost.delete(host);
    for (const settled of waiters) settled(outcome);
  }
}
