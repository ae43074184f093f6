import type { Logger } from '../../core/logger.ts';
import { errorText } from '../../core/errors.ts';

/**
 * Runs `work(key)` for every key that was added: one at a time per key, at most `concurrency` at once. A key added while
 * it is being worked on is worked on once more. A failed turn is logged and looked at again after `retryMs`.
 */
export class KeyedWork {
  readonly #work: (key: string) => Promise<void>;
  readonly #concurrency: number;
  readonly #retryMs: number;
  readonly #log: Logger;
  readonly #waiting = new Set<string>();
  readonly #active = new Set<string>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #isOpen = true;
  #idle: (() => void)[] = [];

  constructor(options: { work: (key: string) => Promise<void>; concurrency: number; retryMs: number; log: Logger }) {
    this.#work = options.work;
    this.#concurrency = options.concurrency;
    this.#retryMs = options.retryMs;
    this.#log = options.log;
  }

  add(key: string): void {
    if (!this.#isOpen) return;
    this.#clearTimer(key);
    this.#waiting.add(key);
    this.#next();
  }

  /** Adds the key after `delayMs`, unless it waits or is put off already. */
  addLater(key: string, delayMs: number): void {
    if (!this.#isOpen || this.#waiting.has(key) || this.#timers.has(key)) return;
    this.#timers.set(
      key,
      setTimeout(() => {
        this.#timers.delete(key);
        this.add(key);
      }, delayMs),
    );
  }

  /** Takes no more keys and resolves when the work under way has ended. */
  async close(): Promise<void> {
    this.#isOpen = false;
    this.#waiting.clear();
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    if (this.#active.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #clearTimer(key: string): void {
    clearTimeout(this.#timers.get(key));
    this.#timers.delete(key);
  }

  #next(): void {
    for (const key of this.#waiting) {
      if (this.#active.size >= this.#concurrency) return;
      if (this.#active.has(key)) continue;
      this.#waiting.delete(key);
      this.#active.add(key);
      void this.#turn(key);
    }
  }

  async #turn(key: string): Promise<void> {
    try {
      await this.#work(key);
    } catch (error) {
      this.#log.warn({ key, error: errorText(error) }, 'an operation failed; will retry');
      this.addLater(key, this.#retryMs);
    }
    this.#active.delete(key);
    this.#next();
    if (this.#active.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }
}
