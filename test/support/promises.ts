/**
 * What users were promised. Every acknowledged write leaves its mark (a description unique to it); a write whose answer
 * was lost may or may not have happened, so its mark is possible. `null` stands for "no such pod".
 */
export class Promises {
  readonly #possible = new Map<string, Set<string | null>>();

  acknowledged(key: string, mark: string | null): void {
    this.#possible.set(key, new Set([mark]));
  }

  attempted(key: string, mark: string | null): void {
    const marks = this.#possible.get(key) ?? new Set([null]);
    this.#possible.set(key, marks.add(mark));
  }

  /** Why what was found is not what was promised, or null. */
  problem(key: string, found: string | null): string | null {
    const marks = this.#possible.get(key) ?? new Set([null]);
    return marks.has(found) ? null : `${key}: found ${found ?? 'nothing'}, promised ${[...marks].join(' or ')}`;
  }
}
