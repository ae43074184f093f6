import type { Backend, Route } from '../../../core/route.ts';
import type { RouteTable } from '../../routes/route-table.ts';
import { SessionPool } from './http2/session-pool.ts';
import { ConnectionPool } from './http1/connection-pool.ts';
import type { HttpLimits } from './exchange/limits.ts';
import { UnansweredConnections } from './http1/unanswered-connections.ts';
import type { UpstreamPool } from './exchange/upstream.ts';

type BackendProtocol = Route['backendProtocol'];

/** A pool nobody used for so long is given up; its connections are long gone by then. */
const FORGET_AFTER_MS = 60_000;

/** A pod whose new connections are not answered: the host, and the key of the pool. */
export interface WaitingPod {
  readonly host: string;
  readonly key: string;
}

/** Messages to other workers are at least so far apart, for all pods together. */
const TELL_EVERY_MS = 10;

/** A client's connection, and the PROXY header that tells of it. */
export interface Owner {
  readonly id: string;
  readonly version: 'v1' | 'v2';
}

/**
 * Pools keyed by uid, address and port, one a host: an address that is given to another pod never meets a connection
 * kept for the former one. A pool whose route has another backend, or none, is closed - requests under way end in peace.
 */
export class UpstreamPools {
  readonly #byHost = new Map<string, UpstreamPool>();
  /** Of pods that are told whose connection it is: no two clients share one. By owner, then by host. */
  readonly #owned = new Map<string, Map<string, UpstreamPool>>();
  /** Of the pods in `#owned`: who waits with one owner makes room with another. */
  readonly #unanswered = new Map<string, { readonly connections: UnansweredConnections; pools: number }>();
  readonly #limits: HttpLimits;
  readonly #apiSocketPath: string;
  readonly #notifyWorkers: (waiting: WaitingPod) => void;
  #api: UpstreamPool | null = null;
  #toldMs = -Infinity;

  /** `notifyWorkers`: a connection to this pod may be waiting for one that another worker keeps (`makeRoom`). */
  constructor(
    limits: HttpLimits,
    apiSocketPath: string,
    notifyWorkers: (waiting: WaitingPod) => void = () => undefined,
  ) {
    this.#limits = limits;
    this.#apiSocketPath = apiSocketPath;
    this.#notifyWorkers = notifyWorkers;
  }

  of(host: string, backend: Backend, protocol: BackendProtocol): UpstreamPool {
    return poolIn(this.#byHost, host, keyOf(backend, protocol), (key) =>
      this.#create(key, backend, protocol, null, this.#unansweredOf(host, key)),
    );
  }

  /** The pool of one client's connection, for as long as that lasts: each connection of it begins with `preamble`. */
  owned(
    host: string,
    backend: Backend,
    protocol: BackendProtocol,
    owner: Owner,
    preamble: () => Buffer | null,
  ): UpstreamPool {
    const pools = this.#owned.get(owner.id) ?? new Map<string, UpstreamPool>();
    this.#owned.set(owner.id, pools);
    const key = `${keyOf(backend, protocol)} ${owner.version}`;
    return poolIn(
      pools,
      host,
      key,
      () => this.#create(key, backend, protocol, preamble(), this.#shareUnanswered(host, key)),
      (pool) => this.#retireOwned(pool),
    );
  }

  ownerGone(id: string): void {
    for (const pool of this.#owned.get(id)?.values() ?? []) this.#retireOwned(pool);
    this.#owned.delete(id);
  }

  /** Another worker's new connection to this pod may be waiting: closes an idle one, or the next that becomes idle. */
  makeRoom({ host, key }: WaitingPod): void {
    const nowMs = performance.now();
    const pool = this.#byHost.get(host);
    if (pool?.key === key && pool instanceof ConnectionPool) {
      pool.askedElsewhere();
      pool.makeRoom(nowMs);
    }
    const shared = this.#unanswered.get(key);
    if (shared === undefined) return;
    shared.connections.askedElsewhere();
    for (const pools of this.#owned.values()) {
      const owned = pools.get(host);
      if (owned?.key === key && owned instanceof ConnectionPool && owned.makeRoom(nowMs)) return;
    }
  }

  #unansweredOf(host: string, key: string): UnansweredConnections {
    return new UnansweredConnections(() => {
      const nowMs = performance.now();
      if (nowMs - this.#toldMs < TELL_EVERY_MS) return;
      this.#toldMs = nowMs;
      this.#notifyWorkers({ host, key });
    });
  }

  #shareUnanswered(host: string, key: string): UnansweredConnections {
    const shared = this.#unanswered.get(key) ?? { connections: this.#unansweredOf(host, key), pools: 0 };
    this.#unanswered.set(key, shared);
    shared.pools++;
    return shared.connections;
  }

  #retireOwned(pool: UpstreamPool): void {
    pool.retire();
    const shared = this.#unanswered.get(pool.key);
    if (shared !== undefined && --shared.pools === 0) this.#unanswered.delete(pool.key);
  }

  #create(
    key: string,
    backend: Backend,
    protocol: BackendProtocol,
    preamble: Buffer | null,
    unanswered: UnansweredConnections,
  ): UpstreamPool {
    const destination = { kind: 'address', ...backend } as const;
    return protocol === 'h2c'
      ? new SessionPool(key, destination, this.#limits, preamble)
      : new ConnectionPool(key, destination, this.#limits, preamble, unanswered);
  }

  api(): UpstreamPool {
    this.#api ??= new ConnectionPool('api', { kind: 'unix', path: this.#apiSocketPath }, this.#limits);
    return this.#api;
  }

  /** Closes idle connections, and pools that no route leads to any more or nobody uses. */
  sweep(table: RouteTable): void {
    const forgetBefore = performance.now() - FORGET_AFTER_MS;
    this.#api?.sweep();
    for (const pools of this.#owned.values()) for (const pool of pools.values()) pool.sweep();
    for (const [host, pool] of this.#byHost) {
      const route = table.get(host);
      const backend = route?.backend ?? null;
      if (backend !== null && keyOf(backend, route?.backendProtocol) === pool.key && pool.lastUsedMs >= forgetBefore) {
        pool.sweep();
        continue;
      }
      this.#byHost.delete(host);
      pool.retire();
    }
  }

  close(): void {
    for (const pool of this.#byHost.values()) pool.retire();
    this.#byHost.clear();
    for (const owner of this.#owned.keys()) this.ownerGone(owner);
    this.#api?.retire();
    this.#api = null;
  }

  get size(): number {
    return this.#byHost.size;
  }
}

/** The one of this key; one of another key, which leads elsewhere, is retired. */
function poolIn(
  pools: Map<string, UpstreamPool>,
  host: string,
  key: string,
  create: (key: string) => UpstreamPool,
  retire: (pool: UpstreamPool) => void = (pool) => pool.retire(),
): UpstreamPool {
  const kept = pools.get(host);
  if (kept?.key === key) {
    kept.lastUsedMs = performance.now();
    return kept;
  }
  if (kept !== undefined) retire(kept);
  const pool = create(key);
  pools.set(host, pool);
  return pool;
}

function keyOf(backend: Backend, protocol: BackendProtocol): string {
  const { uid, address, port, namespace } = backend;
  return `${uid} ${address} ${String(port)} ${String(namespace?.inode ?? '')} ${protocol ?? 'http1'}`;
}
