import { pause } from './abort.ts';

/** One question beyond is not asked. */
const OPEN_MAX = 10_000;

export interface Question<Party, Answer> {
  /** Who is to answer. Called again after every wait: parties may come and go. */
  readonly parties: () => readonly Party[];
  /** Puts the question, with its ID, to these parties. False: none of them can be reached. */
  readonly say: (id: number, parties: readonly Party[]) => boolean;
  readonly timeoutMs: number;
  /** Asks the missing parties again at this interval. Default: asks once. */
  readonly repeatMs?: number;
  /** Default: a party answers once. */
  readonly isFinal?: (answer: Answer) => boolean;
  /** With such an answer, the others are no longer waited for. Default: there is none. */
  readonly isEnough?: (answer: Answer) => boolean;
  /** Nobody waits any more when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

export interface Replies<Party, Answer> {
  /** The last answer of each party. */
  readonly answers: ReadonlyMap<Party, Answer>;
  /** Parties that have given no final answer in time. */
  readonly missing: readonly Party[];
  /** Not all parties could be reached, or some have left. */
  readonly isPartial: boolean;
}

interface Open<Party, Answer> {
  readonly question: Question<Party, Answer>;
  readonly answers: Map<Party, Answer>;
  readonly final: Set<Party>;
  readonly left: Set<Party>;
  isEnough: boolean;
  wake: () => void;
}

/** Questions to several parties that answer by messages: what is open, who has answered, and who is missing. */
export class Questions<Party, Answer> {
  readonly #open = new Map<number, Open<Party, Answer>>();
  /** Random, so that a late answer to the process that ran before this one matches nothing. */
  #lastId = Math.floor(Math.random() * 2 ** 48);

  /** Resolves when all have answered, one answer is enough, the time is over, or the signal aborts. Never rejects. */
  async ask(question: Question<Party, Answer>): Promise<Replies<Party, Answer>> {
    const { parties, say, timeoutMs, repeatMs = Infinity, signal } = question;
    const id = ++this.#lastId;
    const open: Open<Party, Answer> = {
      question,
      answers: new Map(),
      final: new Set(),
      left: new Set(),
      isEnough: false,
      wake: () => undefined,
    };
    const missing = () => parties().filter((party) => !open.final.has(party) && !open.left.has(party));
    if (this.#open.size >= OPEN_MAX) return { answers: open.answers, missing: missing(), isPartial: true };
    this.#open.set(id, open);
    const startedMs = performance.now();
    let repeatAtMs = startedMs;
    for (;;) {
      const waitsFor = missing();
      const nowMs = performance.now();
      const leftMs = startedMs + timeoutMs - nowMs;
      if (open.isEnough || waitsFor.length === 0 || leftMs <= 0 || signal?.aborted === true) break;
      if (nowMs >= repeatAtMs) {
        repeatAtMs = nowMs + repeatMs;
        if (!say(id, waitsFor)) for (const party of waitsFor) open.left.add(party);
        // Some may have answered at once.
        continue;
      }
      const woken = new AbortController();
      open.wake = () => woken.abort();
      const either = signal === undefined ? woken.signal : AbortSignal.any([woken.signal, signal]);
      await pause(Math.min(leftMs, repeatAtMs - nowMs), either);
    }
    this.#open.delete(id);
    return { answers: open.answers, missing: missing(), isPartial: open.left.size > 0 };
  }

  /** Ignored if this party was not asked, or has given its final answer. */
  answered(party: Party, id: number, answer: Answer): void {
    const open = this.#open.get(id);
    if (open === undefined || open.final.has(party) || !open.question.parties().includes(party)) return;
    const { isFinal, isEnough } = open.question;
    open.answers.set(party, answer);
    if (isFinal?.(answer) ?? true) open.final.add(party);
    if (isEnough?.(answer) ?? false) open.isEnough = true;
    open.wake();
  }

  /** It will not answer any more. */
  left(party: Party): void {
    for (const open of this.#open.values()) {
      if (open.final.has(party) || !open.question.parties().includes(party)) continue;
      open.left.add(party);
      open.wake();
    }
  }
}
