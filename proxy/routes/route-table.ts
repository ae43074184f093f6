import type { Route } from '../../core/route.ts';
import { SharedTexts } from './shared-texts.ts';

/**
 * Host name -> route, in memory, O(1). Only the feed client writes it. While what is known of pods' addresses is not
 * fresh, the routes it gives lead to the pods' services: whoever asks anew before he dials never meets another pod.
 */
export class RouteTable {
  readonly #isFresh: () => boolean;
  #routes = new Map<string, Route>();
  readonly #authorities = new SharedTexts();
  /** Made once for each route: what is known of a route is kept by its object. */
  readonly #byService = new WeakMap<Route, Route>();

  constructor(isFresh: () => boolean = () => true) {
    this.#isFresh = isFresh;
  }

  /** `host` in lower case, without a trailing dot or port. */
  get(host: string): Route | undefined {
    const route = this.#routes.get(host);
    const service = route?.backend?.service ?? null;
    return service === null || route === undefined || this.#isFresh() ? route : this.#viaService(route);
  }

  get size(): number {
    return this.#routes.size;
  }

  apply(set: readonly Route[], removed: readonly string[]): void {
    for (const host of removed) this.#remove(host);
    for (const route of set) {
      const shared = this.#withSharedAuthorities(route);
      this.#remove(route.host);
      this.#routes.set(route.host, shared);
    }
  }

  /** Takes a whole snapshot's place at once: a reader sees the old table or the new one. */
  replace(routes: Iterable<Route>): void {
    const next = new Map<string, Route>();
    const former = this.#routes;
    for (const route of routes) next.set(route.host, this.#withSharedAuthorities(route));
    this.#routes = next;
    for (const { clientCa } of former.values()) if (clientCa !== undefined) this.#authorities.drop(clientCa);
  }

  /** Texts of authorities that are kept, whatever the number of routes. */
  get authorities(): number {
    return this.#authorities.size;
  }

  #remove(host: string): void {
    const clientCa = this.#routes.get(host)?.clientCa;
    if (clientCa !== undefined) this.#authorities.drop(clientCa);
    this.#routes.delete(host);
  }

  #withSharedAuthorities(route: Route): Route {
    return route.clientCa === undefined ? route : { ...route, clientCa: this.#authorities.take(route.clientCa) };
  }

  #viaService(route: Route): Route {
    const { backend } = route;
    if (backend === null || backend.service === null) return route;
    let other = this.#byService.get(route);
    if (other === undefined) {
      other = { ...route, backend: { ...backend, ...backend.service } };
      this.#byService.set(route, other);
    }
    return other;
  }
}
