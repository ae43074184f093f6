import { isWaking, type Route } from '../../core/route.ts';
import { type RouteWait, RouteWaiters } from './route-waiters.ts';
import { SharedTexts } from './shared-texts.ts';

/**
 * Host name -> route, in memory, O(1). Only the feed client writes it. While what is known of pods' addresses is not fresh,
 * the routes it returns lead to the pods' services: a caller that gets the route again before it dials never reaches
 * another pod.
 */
export class RouteTable {
  readonly #isFresh: () => boolean;
  #routes = new Map<string, Route>();
  readonly #authorities = new SharedTexts();
  /** Made once for each route: what is known of a route is kept by its object. */
  readonly #byService = new WeakMap<Route, Route>();
  readonly #waiters = new RouteWaiters();
  /** Hosts of the pods that may sleep, by uid. */
  #sleepers = new Map<string, Set<string>>();

  constructor(isFresh: () => boolean = () => true) {
    this.#isFresh = isFresh;
  }

  /** `host` in lower case, without a trailing dot or port. */
  get(host: string): Route | undefined {
    const route = this.#routes.get(host);
    const service = route?.backend?.service ?? null;
    return service === null || route === undefined || this.#isFresh() ? route : this.#viaService(route);
  }

  /**
   * Ends once the route of this host has a backend (`live`), or it is not worth waiting for one (any more) (`gone`): the
   * caller then locates the pod anew. Rejects with the signal's reason when it aborts, so a caller's deadline belongs in the
   * signal.
   */
  whenRouted(host: string, signal: AbortSignal): Promise<RouteWait> {
    const outcome = this.#outcomeOf(host);
    if (outcome === null || signal.aborted) return this.#waiters.wait(host, signal);
    return Promise.resolve(outcome);
  }

  get size(): number {
    return this.#routes.size;
  }

  /** The routes of a pod that may sleep; none of a pod that never does. */
  sleepingRoutesOf(uid: string): readonly Route[] {
    return [...(this.#sleepers.get(uid) ?? [])].flatMap((host) => this.#routes.get(host) ?? []);
  }

  apply(set: readonly Route[], removed: readonly string[]): void {
    for (const host of removed) this.#remove(host);
    for (const route of set) {
      const shared = this.#withSharedAuthorities(route);
      this.#remove(route.host);
      this.#routes.set(route.host, shared);
      this.#noteSleeper(route);
    }
    this.#settleWaiters();
  }

  /** Takes a whole snapshot's place at once: a reader sees the old table or the new one. */
  replace(routes: Iterable<Route>): void {
    const next = new Map<string, Route>();
    const former = this.#routes;
    this.#sleepers = new Map();
    for (const route of routes) {
      next.set(route.host, this.#withSharedAuthorities(route));
      this.#noteSleeper(route);
    }
    this.#routes = next;
    for (const { clientCa } of former.values()) if (clientCa !== undefined) this.#authorities.drop(clientCa);
    this.#settleWaiters();
  }

  /** Texts of authorities that are kept, whatever the number of routes. */
  get authorities(): number {
    return this.#authorities.size;
  }

  /** Of the hosts that are waited for: mostly there are none. */
  #settleWaiters(): void {
    for (const host of [...this.#waiters.hosts()]) {
      const outcome = this.#outcomeOf(host);
      if (outcome !== null) this.#waiters.settle(host, outcome);
    }
  }

  /** Null = it is worth waiting for. */
  #outcomeOf(host: string): RouteWait | null {
    const route = this.#routes.get(host);
    if (route === undefined) return 'gone';
    if (route.backend !== null) return 'live';
    return isWaking(route) ? null : 'gone';
  }

  #remove(host: string): void {
    const { clientCa, sleep, uid = '' } = this.#routes.get(host) ?? {};
    if (clientCa !== undefined) this.#authorities.drop(clientCa);
    if (sleep !== undefined) {
      const hosts = this.#sleepers.get(uid);
      if (hosts?.delete(host) === true && hosts.size === 0) this.#sleepers.delete(uid);
    }
    this.#routes.delete(host);
  }

  #noteSleeper({ sleep, uid, host }: Route): void {
    if (sleep === undefined) return;
    const hosts = this.#sleepers.get(uid);
    if (hosts === undefined) this.#sleepers.set(uid, new Set([host]));
    else hosts.add(host);
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
