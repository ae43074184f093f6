import type { Route } from '../../core/route.ts';
import type { PodUses } from '../use/pod-uses.ts';
import type { SessionUse } from '../use/session-use.ts';
import { type CutReason, type Held, type Standing, standingOf } from '../policy/standing.ts';

export interface SessionPolicy {
  /** Of a session whose pod was stopped or deleted. 'drain': it may end by itself for `drainMs`. */
  readonly onRouteGone: 'drain' | 'cut';
  /** Of a session whose client the pod lets in no more: its list of addresses has changed, or whose certificates it takes. */
  readonly onClientRefused: 'drain' | 'cut';
  readonly drainMs: number;
}

/**
 * A pod that stops says its own farewell to those who are connected, in its own protocol; it has 30 s for that in a
 * cluster. A list of addresses means what it says, at once.
 */
export const DEFAULT_SESSION_POLICY: SessionPolicy = { onRouteGone: 'drain', onClientRefused: 'cut', drainMs: 30_000 };

export interface RunningSession extends Held {
  readonly host: string;
  /** Whether it uses its pod is observed. Default: not, so that it counts as use once its pod may sleep. */
  readonly isObserved?: boolean;
  /** Ends it now, with a goodbye or so that it does not look complete. Called once at most. */
  readonly cut: (reason: CutReason) => void;
}

interface Entry {
  readonly session: RunningSession;
  standing: Standing;
  timer: NodeJS.Timeout | undefined;
  /** It is not observed, and its pod may sleep. */
  use: SessionUse | null;
}

/** What is under way between clients and pods, by host: looked at again when the route of the host has changed. */
export class RunningSessions {
  readonly #routeOf: (host: string) => Route | undefined;
  readonly #policy: SessionPolicy;
  readonly #uses: PodUses | null;
  readonly #byHost = new Map<string, Set<Entry>>();
  /** Cut, and not gone yet: they are being told. */
  readonly #leaving = new Set<Entry>();

  constructor(routeOf: (host: string) => Route | undefined, policy: SessionPolicy, uses: PodUses | null = null) {
    this.#uses = uses;
    this.#routeOf = routeOf;
    this.#policy = policy;
  }

  /** Returns what is to be called when the session has ended by itself; also after a cut, and more than once. */
  add(session: RunningSession): () => void {
    const entry: Entry = { session, standing: 'stays', timer: undefined, use: null };
    let entries = this.#byHost.get(session.host);
    if (entries === undefined) {
      entries = new Set();
      this.#byHost.set(session.host, entries);
    }
    entries.add(entry);
    return () => {
      this.#forget(entry);
      this.#leaving.delete(entry);
    };
  }

  /** Those that were cut and have not gone yet. */
  get leaving(): number {
    return this.#leaving.size;
  }

  get size(): number {
    let size = 0;
    for (const entries of this.#byHost.values()) size += entries.size;
    return size;
  }

  routesChanged(hosts: Iterable<string>): void {
    for (const host of hosts) this.#look(host);
  }

  allRoutesChanged(): void {
    this.routesChanged([...this.#byHost.keys()]);
  }

  cutAll(reason: CutReason): void {
    for (const entries of [...this.#byHost.values()]) for (const entry of [...entries]) this.#cut(entry, reason);
  }

  #look(host: string): void {
    const entries = this.#byHost.get(host);
    if (entries === undefined) return;
    const route = this.#routeOf(host);
    for (const entry of [...entries]) {
      if (route?.sleep !== undefined) this.#countAsUse(entry);
      const standing = standingOf(route, entry.session);
      if (standing === entry.standing) continue;
      entry.standing = standing;
      clearTimeout(entry.timer);
      if (standing === 'stays') continue;
      const { onRouteGone, onClientRefused, drainMs } = this.#policy;
      const choice = standing === 'route-gone' ? onRouteGone : onClientRefused;
      if (choice === 'cut') this.#cut(entry, standing);
      else entry.timer = setTimeout(() => this.#cut(entry, standing), drainMs).unref();
    }
  }

  #countAsUse(entry: Entry): void {
    const { isObserved = false, uid } = entry.session;
    if (isObserved || entry.use !== null || this.#uses === null) return;
    entry.use = this.#uses.session(uid);
    entry.use.set('traffic', true);
  }

  #cut(entry: Entry, reason: CutReason): void {
    this.#forget(entry);
    this.#leaving.add(entry);
    entry.session.cut(reason);
  }

  #forget(entry: Entry): void {
    clearTimeout(entry.timer);
    entry.use?.end();
    const { host } = entry.session;
    const entries = this.#byHost.get(host);
    if (entries?.delete(entry) === true && entries.size === 0) this.#byHost.delete(host);
  }
}
