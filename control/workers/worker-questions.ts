import type { PodConnections } from '../../core/pod-connections.ts';
import type { PackedTraffic } from '../../core/pod-traffic.ts';
import { Questions } from '../../core/questions.ts';
import type { WorkerName } from '../../core/worker-name.ts';

/** A worker answers from memory: if it has not by then, it is busy or gone. */
const ANSWER_MS = 1_000;

export interface WorkerAnswers<Answer> {
  readonly answers: readonly { readonly worker: WorkerName; readonly answer: Answer }[];
  readonly missing: readonly WorkerName[];
}

/** Questions of one kind to the gateway workers of this replica, and of gateways that follow it. */
export interface WorkerQuestions<Question, Answer> {
  /**
   * A worker has connected. During a restart, the old and the new worker of a number are both connected for a while.
   * `ask` null: its release does not know such questions. It is always among the missing, and never waited for.
   */
  join(worker: WorkerName, ask: ((id: number, question: Question) => void) | null): JoinedWorker<Answer>;
  ask(question: Question): Promise<WorkerAnswers<Answer>>;
}

export interface JoinedWorker<Answer> {
  told(id: number, answer: Answer): void;
  /** It has disconnected. */
  leave(): void;
}

/** One connection of a worker. */
interface Follower<Question> {
  readonly worker: WorkerName;
  readonly ask: ((id: number, question: Question) => void) | null;
}

export function createWorkerQuestions<Question, Answer>(): WorkerQuestions<Question, Answer> {
  const followers = new Set<Follower<Question>>();
  const questions = new Questions<Follower<Question>, Answer>();
  return {
    join(worker, ask) {
      const follower: Follower<Question> = { worker, ask };
      followers.add(follower);
      return {
        told: (id, answer) => questions.answered(follower, id, answer),
        leave() {
          followers.delete(follower);
          questions.left(follower);
        },
      };
    },
    async ask(question) {
      const all = [...followers];
      const asked = all.filter(({ ask }) => ask !== null);
      const unable = all.filter(({ ask }) => ask === null);
      const { answers, missing } = await questions.ask({
        parties: () => asked,
        say(id, parties) {
          for (const { ask } of parties) ask?.(id, question);
          return true;
        },
        timeoutMs: ANSWER_MS,
      });
      return {
        answers: [...answers].map(([{ worker }, answer]) => ({ worker, answer })),
        missing: [...missing, ...unable].map(({ worker }) => worker),
      };
    },
  };
}

/** By uid: what a worker has seen of this pod; null = it has had no connection to it. */
export type ConnectionQuestions = WorkerQuestions<string, PodConnections | null>;
/** By uids; an answer of another length could not be read. */
export type TrafficQuestions = WorkerQuestions<readonly string[], PackedTraffic>;
