import type { Route } from '../../../core/route.ts';
import type { RouteTable } from '../../routes/route-table.ts';
import { ConnectionPool } from './connection-pool.ts';
import type { HttpLimits } from './limits.ts';
import type { UpstreamPool } from './upstream.ts';

/** A pool nobody used for so long is given up; its connections are long gone by then. */
const FORGET_AFTER_MS = 60_000;

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
    const pool = new ConnectionPool(key, { kind: 'address', address, port }, this.#limits);
    this.#byHost.set(host, pool);
    return pool;
  }

  api(): UpstreamPool {
    this.#api ??= new ConnectionPool('api', { kind: 'unix', path: this.#apiSocketPath }, this.#limits);
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
