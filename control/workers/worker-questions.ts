import { pause } from '../../core/abort.ts';
import type { PodConnections } from '../../core/pod-connections.ts';
import type { WorkerName } from '../../core/worker-name.ts';

/** A worker answers from memory: one that does not by then is busy with something else, or gone. */
const ANSWER_MS = 1_000;

export interface WorkerAnswers {
  /** Null = it has seen nothing of the pod. */
  readonly answers: readonly { readonly worker: WorkerName; readonly connections: PodConnections | null }[];
  readonly missing: readonly WorkerName[];
}

/** Questions about pods to the gateway workers of this replica, and of gateways that follow it. */
export interface WorkerQuestions {
  /** A worker follows the feed. In a restart the old one and the new one of a number both do for a while. */
  join(worker: WorkerName, ask: (id: number, uid: string) => void): JoinedWorker;
  ask(uid: string): Promise<WorkerAnswers>;
}

export interface JoinedWorker {
  told(id: number, connections: PodConnections | null): void;
  /** It follows no more. */
  leave(): void;
}

/** One connection of a worker. */
interface Follower {
  readonly worker: WorkerName;
  readonly ask: (id: number, uid: string) => void;
}

interface Asked {
  readonly waitsFor: Set<Follower>;
  readonly answers: Map<Follower, PodConnections | null>;
  readonly answered: AbortController;
}

export function createWorkerQuestions(): WorkerQuestions {
  const followers = new Set<Follower>();
  const open = new Map<number, Asked>();
  let lastId = 0;

  function settle(asked: Asked, follower: Follower): void {
    asked.waitsFor.delete(follower);
    if (asked.waitsFor.size === 0) asked.answered.abort();
  }

  return {
    join(worker, ask) {
      const follower: Follower = { worker, ask };
      followers.add(follower);
      return {
        told(id, connections) {
          const asked = open.get(id);
          if (asked?.waitsFor.has(follower) !== true) return;
          asked.answers.set(follower, connections);
          settle(asked, follower);
        },
        leave() {
          followers.delete(follower);
          for (const asked of open.values()) settle(asked, follower);
        },
      };
    },
    async ask(uid) {
      const id = ++lastId;
      const asked: Asked = {
        waitsFor: new Set(followers),
        answers: new Map(),
        answered: new AbortController(),
      };
      open.set(id, asked);
      for (const { ask } of followers) ask(id, uid);
      if (asked.waitsFor.size > 0) await pause(ANSWER_MS, asked.answered.signal);
      open.delete(id);
      const answers = [...asked.answers].map(([{ worker }, connections]) => ({ worker, connections }));
      return { answers, missing: [...asked.waitsFor].map(({ worker }) => worker) };
    },
  };
}
