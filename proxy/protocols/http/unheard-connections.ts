/** A new connection on which the pod has said nothing for so long may be waiting for another one to be closed. */
const UNHEARD_MS = 200;
/** How often an idle connection is closed for those that wait. */
const YIELD_EVERY_MS = 100;

export interface UnheardConnection {
  /** performance.now() when its dial began. */
  readonly sinceMs: number;
}

/**
 * New connections to one pod on which it has not answered yet. A server that serves one connection at a time, or has as many
 * workers as connections are kept, does not accept the next before a kept one is closed: reusing the kept ones, or only
 * keeping them, would starve whoever is waiting.
 */
export class UnheardConnections {
  readonly #all = new Set<UnheardConnection>();
  #yieldedMs = -Infinity;

  add(): UnheardConnection {
    const connection = { sinceMs: performance.now() };
    this.#all.add(connection);
    return connection;
  }

  /** It was answered, or is gone. */
  delete(connection: UnheardConnection): void {
    this.#all.delete(connection);
  }

  /** Whether an idle connection is to be closed now. The pod may as well be slow: it costs a dial, ten times a second. */
  needsRoom(nowMs: number): boolean {
    if (this.#all.size === 0 || nowMs - this.#yieldedMs < YIELD_EVERY_MS) return false;
    const [oldest] = this.#all;
    if (oldest === undefined || nowMs - oldest.sinceMs < UNHEARD_MS) return false;
    this.#yieldedMs = nowMs;
    return true;
  }
}
