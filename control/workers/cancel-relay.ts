import {
  CANCEL_ANSWER_MS,
  type CancelAnswer,
  cancelAnswerOf,
  NOT_ASKED,
  parseCancelAnswer,
} from '../../core/cancel-answer.ts';
import type { Clock } from '../../core/clock.ts';
import type { CancelMessage } from '../../core/feed-protocol.ts';
import type { Replicas } from '../../core/replicas.ts';
import { ReplicaQuestions } from './ask-replicas.ts';
import { parseCancelQuestion } from './cancel-message.ts';

export type CancelQuestion = Pick<CancelMessage, 'key' | 'address'>;

/** Where cancels go that no worker of this replica knows, and where those of the others come from. */
export interface CancelRelay {
  /** Resolves at once when there is no other replica. */
  ask(question: CancelQuestion): Promise<CancelAnswer>;
  /** Returns how to stop listening. */
  listen(onQuestion: (question: CancelQuestion) => Promise<CancelAnswer>): () => void;
}

/**
 * In each direction: the bus is everybody's, and a flood of guesses at one replica must not become one of all. Workers
 * have bounds of their own (proxy/protocols/postgres/cancel/guess-limit.ts).
 */
const MOST_AT_ONCE = 1_000;
const MOST_PER_SECOND = 400;
const ANSWERING_MAX = 10_000;

export function createCancelRelay({
  replicas,
  clock,
}: {
  readonly replicas: Replicas;
  readonly clock: Clock;
}): CancelRelay {
  const [sending, receiving] = [createBucket(clock), createBucket(clock)];
  const questions = new ReplicaQuestions<CancelQuestion, CancelAnswer>({
    replicas,
    topic: 'cancel',
    parseQuestion: parseCancelQuestion,
    parseAnswer: parseCancelAnswer,
    answeringMax: ANSWERING_MAX,
    isEnough: ({ isFound }) => isFound,
  });
  return {
    async ask({ key, address }) {
      const isAlone = replicas.live().every(({ id }) => id === replicas.id);
      if (!isAlone && !sending()) return NOT_ASKED;
      return cancelAnswerOf(await questions.ask({ key, address }, { timeoutMs: CANCEL_ANSWER_MS }));
    },
    listen: (onQuestion) => questions.listen(async (question) => (receiving() ? onQuestion(question) : null)),
  };
}

/** Each call takes one, and returns whether there was one left. */
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
