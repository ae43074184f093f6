import { createHash, randomBytes } from 'node:crypto';

/** Long enough to read the greeting, short enough for a code that was left in a terminal. */
const LIFETIME_MS = 15 * 60_000;
const CODE_BYTES = 24;
const CODES_MAX = 64;

/** Codes of login links: each is good once and for 15 minutes, in the process that made it. Only their hashes are kept. */
export class LoginLinks {
  readonly #monotonicMs: () => number;
  readonly #expiries = new Map<string, number>();

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  create(): string {
    const [oldest] = this.#expiries.keys();
    if (oldest !== undefined && this.#expiries.size >= CODES_MAX) this.#expiries.delete(oldest);
    const code = randomBytes(CODE_BYTES).toString('base64url');
    this.#expiries.set(hashOf(code), this.#monotonicMs() + LIFETIME_MS);
    return code;
  }

  /** False: unknown, used or expired. */
  redeem(code: string): boolean {
    const hash = hashOf(code);
    const expiresMs = this.#expiries.get(hash);
    this.#expiries.delete(hash);
    return expiresMs !== undefined && this.#monotonicMs() < expiresMs;
  }
}

function hashOf(code: string): string {
  return createHash('sha256').update(code).digest('base64url');
}
