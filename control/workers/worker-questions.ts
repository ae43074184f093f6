import type { PodConnections } from '../../core/pod-connections.ts';
import { Questions } from '../../core/questions.ts';
import type { WorkerName } from '../../core/worker-name.ts';

/** A worker answers from memory: if it has not by then, it is busy or gone. */
const ANSWER_MS = 1_000;

export interface WorkerAnswers {
  /** Null = it has had no connection to the pod. */
  readonly answers: readonly { readonly worker: WorkerName; readonly connections: PodConnections | null }[];
  readonly missing: readonly WorkerName[];
}

/** Questions about pods to the gateway workers of this replica, and of gateways that follow it. */
export interface WorkerQuestions {
  /** A worker has connected. During a restart, the old and the new worker of a number are both connected for a while. */
  join(worker: WorkerName, ask: (id: number, uid: string) => void): JoinedWorker;
  ask(uid: string): Promise<WorkerAnswers>;
}

export interface JoinedWorker {
  told(id: number, connections: PodConnections | null): void;
  /** It has disconnected. */
  leave(): void;
}

/** One connection of a worker. */
interface Follower {
  readonly worker: WorkerName;
  readonly ask: (id: number, uid: string) => void;
}

export function createWorkerQuestions(): WorkerQuestions {
  const followers = new Set<Follower>();
  const questions = new Questions<Follower, PodConnections | null>();
  return {
    join(worker, ask) {
      const follower: Follower = { worker, ask };
      followers.add(follower);
      return {
        told: (id, connections) => questions.answered(follower, id, connections),
        leave() {
          followers.delete(follower);
          questions.left(follower);
        },
      };
    },
    async ask(uid) {
      const asked = [...followers];
      const { answers, missing } = await questions.ask({
        parties: () => asked,
        say(id, parties) {
          for (const { ask } of parties) ask(id, uid);
          return true;
        },
        timeoutMs: ANSWER_MS,
      });
      return {
        answers: [...answers].map(([{ worker }, connections]) => ({ worker, connections })),
        missing: missing.map(({ worker }) => worker),
      };
    },
  };
}
