import type { PodConnectionsReport } from '../../../../core/pod-connections-reader.ts';
import { isInUse, mergePodUse, type PodUse } from '../../../../core/pod-use.ts';

/** What all gateway workers together say about the use of a pod. */
export type JudgedUse =
  /** Not all have told: it counts as in use. `why` is a sentence for its user. */
  { readonly kind: 'unknown'; readonly why: string } | ({ readonly kind: 'in-use' | 'idle' } & PodUse);

export function judgeUse({ replicas, missing }: PodConnectionsReport): JudgedUse {
  const [first] = missing;
  if (first !== undefined) return { kind: 'unknown', why: `${first} did not answer` };
  if (replicas.every(({ workers }) => workers.length === 0)) return { kind: 'unknown', why: 'there is no gateway' };
  const use = mergePodUse(replicas.map((replica) => replica.use));
  if (use === undefined) return { kind: 'unknown', why: 'a gateway worker does not know the pod yet' };
  return { kind: isInUse(use) ? 'in-use' : 'idle', ...use };
}

/** Who was asked: when one of them is missing the next time, what it knew is lost, and counts as use. */
export function workersOf({ replicas }: PodConnectionsReport): ReadonlySet<string> {
  return new Set(
    replicas.flatMap(({ replica, workers }) =>
      workers.map((worker) => JSON.stringify([replica, worker.gateway, worker.worker])),
    ),
  );
}

/** A worker that is connected no longer: its use counts as news, since nobody knows it. */
export function hasLost(before: ReadonlySet<string>, now: ReadonlySet<string>): boolean {
  return [...before].some((worker) => !now.has(worker));
}
