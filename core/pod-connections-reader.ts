import type { PodConnections } from './pod-connections.ts';
import type { WorkerName } from './worker-name.ts';

/** What one replica's gateway workers have seen of a pod, together. */
export interface ReplicaConnections extends PodConnections {
  readonly replica: string;
  readonly workers: readonly (WorkerName & {
    readonly sessionsNow: number;
    readonly requestsNow: number;
  })[];
}

export interface PodConnectionsReport {
  readonly replicas: readonly ReplicaConnections[];
  /** Who did not answer in time: `worker 1 of replica a`, `replica b`. */
  readonly missing: readonly string[];
}

/** Asks every gateway worker of every live replica what it has seen of a pod. */
export interface PodConnectionsReader {
  /** Answers within two seconds or so, with what has been told by then. `uid`: of the pod, never of another of its name. */
  read(uid: string): Promise<PodConnectionsReport>;
}
