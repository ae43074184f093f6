import { createHash } from 'node:crypto';
import type { Clock } from '../../core/clock.ts';
import { LOGIN_TOKEN_MAX_LENGTH, type LoginAnswer } from '../../core/feed-protocol.ts';

/** So long an answer is believed, at most: keys of tenants change. */
const USER_MS = 60_000;
const REFUSED_MS = 10_000;
const UNAVAILABLE_MS = 1_000;
/** Control answers in milliseconds, unless the tenant's keys have to be read again. */
const ANSWER_MS = 6_000;
const OPEN_MAX = 256;
const KNOWN_MAX = 10_000;

interface Known {
  readonly answer: LoginAnswer;
  /** Monotonic. */
  readonly untilMs: number;
}

interface Question {
  readonly key: string;
  readonly timer: NodeJS.Timeout;
  readonly waiting: (() => void)[];
}

export interface TokenLoginsOptions {
  /** Asks control, which answers by `answered`. False: it cannot be reached. */
  readonly ask: (id: number, host: string, token: string) => boolean;
  readonly clock: Clock;
}

/** Whose the tokens are that clients send to pods with a login. Control says so; tokens are not kept. */
export class TokenLogins {
  readonly #options: TokenLoginsOptions;
  /** By hash, the oldest first. */
  readonly #known = new Map<string, Known>();
  readonly #open = new Map<number, Question>();
  readonly #asked = new Map<string, Question>();
  #lastId = 0;

  constructor(options: TokenLoginsOptions) {
    this.#options = options;
  }

  /** Null: it is to be asked for. `host`: the base host of its tenant. */
  find(host: string, token: string): LoginAnswer | null {
    const known = this.#known.get(keyOf(host, token));
    return known !== undefined && this.#options.clock.monotonicMs() < known.untilMs ? known.answer : null;
  }

  /** Calls back once `find` has an answer; not before it returns. */
  ask(host: string, token: string, done: () => void): void {
    const key = keyOf(host, token);
    const asked = this.#asked.get(key);
    if (asked !== undefined) {
      asked.waiting.push(done);
      return;
    }
    const id = ++this.#lastId;
    const timer = setTimeout(() => this.answered(id, { kind: 'unavailable' }), ANSWER_MS);
    const question: Question = { key, timer, waiting: [done] };
    const isFull = this.#open.size >= OPEN_MAX;
    this.#open.set(id, question);
    this.#asked.set(key, question);
    const isSent = !isFull && token.length <= LOGIN_TOKEN_MAX_LENGTH && this.#options.ask(id, host, token);
    if (!isSent) setImmediate(() => this.answered(id, { kind: 'unavailable' }));
  }

  /** Ignored for a question that is not open: it took too long, or was one of an earlier connection. */
  answered(id: number, answer: LoginAnswer): void {
    const question = this.#open.get(id);
    if (question === undefined) return;
    const { key, timer, waiting } = question;
    clearTimeout(timer);
    this.#open.delete(id);
    this.#asked.delete(key);
    this.#known.delete(key);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size < KNOWN_MAX) break;
      this.#known.delete(oldest);
    }
    this.#known.set(key, { answer, untilMs: this.#options.clock.monotonicMs() + this.#believedMs(answer) });
    for (const done of waiting) done();
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
