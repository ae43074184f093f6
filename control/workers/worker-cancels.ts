import { type CancelAnswer, mergeCancelAnswers } from '../../core/cancel-answer.ts';
import { CancelQuestions } from '../../core/cancel-questions.ts';
import type { CancelAnswerMessage, CancelMessage, ControlMessage } from '../../core/feed-protocol.ts';
import type { CancelQuestion, CancelRelay } from './cancel-relay.ts';

/** One connection of a worker to the feed. */
interface Follower {
  readonly send: (message: ControlMessage) => void;
}

export interface CancellingWorker {
  /** Its client wants a session cancelled that it does not know. */
  asked(message: CancelMessage): void;
  answered(message: CancelAnswerMessage): void;
  /** It follows no more. */
  left(): void;
}

/** Carries cancels and what came of them between the workers of this replica, and to and from the other replicas. */
export class WorkerCancels {
  readonly #relay: CancelRelay | null;
  readonly #followers = new Set<Follower>();
  readonly #questions = new CancelQuestions<Follower>();

  constructor(relay: CancelRelay | null) {
    this.#relay = relay;
  }

  /** Answers how to stop listening to the other replicas. */
  listen(): () => void {
    return this.#relay?.listen((question, done) => this.#askWorkers([...this.#followers], question, done)) ?? nothing;
  }

  join(send: (message: ControlMessage) => void): CancellingWorker {
    const follower: Follower = { send };
    this.#followers.add(follower);
    return {
      asked: ({ id, key, address }) => {
        this.#askAll(follower, { key, address }, (answer) => send({ kind: 'cancel-answered', id, ...answer }));
      },
      answered: ({ id, isFound, passedThrough }) => this.#questions.answered(follower, id, { isFound, passedThrough }),
      left: () => {
        this.#followers.delete(follower);
        this.#questions.left(follower);
      },
    };
  }

  /** As soon as one has found it, or when this replica and all others have answered. */
  #askAll(asker: Follower, question: CancelQuestion, done: (answer: CancelAnswer) => void): void {
    const answers: CancelAnswer[] = [];
    const answered = (answer: CancelAnswer): void => {
      if (answers.some(({ isFound }) => isFound)) return;
      answers.push(answer);
      if (answer.isFound) done(answer);
      else if (answers.length === 2) done(mergeCancelAnswers(answers));
    };
    const others = [...this.#followers].filter((follower) => follower !== asker);
    this.#askWorkers(others, question, answered);
    if (this.#relay === null) answered(mergeCancelAnswers([]));
    else this.#relay.ask(question, answered);
  }

  #askWorkers(workers: readonly Follower[], question: CancelQuestion, done: (answer: CancelAnswer) => void): void {
    const say = (id: number, { send }: Follower): boolean => {
      send({ kind: 'cancel', id, ...question });
      return true;
    };
    this.#questions.ask(workers, say, done);
  }
}

function nothing(): void {
  // Nobody was listened to.
}
