/**
 * Keeps one copy of equal texts: each parsed message has copies of its own, and bundles of authorities have up to 16 kB for
 * each route. Every `take` is undone by one `drop`.
 */
export class SharedTexts {
  readonly #kept = new Map<string, { readonly text: string; uses: number }>();

  /** The kept copy of this text. */
  take(text: string): string {
    const kept = this.#kept.get(text);
    if (kept === undefined) {
      this.#kept.set(text, { text, uses: 1 });
      return text;
    }
    kept.uses += 1;
    return kept.text;
  }

  drop(text: string): void {
    const kept = this.#kept.get(text);
    if (kept === undefined) return;
    kept.uses -= 1;
    if (kept.uses === 0) this.#kept.delete(text);
  }

  get size(): number {
    return this.#kept.size;
  }
}
