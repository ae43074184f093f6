import { createHash } from 'node:crypto';
import { addressKey } from '../../core/address-key.ts';
import type { Clock } from '../../core/clock.ts';
import { LOGIN_TOKEN_MAX_LENGTH, type LoginAnswer } from '../../core/feed-protocol.ts';

/** So long an answer is believed, at most: keys of tenants change. */
const USER_MS = 60_000;
const REFUSED_MS = 10_000;
const UNAVAILABLE_MS = 1_000;
/** Control answers in milliseconds, unless the tenant's keys have to be read again. */
const ANSWER_MS = 6_000;
/** Questions to control at a time, and how many of them one client address (addressKey) may hold. */
const OPEN_MAX = 256;
const OPEN_PER_ADDRESS_MAX = OPEN_MAX / 4;
/** In each of the two caches. */
const KNOWN_MAX = 10_000;

interface Known {
  readonly answer: LoginAnswer;
  /** Monotonic. */
  readonly untilMs: number;
}

interface Question {
  readonly key: string;
  /** The addressKey of the client that was first to send the token. */
  readonly addressKey: string;
  readonly timer: NodeJS.Timeout;
  readonly waiting: (() => void)[];
}

/** What was used up when a question was refused: all of a worker's, or those of one client address. */
export type TokenCheckLimit = 'token-checks' | 'token-checks-address';

export interface TokenLoginsOptions {
  /** Asks control, which answers by `answered`. False: it cannot be reached. */
  readonly ask: (id: number, host: string, token: string) => boolean;
  /** Called for each question that is refused. */
  readonly limited: (limit: TokenCheckLimit) => void;
  readonly clock: Clock;
}

/** Whose the tokens are that clients send to pods with a login. Control says so; tokens are not kept. */
export class TokenLogins {
  readonly #options: TokenLoginsOptions;
  /** By hash, the oldest first. Made-up tokens fill the second cache, and so evict no valid login. */
  readonly #users = new Map<string, Known>();
  readonly #refusals = new Map<string, Known>();
  readonly #open = new Map<number, Question>();
  readonly #asked = new Map<string, Question>();
  #lastId = 0;

  constructor(options: TokenLoginsOptions) {
    this.#options = options;
  }

  /** Null: it is to be asked for. `host`: the base host of its tenant. */
  find(host: string, token: string): LoginAnswer | null {
    const key = keyOf(host, token);
    const known = this.#users.get(key) ?? this.#refusals.get(key);
    return known !== undefined && this.#options.clock.monotonicMs() < known.untilMs ? known.answer : null;
  }

  /**
   * Calls back once `find` has an answer; not before it returns. `find` still returns null then if the token is too long,
   * or if too many questions are open, in total or for this client address. Such refusals are not cached: clients at other
   * addresses may send the same token.
   */
  ask(host: string, token: string, address: string, done: () => void): void {
    const key = keyOf(host, token);
    const asked = this.#asked.get(key);
    if (asked !== undefined) {
      asked.waiting.push(done);
      return;
    }
    const client = addressKey(address);
    const limit = this.#limitReached(client);
    if (token.length > LOGIN_TOKEN_MAX_LENGTH || limit !== null) {
      if (limit !== null) this.#options.limited(limit);
      setImmediate(done);
      return;
    }
    const id = ++this.#lastId;
    const timer = setTimeout(() => this.answered(id, { kind: 'unavailable' }), ANSWER_MS);
    const question: Question = { key, addressKey: client, timer, waiting: [done] };
    this.#open.set(id, question);
    this.#asked.set(key, question);
    if (!this.#options.ask(id, host, token)) setImmediate(() => this.answered(id, { kind: 'unavailable' }));
  }

  /** Ignored for a question that is not open: it took too long, or was one of an earlier connection. */
  answered(id: number, answer: LoginAnswer): void {
    const question = this.#open.get(id);
    if (question === undefined) return;
    const { key, timer, waiting } = question;
    clearTimeout(timer);
    this.#open.delete(id);
    this.#asked.delete(key);
    this.#users.delete(key);
    this.#refusals.delete(key);
    const cache = answer.kind === 'user' ? this.#users : this.#refusals;
    for (const oldest of cache.keys()) {
      if (cache.size < KNOWN_MAX) break;
      cache.delete(oldest);
    }
    cache.set(key, { answer, untilMs: this.#options.clock.monotonicMs() + this.#believedMs(answer) });
    for (const done of waiting) done();
  }

  #limitReached(client: string): TokenCheckLimit | null {
    if (this.#open.size >= OPEN_MAX) return 'token-checks';
    let held = 0;
    for (const question of this.#open.values()) if (question.addressKey === client) held++;
    return held < OPEN_PER_ADDRESS_MAX ? null : 'token-checks-address';
  }

  #believedMs(answer: LoginAnswer): number {
    switch (answer.kind) {
      case 'user':
        return Math.min(USER_MS, answer.expiresAtMs - this.#options.clock.now());
      case 'refused':
        return REFUSED_MS;
      case 'unavailable':
        return UNAVAILABLE_MS;
    }
  }
}

function keyOf(host: string, token: string): string {
  return createHash('sha256').update(`${host}\n${token}`).digest('base64');
}
