import { Pool } from 'undici';
import type { Route } from '../../../core/route.ts';
import type { RouteTable } from '../../routes/route-table.ts';
import { type Destination, connect } from './dial.ts';
import type { HttpLimits } from './limits.ts';

/** Kept connections to one backend. */
export interface Upstream {
  readonly pool: Pool;
  readonly destination: Destination;
  /** performance.now() until which a refused connection is tried again. */
  readonly retryUntilMs: number;
}

interface Entry extends Upstream {
  readonly key: string;
  lastUsedMs: number;
}

/** A pool nobody used for so long is given up; its connections are long gone by then. */
const FORGET_AFTER_MS = 60_000;

/**
 * Pools keyed by uid, address and port, one a host: an address that is given to another pod never meets a connection
 * kept for the former one. A pool whose route has another backend, or none, is closed - requests under way end in peace.
 */
export class UpstreamPools {
  readonly #byHost = new Map<string, Entry>();
  readonly #limits: HttpLimits;
  readonly #apiSocketPath: string;
  #api: Entry | null = null;

  constructor(limits: HttpLimits, apiSocketPath: string) {
    this.#limits = limits;
    this.#apiSocketPath = apiSocketPath;
  }

  /** `isCurrent` is asked after every dial. */
  of(host: string, backend: NonNullable<Route['backend']>, isCurrent?: () => boolean): Upstream {
    const key = keyOf(backend);
    const kept = this.#byHost.get(host);
    if (kept?.key === key) {
      kept.lastUsedMs = performance.now();
      return kept;
    }
    if (kept !== undefined) retire(kept);
    const { address, port } = backend;
    const destination: Destination = {
      kind: 'address',
      address,
      port,
      ...(isCurrent === undefined ? {} : { isCurrent }),
    };
    const entry = this.#open(key, destination, this.#limits.refusedRetryMs);
    this.#byHost.set(host, entry);
    return entry;
  }

  api(): Upstream {
    this.#api ??= this.#open('api', { kind: 'unix', path: this.#apiSocketPath }, 0);
    return this.#api;
  }

  /** Closes what no route leads to any more and what nobody uses. */
  sweep(table: RouteTable): void {
    const forgetBefore = performance.now() - FORGET_AFTER_MS;
    for (const [host, entry] of this.#byHost) {
      const backend = table.get(host)?.backend ?? null;
      if (backend !== null && keyOf(backend) === entry.key && entry.lastUsedMs >= forgetBefore) continue;
      this.#byHost.delete(host);
      retire(entry);
    }
  }

  close(): void {
    for (const entry of this.#byHost.values()) retire(entry);
    this.#byHost.clear();
    if (this.#api !== null) retire(this.#api);
    this.#api = null;
  }

  get size(): number {
    return this.#byHost.size;
  }

  #open(key: string, destination: Destination, refusedRetryMs: number): Entry {
    const { connectTimeoutMs, upstreamIdleMs, apiAnswerMs } = this.#limits;
    // Long polls and event streams of pods may be silent for hours: TCP keep-alive finds the dead. A control process that
    // hangs does not die.
    const answerMs = destination.kind === 'unix' ? apiAnswerMs : 0;
    const nowMs = performance.now();
    const pool = new Pool('http://pod.invalid', {
      pipelining: 1,
      headersTimeout: answerMs,
      bodyTimeout: answerMs,
      keepAliveTimeout: upstreamIdleMs,
      keepAliveMaxTimeout: upstreamIdleMs,
      // An own connector: undici's would look at the request's Host when it dials.
      connect: (_options, callback) => {
        connect(destination, { connectTimeoutMs, allowHalfOpen: false }, (error, socket) => {
          if (socket === null) callback(error ?? new Error('not connected'), null);
          else callback(null, socket);
        });
      },
    });
    return { key, destination, pool, lastUsedMs: nowMs, retryUntilMs: nowMs + refusedRetryMs };
  }
}

function keyOf(backend: NonNullable<Route['backend']>): string {
  return `${backend.uid} ${backend.address} ${String(backend.port)}`;
}

function retire(entry: Entry): void {
  // Resolves when the last request has ended; a pool that is closed already says so by rejecting.
  entry.pool.close().catch(() => undefined);
}
