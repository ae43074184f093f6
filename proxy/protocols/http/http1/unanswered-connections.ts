/** A new connection on which the pod has said nothing for so long may be waiting for another one to be closed. */
const UNHEARD_MS = 200;
/** How often an idle connection is closed for those that wait. */
const YIELD_EVERY_MS = 100;
/** A request of another worker is forgotten when no connection could be closed for so long: it comes again. */
const ASKED_MS = 1_000;

export interface UnansweredConnection {
  /** performance.now() when its dial began. */
  readonly sinceMs: number;
}

/**
 * New connections to one pod on which it has not answered yet. A server that serves one connection at a time, or has as many
 * workers as connections are kept, does not accept the next before a kept one is closed: reusing the kept ones, or only
 * keeping them, would starve those that wait.
 */
export class UnansweredConnections {
  readonly #all = new Set<UnansweredConnection>();
  readonly #onWaiting: () => void;
  #yieldedMs = -Infinity;
  #askedMs = -Infinity;
  #timer: NodeJS.Timeout | undefined;

  /**
   * `onWaiting` is called ten times a second while a new connection may be waiting: another worker may keep the one that
   * the pod waits for.
   */
  constructor(onWaiting: () => void = () => undefined) {
    this.#onWaiting = onWaiting;
  }

  add(): UnansweredConnection {
    const connection = { sinceMs: performance.now() };
    this.#all.add(connection);
    this.#timer ??= setInterval(() => this.#check(), YIELD_EVERY_MS).unref();
    return connection;
  }

  /** It was answered, or is gone. */
  delete(connection: UnansweredConnection): void {
    this.#all.delete(connection);
  }

  /** Another worker's new connection may be waiting. */
  askedElsewhere(): void {
    this.#askedMs = performance.now();
  }

  /** Whether an idle connection is to be closed now. The pod may as well be slow: it costs a dial, ten times a second. */
  needsRoom(nowMs: number): boolean {
    if (nowMs - this.#yieldedMs < YIELD_EVERY_MS) return false;
    if (!this.#isWaiting(nowMs) && nowMs - this.#askedMs >= ASKED_MS) return false;
    this.#askedMs = -Infinity;
    this.#yieldedMs = nowMs;
    return true;
  }

  #isWaiting(nowMs: number): boolean {
    if (this.#all.size === 0) return false;
    const [oldest] = this.#all;
    return oldest !== undefined && nowMs - oldest.sinceMs >= UNHEARD_MS;
  }

  #check(): void {
    if (this.#all.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    } else if (this.#isWaiting(performance.now())) this.#onWaiting();
  }
}
