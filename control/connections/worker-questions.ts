import { pause } from '../../core/abort.ts';
import type { PodConnections } from '../../core/pod-connections.ts';

/** A worker answers from memory: one that does not by then is busy with something else, or gone. */
const ANSWER_MS = 1_000;

export interface WorkerAnswers {
  /** Null = it has seen nothing of the pod. */
  readonly answers: readonly { readonly worker: number; readonly connections: PodConnections | null }[];
  readonly missing: readonly number[];
}

/** Questions about pods to the gateway workers of this replica. */
export interface WorkerQuestions {
  /** A worker follows the feed. Answers how to say that it does no more. */
  join(worker: number, ask: (id: number, uid: string) => void): () => void;
  told(worker: number, id: number, connections: PodConnections | null): void;
  ask(uid: string): Promise<WorkerAnswers>;
}

interface Asked {
  readonly waitsFor: Set<number>;
  readonly answers: Map<number, PodConnections | null>;
  readonly answered: AbortController;
}

export function createWorkerQuestions(): WorkerQuestions {
  const workers = new Map<number, (id: number, uid: string) => void>();
  const open = new Map<number, Asked>();
  let lastId = 0;

  function settle(asked: Asked, worker: number): void {
    asked.waitsFor.delete(worker);
    if (asked.waitsFor.size === 0) asked.answered.abort();
  }

  return {
    join(worker, ask) {
      workers.set(worker, ask);
      return () => {
        // A new one of the same number may be here already.
        if (workers.get(worker) !== ask) return;
        workers.delete(worker);
        for (const asked of open.values()) settle(asked, worker);
      };
    },
    told(worker, id, connections) {
      const asked = open.get(id);
      if (asked?.waitsFor.has(worker) !== true) return;
      asked.answers.set(worker, connections);
      settle(asked, worker);
    },
    async ask(uid) {
      const id = ++lastId;
      const asked: Asked = {
        waitsFor: new Set(workers.keys()),
        answers: new Map(),
        answered: new AbortController(),
      };
      open.set(id, asked);
      for (const ask of workers.values()) ask(id, uid);
      if (asked.waitsFor.size > 0) await pause(ANSWER_MS, asked.answered.signal);
      open.delete(id);
      const answers = [...asked.answers].map(([worker, connections]) => ({ worker, connections }));
      return { answers, missing: [...asked.waitsFor] };
    },
  };
}
