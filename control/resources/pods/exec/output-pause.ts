/** A request to resume can be behind what was typed, which the command does not read while its output waits. */
const PAUSE_MAX_MS = 1_000;

/**
 * Output that waits because its client has asked for it: a page in a browser cannot stop reading from a WebSocket, and keeps
 * in memory what it has not shown yet. A pause ends by itself after a second, unless it is asked for again.
 */
export class OutputPause {
  #ended: PromiseWithResolvers<void> | null = null;
  #timer: NodeJS.Timeout | undefined;

  begin(): void {
    clearTimeout(this.#timer);
    this.#ended ??= Promise.withResolvers();
    this.#timer = setTimeout(() => this.resume(), PAUSE_MAX_MS);
  }

  resume(): void {
    clearTimeout(this.#timer);
    this.#ended?.resolve();
    this.#ended = null;
  }

  async over(): Promise<void> {
    while (this.#ended !== null) await this.#ended.promise;
  }
}
