import { connect, type Destination } from '../../../dial/connect.ts';
import type { HttpLimits } from '../exchange/limits.ts';
import { UnansweredConnections } from './unanswered-connections.ts';
import { UpstreamConnection } from './upstream-connection.ts';
import type { UpstreamPool } from '../exchange/upstream.ts';

/**
 * Kept connections to one backend. The newest is used first: it is the least likely to be closed at this very moment,
 * and the others become idle for long enough to be closed. None is kept from a new connection that the pod does not answer.
 */
export class ConnectionPool implements UpstreamPool {
  readonly key: string;
  readonly destination: Destination;
  readonly retryUntilMs: number;
  readonly #limits: HttpLimits;
  readonly #preamble: Buffer | null;
  readonly #idle: UpstreamConnection[] = [];
  readonly #unanswered: UnansweredConnections;
  #isRetired = false;
  lastUsedMs: number;

  /**
   * `preamble` is what every connection begins with: a PROXY header. `unanswered` is shared by all pools of one pod.
   */
  constructor(
    key: string,
    destination: Destination,
    limits: HttpLimits,
    preamble: Buffer | null = null,
    unanswered = new UnansweredConnections(),
  ) {
    this.key = key;
    this.#unanswered = unanswered;
    this.#preamble = preamble;
    this.destination = destination;
    this.#limits = limits;
    this.lastUsedMs = performance.now();
    this.retryUntilMs = this.lastUsedMs + (destination.kind === 'unix' ? 0 : limits.dialRetryMs);
  }

  take(): UpstreamConnection | null {
    const usableSinceMs = performance.now() - this.#limits.upstreamIdleMs;
    for (let kept = this.#idle.pop(); kept !== undefined; kept = this.#idle.pop()) {
      if (kept.isUsable && kept.idleSinceMs >= usableSinceMs) return kept;
      kept.close();
    }
    return null;
  }

  async open(signal: AbortSignal, allowHalfOpen: boolean): Promise<UpstreamConnection> {
    const options = { timeoutMs: this.#limits.connectTimeoutMs, allowHalfOpen };
    const unanswered = this.#unanswered.add();
    try {
      const socket = await connect(this.destination, options, signal);
      if (this.#preamble !== null) socket.write(this.#preamble);
      return new UpstreamConnection(socket, {
        onFirstByte: () => this.#unanswered.delete(unanswered),
        onIdle: (connection) => this.#keep(connection),
        onGone: (connection) => {
          this.#unanswered.delete(unanswered);
          this.#forget(connection);
        },
      });
    } catch (error) {
      this.#unanswered.delete(unanswered);
      throw error;
    }
  }

  sweep(): void {
    const nowMs = performance.now();
    const usableSinceMs = nowMs - this.#limits.upstreamIdleMs;
    this.makeRoom(nowMs);
    // In the order in which they became idle.
    while ((this.#idle[0]?.idleSinceMs ?? Infinity) < usableSinceMs) this.#idle.shift()?.close();
  }

  /** Another worker's new connection may be waiting. */
  askedElsewhere(): void {
    this.#unanswered.askedElsewhere();
  }

  /** Closes an idle connection where another one may be waiting for that. False: there was none, or no need. */
  makeRoom(nowMs: number): boolean {
    if (this.#idle.length === 0 || !this.#unanswered.needsRoom(nowMs)) return false;
    this.#idle.shift()?.close();
    return true;
  }

  get isRetired(): boolean {
    return this.#isRetired;
  }

  retire(): void {
    this.#isRetired = true;
    for (const kept of this.#idle.splice(0)) kept.close();
  }

  #keep(connection: UpstreamConnection): void {
    const nowMs = performance.now();
    if (this.#isRetired || this.#unanswered.needsRoom(nowMs)) {
      connection.close();
      return;
    }
    connection.idleSinceMs = nowMs;
    this.#idle.push(connection);
  }

  #forget(connection: UpstreamConnection): void {
    const at = this.#idle.lastIndexOf(connection);
    if (at >= 0) this.#idle.splice(at, 1);
  }
}
