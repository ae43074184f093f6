import type { FilesRef } from './volume.ts';
import type { WorkloadRef } from './workload-ref.ts';

export interface DataSnapshotRequest {
  readonly pod: WorkloadRef;
  /** Of the pod: one that `Orchestrator.clones` names. */
  readonly template: string;
  /** Of its credentials. */
  readonly username: string;
  readonly to: FilesRef;
  readonly sizeLimitMiB: number;
}

/**
 * Consistent copies of the data of pods.
 *
 * Laws: replaces everything in `to` by the copy, which appears as a whole; may be interrupted and repeated. A start or the
 * deletion of a pod that does not run is never delayed: it ends the copy. Throws PodgateError with sentences for users:
 * 'api.…' where trying again does not help, else 'orchestrator.unavailable'; AbortError once the signal has aborted.
 */
export interface DataSnapshots {
  take(request: DataSnapshotRequest, signal: AbortSignal): Promise<void>;
}
