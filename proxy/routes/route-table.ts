import type { Route } from '../../core/route.ts';

/** Host name -> route, in memory, O(1). Only the feed client writes it. */
export class RouteTable {
  #routes = new Map<string, Route>();

  /** `host` in lower case, without a trailing dot or port. */
  get(host: string): Route | undefined {
    return this.#routes.get(host);
  }

  get size(): number {
    return this.#routes.size;
  }

  apply(set: readonly Route[], removed: readonly string[]): void {
    for (const host of removed) this.#routes.delete(host);
    for (const route of set) this.#routes.set(route.host, route);
  }

  /** Takes a whole snapshot's place at once: a reader sees the old table or the new one. */
  replace(routes: Iterable<Route>): void {
    const next = new Map<string, Route>();
    for (const route of routes) next.set(route.host, route);
    this.#routes = next;
  }
}
