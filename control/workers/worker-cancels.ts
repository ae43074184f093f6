import { CANCEL_ANSWER_MS, type CancelAnswer, cancelAnswerOf, mergeCancelAnswers } from '../../core/cancel-answer.ts';
import type { CancelAnswerMessage, CancelMessage, ControlMessage } from '../../core/feed-protocol.ts';
import { Questions } from '../../core/questions.ts';
import type { CancelQuestion, CancelRelay } from './cancel-relay.ts';

/** One connection of a worker to the feed. */
interface Follower {
  readonly send: (message: ControlMessage) => void;
}

export interface CancellingWorker {
  /** Its client asks to cancel a session that this worker does not know. */
  asked(message: CancelMessage): void;
  answered(message: CancelAnswerMessage): void;
  /** It has disconnected. */
  left(): void;
}

/** Passes cancels and their outcomes between the workers of this replica, and to and from other replicas. */
export class WorkerCancels {
  readonly #relay: CancelRelay | null;
  readonly #followers = new Set<Follower>();
  readonly #questions = new Questions<Follower, CancelAnswer>();

  constructor(relay: CancelRelay | null) {
    this.#relay = relay;
  }

  /** Returns how to stop listening to the other replicas. */
  listen(): () => void {
    return this.#relay?.listen((question) => this.#askWorkers([...this.#followers], question)) ?? nothing;
  }

  join(send: (message: ControlMessage) => void): CancellingWorker {
    const follower: Follower = { send };
    this.#followers.add(follower);
    return {
      asked: ({ id, key, address }) => {
        void this.#askAll(follower, { key, address }).then((answer) => {
          send({ kind: 'cancel-answered', id, ...answer });
        });
      },
      answered: ({ id, isFound, passedThrough }) => this.#questions.answered(follower, id, { isFound, passedThrough }),
      left: () => {
        this.#followers.delete(follower);
        this.#questions.left(follower);
      },
    };
  }

  /** Resolves as soon as one has found it, or when this replica and all others have answered. */
  #askAll(asker: Follower, question: CancelQuestion): Promise<CancelAnswer> {
    const others = [...this.#followers].filter((follower) => follower !== asker);
    const asked = [this.#askWorkers(others, question)];
    if (this.#relay !== null) asked.push(this.#relay.ask(question));
    return new Promise((resolve) => {
      for (const each of asked) void each.then((answer) => (answer.isFound ? resolve(answer) : undefined));
      void Promise.all(asked).then((answers) => resolve(mergeCancelAnswers(answers)));
    });
  }

  async #askWorkers(workers: readonly Follower[], question: CancelQuestion): Promise<CancelAnswer> {
    const replies = await this.#questions.ask({
      parties: () => workers,
      say(id, followers) {
        for (const { send } of followers) send({ kind: 'cancel', id, ...question });
        return true;
      },
      timeoutMs: CANCEL_ANSWER_MS,
      isEnough: ({ isFound }) => isFound,
    });
    return cancelAnswerOf(replies);
  }
}

function nothing(): void {
  // Nobody was listened to.
}
