/** Texts of events between the feed, which waits for nobody, and one client. Bounded in bytes. */
export class EventQueue {
  readonly #mostBytes: number;
  #texts: string[] = [];
  #bytes = 0;
  #isEnded = false;
  #hasOverflowed = false;
  #wake: () => void = () => undefined;
  #drained: () => void = () => undefined;

  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }
  get hasOverflowed(): boolean {
    return this.#hasOverflowed;
  }

  /** A text beyond the bound is not taken, and ends the queue: the client is too slow. */
  push(text: string): void {
    if (this.#isEnded) return;
    this.#bytes += text.length;
    if (this.#bytes > this.#mostBytes) {
      this.#hasOverflowed = true;
      this.end();
    } else {
      this.#texts.push(text);
      this.#wake();
    }
  }

  end(): void {
    this.#isEnded = true;
    this.#wake();
    this.#drained();
  }

  /** Everything that waits; '' after `ms` without anything, or once the queue has ended. */
  async take(ms: number): Promise<string> {
    if (this.#texts.length === 0 && !this.#isEnded) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const text = this.#texts.join('');
    this.#texts = [];
    this.#bytes = 0;
    this.#drained();
    return text;
  }

  /** Resolves at once while less than half of it is used: for a source that can wait. */
  async room(): Promise<void> {
    if (this.#isEnded || this.#bytes < this.#mostBytes / 2) return;
    await new Promise<void>((resolve) => (this.#drained = resolve));
  }
}
