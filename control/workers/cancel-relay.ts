import { type CancelAnswer, mergeCancelAnswers, NOT_ASKED } from '../../core/cancel-answer.ts';
import { CancelQuestions } from '../../core/cancel-questions.ts';
import type { Clock } from '../../core/clock.ts';
import type { CancelMessage } from '../../core/feed-protocol.ts';
import type { Json, Replicas } from '../../core/replicas.ts';
import { parseCancel, parseCancelAnswered } from './cancel-message.ts';

export type CancelQuestion = Pick<CancelMessage, 'key' | 'address'>;
type Done = (answer: CancelAnswer) => void;

/** Where cancels go that no worker of this replica knows, and where those of the others come from. */
export interface CancelRelay {
  /** `done` is called once: at once where there is nobody to ask. */
  ask(question: CancelQuestion, done: Done): void;
  /** Whoever listens calls `done` once. Answers how to stop listening. */
  listen(onQuestion: (question: CancelQuestion, done: Done) => void): () => void;
}

/**
 * In each direction: the bus is everybody's, and a flood of guesses at one replica must not become one of all. Workers
 * have bounds of their own (proxy/protocols/postgres/cancel/guess-limit.ts).
 */
const MOST_AT_ONCE = 1_000;
const MOST_PER_SECOND = 400;

export function createCancelRelay({
  replicas,
  clock,
}: {
  readonly replicas: Replicas;
  readonly clock: Clock;
}): CancelRelay {
  const [sending, receiving] = [createBucket(clock), createBucket(clock)];
  const questions = new CancelQuestions<string>();
  return {
    ask(question, done) {
      const others = replicas.live().flatMap(({ id }) => (id === replicas.id ? [] : [id]));
      if (others.length === 0) done(mergeCancelAnswers([]));
      else if (!sending()) done(NOT_ASKED);
      else {
        let isPublished = false;
        const publish = (id: number): boolean => {
          // One message reaches all of them.
          if (!isPublished) replicas.publish('cancel', { id, ...question });
          isPublished = true;
          return true;
        };
        questions.ask(others, publish, done);
      }
    },
    listen(onQuestion) {
      return replicas.listen('cancel', (message, from) => {
        const answered = isFor(message, replicas.id) ? parseCancelAnswered(message) : null;
        if (answered !== null) {
          questions.answered(from, answered.id, { isFound: answered.isFound, passedThrough: answered.passedThrough });
          return;
        }
        const cancel = parseCancel(message);
        if (cancel === null || !receiving()) return;
        const { id, key, address } = cancel;
        onQuestion({ key, address }, ({ isFound, passedThrough }) => {
          replicas.publish('cancel', { to: from, id, isFound, passedThrough });
        });
      });
    },
  };
}

function isFor(message: Json, replica: string): boolean {
  if (typeof message !== 'object' || message === null || Array.isArray(message)) return false;
  return (message as { readonly [name: string]: Json })['to'] === replica;
}

/** Answers whether there is one left. */
function createBucket(clock: Clock): () => boolean {
  let left = MOST_AT_ONCE;
  let atMs = clock.monotonicMs();
  return () => {
    const nowMs = clock.monotonicMs();
    left = Math.min(MOST_AT_ONCE, left + ((nowMs - atMs) / 1_000) * MOST_PER_SECOND);
    atMs = nowMs;
    if (left < 1) return false;
    left -= 1;
    return true;
  };
}
