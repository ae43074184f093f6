import type { Route } from '../../../core/route.ts';
import type { RouteTable } from '../../routes/route-table.ts';
import { type Destination, dial } from './dial.ts';
import type { HttpLimits } from './limits.ts';
import { UpstreamConnection } from './upstream-connection.ts';

/** A pool nobody used for so long is given up; its connections are long gone by then. */
const FORGET_AFTER_MS = 60_000;

/**
 * Kept connections to one backend. The newest is used first: it is the least likely to be closed at this very moment,
 * and the others become idle for long enough to be closed.
 */
export class UpstreamPool {
  readonly key: string;
  readonly destination: Destination;
  readonly #limits: HttpLimits;
  /** performance.now() until which a refused connection is tried again: kube-proxy lags behind "ready". */
  readonly #retryUntilMs: number;
  readonly #idle: UpstreamConnection[] = [];
  #isRetired = false;
  lastUsedMs: number;

  constructor(key: string, destination: Destination, limits: HttpLimits) {
    this.key = key;
    this.destination = destination;
    this.#limits = limits;
    this.lastUsedMs = performance.now();
    this.#retryUntilMs = this.lastUsedMs + (destination.kind === 'unix' ? 0 : limits.refusedRetryMs);
  }

  /** A kept connection, or null. */
  take(): UpstreamConnection | null {
    const usableSinceMs = performance.now() - this.#limits.upstreamIdleMs;
    for (let kept = this.#idle.pop(); kept !== undefined; kept = this.#idle.pop()) {
      if (kept.isUsable && kept.idleSinceMs >= usableSinceMs) return kept;
      kept.close();
    }
    return null;
  }

  /** A new connection. A refusal right after "ready" is tried again for a while. Rejects when the signal aborts. */
  async open(signal: AbortSignal, allowHalfOpen: boolean): Promise<UpstreamConnection> {
    const { connectTimeoutMs } = this.#limits;
    const options = { connectTimeoutMs, allowHalfOpen, retryUntilMs: this.#retryUntilMs };
    return new UpstreamConnection(await dial(this.destination, options, signal), {
      onIdle: (connection) => this.#keep(connection),
      onGone: (connection) => this.#forget(connection),
    });
  }

  /** Closes what has been idle for too long. */
  sweep(): void {
    const usableSinceMs = performance.now() - this.#limits.upstreamIdleMs;
    // In the order in which they became idle.
    while ((this.#idle[0]?.idleSinceMs ?? Infinity) < usableSinceMs) this.#idle.shift()?.close();
  }

  get isRetired(): boolean {
    return this.#isRetired;
  }

  /** Nothing is kept from now on; requests under way end in peace. */
  retire(): void {
    this.#isRetired = true;
    for (const kept of this.#idle.splice(0)) kept.close();
  }

  #keep(connection: UpstreamConnection): void {
    if (this.#isRetired) {
      connection.close();
      return;
    }
    connection.idleSinceMs = performance.now();
    this.#idle.push(connection);
  }

  #forget(connection: UpstreamConnection): void {
    const at = this.#idle.lastIndexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
  }
}

/**
 * Pools keyed by uid, address and port, one a host: an address that is given to another pod never meets a connection
 * kept for the former one. A pool whose route has another backend, or none, is closed - requests under way end in peace.
 */
export class UpstreamPools {
  readonly #byHost = new Map<string, UpstreamPool>();
  readonly #limits: HttpLimits;
  readonly #apiSocketPath: string;
  #api: UpstreamPool | null = null;

  constructor(limits: HttpLimits, apiSocketPath: string) {
    this.#limits = limits;
    this.#apiSocketPath = apiSocketPath;
  }

  of(host: string, backend: NonNullable<Route['backend']>): UpstreamPool {
    const key = keyOf(backend);
    const kept = this.#byHost.get(host);
    if (kept?.key === key) {
      kept.lastUsedMs = performance.now();
      return kept;
    }
    kept?.retire();
    const { address, port } = backend;
    const pool = new UpstreamPool(key, { kind: 'address', address, port }, this.#limits);
    this.#byHost.set(host, pool);
    return pool;
  }

  api(): UpstreamPool {
    this.#api ??= new UpstreamPool('api', { kind: 'unix', path: this.#apiSocketPath }, this.#limits);
    return this.#api;
  }

  /** Closes idle connections, and pools that no route leads to any more or nobody uses. */
  sweep(table: RouteTable): void {
    const forgetBefore = performance.now() - FORGET_AFTER_MS;
    this.#api?.sweep();
    for (const [host, pool] of this.#byHost) {
      const backend = table.get(host)?.backend ?? null;
      if (backend !== null && keyOf(backend) === pool.key && pool.lastUsedMs >= forgetBefore) {
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
    this.#api?.retire();
    this.#api = null;
  }

  get size(): number {
    return this.#byHost.size;
  }
}

function keyOf(backend: NonNullable<Route['backend']>): string {
  return `${backend.uid} ${backend.address} ${String(backend.port)}`;
}
