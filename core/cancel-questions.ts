import { type CancelAnswer, mergeCancelAnswers, NOT_ASKED } from './cancel-answer.ts';

/**
 * How long whoever asks about a cancel waits. Longer than a worker waits for a pod (CANCEL_SEND_MS), so that a pod that
 * is merely slow is still heard of.
 */
export const CANCEL_ANSWER_MS = 6_000;
/** From dialling the pod to its end of the connection. */
export const CANCEL_SEND_MS = 5_000;
/** One beyond is not asked. */
const OPEN_MAX = 10_000;

interface Open<Party> {
  readonly waitsFor: Set<Party>;
  readonly answers: CancelAnswer[];
  readonly done: (answer: CancelAnswer) => void;
  readonly deadline: NodeJS.Timeout;
}

/**
 * Questions about cancels that several parties were asked, each of which answers once. `done` is called once: as soon as
 * one has found the key, when all have answered, or after CANCEL_ANSWER_MS, when those that are silent count as
 * NOT_ASKED.
 */
export class CancelQuestions<Party> {
  readonly #open = new Map<number, Open<Party>>();
  /** At random, so that an answer to a process that is gone is none to the one in its place. */
  #lastId = Math.floor(Math.random() * 2 ** 48);

  /** `say` puts the question to a party; false = it could not. */
  ask(
    parties: readonly Party[],
    say: (id: number, party: Party) => boolean,
    done: (answer: CancelAnswer) => void,
  ): void {
    if (this.#open.size >= OPEN_MAX) {
      done(NOT_ASKED);
      return;
    }
    const id = ++this.#lastId;
    const deadline = setTimeout(() => {
      const open = this.#open.get(id);
      if (open !== undefined) this.#finish(id, mergeCancelAnswers([...open.answers, NOT_ASKED]));
    }, CANCEL_ANSWER_MS);
    this.#open.set(id, { waitsFor: new Set(parties), answers: [], done, deadline });
    for (const party of parties) if (!say(id, party)) this.answered(party, id, NOT_ASKED);
    if (parties.length === 0) this.#finish(id, mergeCancelAnswers([]));
  }

  /** What nobody has asked this party is passed over. */
  answered(party: Party, id: number, answer: CancelAnswer): void {
    const open = this.#open.get(id);
    if (open?.waitsFor.delete(party) !== true) return;
    open.answers.push(answer);
    if (answer.isFound) this.#finish(id, answer);
    else if (open.waitsFor.size === 0) this.#finish(id, mergeCancelAnswers(open.answers));
  }

  /** It will not answer any more. */
  left(party: Party): void {
    for (const id of [...this.#open.keys()]) this.answered(party, id, NOT_ASKED);
  }

  #finish(id: number, answer: CancelAnswer): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    this.#open.delete(id);
    clearTimeout(open.deadline);
    open.done(answer);
  }
}
