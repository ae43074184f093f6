import type { PodConnections } from './pod-connections.ts';
import type { WorkerName } from './worker-name.ts';

/** Connections of a pod at all gateway workers of one replica. */
export interface ReplicaConnections extends PodConnections {
  readonly replica: string;
  readonly workers: readonly (WorkerName & {
    readonly sessionsNow: number;
    readonly requestsNow: number;
  })[];
}

export interface PodConnectionsReport {
  readonly replicas: readonly ReplicaConnections[];
  /** Workers and replicas that did not answer in time: `worker 1 of replica a`, `replica b`. */
  readonly missing: readonly string[];
}

/** Asks every gateway worker of every live replica what it has seen of a pod. */
export interface PodConnectionsReader {
  /** Resolves within about two seconds, with the answers received by then. `uid`: of this pod, not of another with its name. */
  read(uid: string): Promise<PodConnectionsReport>;
}
