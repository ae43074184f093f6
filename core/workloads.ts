import type { Credentials, PodSpec, WorkloadIdentity } from './pod.ts';
import type { DataOrigin } from './data-origin.ts';
import type { StanzaAddress } from './pod-network.ts';
import type { MountedFiles } from './volume.ts';
import type { WorkloadRef } from './workload-ref.ts';

/** Everything needed to make one workload. */
export interface WorkloadSpec extends WorkloadRef, WorkloadIdentity {
  readonly spec: PodSpec;
  /** Who created the pod: its connections count for this user of the tenant. */
  readonly createdBy?: string;
  readonly credentials: Credentials | null;
  /** Named volumes, in the order of their paths in the spec. Absent: it mounts none. */
  readonly mounts?: readonly MountedFiles[];
  /** Absent: its data begins as that of its template. */
  readonly origin?: DataOrigin;
  /** Outside host name of each routed stanza and the port clients dial: Neo4j advertises them. */
  readonly hosts: Readonly<Record<string, string>>;
  readonly publicHttpsPort: number;
  /** Written to the workload, so that a store can be judged, and rebuilt, from what runs. */
  readonly annotations: WorkloadAnnotations;
}

export interface WorkloadAnnotations {
  readonly storeId: string;
  /** Commits of the store when it was made. */
  readonly commit: number;
  /** The record, as JSON. */
  readonly record: string;
  /** The sealed value of the pod's CredentialRecord, never what is in it; null when it has none. */
  readonly credential: string | null;
}

/** What `npx podgate recover` rebuilds a store from: the annotations of one workload. */
export interface AnnotatedWorkload extends WorkloadRef, WorkloadAnnotations {}

export type EnsureResult =
  /** The workload exists with this identity and is not being deleted. */
  | {
      readonly kind: 'ensured';
      /** A sentence for the user on what the workload does not get here. */
      readonly note?: string;
    }
  /** Another workload holds the name, or is on its way out (its removal has been started): try again in a moment. */
  | { readonly kind: 'wait'; readonly reason: string }
  /** `reason` is a sentence for the user. Not retryable: trying again cannot help. */
  | { readonly kind: 'failed'; readonly reason: string; readonly retryable: boolean };

export type WorkloadPhase =
  /** Accepted, nothing runs yet. */
  | 'pending'
  /** Runs, not ready (yet, or again). */
  | 'starting'
  | 'ready'
  /** Fails again and again; the orchestrator goes on trying. */
  | 'crashing'
  /** Ended in failure for good. */
  | 'failed'
  | 'completed'
  /** Ended for good by the cluster for a reason of its own, such as a node short of memory: to be started again. */
  | 'evicted'
  /** The same, because it used more than it may. */
  | 'exceeded'
  /** Being deleted. */
  | 'stopping'
  /** Being deleted, long overdue, and no data is at stake if it still runs somewhere: `remove` stops waiting for it. */
  | 'lost';

export interface WorkloadObservation extends WorkloadIdentity {
  readonly kind: 'workload';
  readonly tenant: string;
  readonly podId: string;
  readonly phase: WorkloadPhase;
  /** A sentence on why it is in this phase, or ''. */
  readonly message: string;
  /** Age on a clock that does not jump (that of the kernel or of the API server). */
  readonly ageMs: number;
  /** ISO 8601, for display. */
  readonly startTime: string | null;
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly restarts: number;
  /** Where it runs, where there are several places: what is bounded for each of them. */
  readonly node?: string;
  /** By stanza name; what is not there cannot be dialled. Of one that is 'stopping' or 'lost': while it still takes connections. */
  readonly addresses: Readonly<Record<string, StanzaAddress>>;
  readonly storeId: string;
  readonly commit: number;
}

export type Observation =
  | WorkloadObservation
  /** A fresh and complete look found no workload, service, secret or policy of this uid. */
  | { readonly kind: 'absent'; /** The uid's own volume still exists. */ readonly data: boolean }
  /** Nothing of it runs or can come to run, but a service, secret or policy is left: half made or half removed. */
  | { readonly kind: 'remains' }
  /** The orchestrator did not answer: no evidence of anything. */
  | { readonly kind: 'unknown'; readonly reason: string };

export type WorkloadEvent =
  /** Something about this pod's workload has changed: observe it. */
  { readonly kind: 'changed'; readonly tenant: string; readonly podId: string };

export interface RemoveOptions {
  /** 'delete' also removes the uid's own volume, once nothing of it runs. */
  readonly data: 'keep' | 'delete';
  /** Only workloads of this run and earlier ones: a removal that comes late never hits the next start. */
  readonly run: number;
}

/**
 * What runs: made, seen and removed.
 *
 * Laws: `ensure` and `remove` are idempotent, may be repeated and interrupted at any point, and return when the work is
 * accepted, not when it is finished; `observe` reports how far it is. `ensure` never touches a workload of another
 * identity except to start its removal, and never a newer one (a later run of the uid, or made at a later commit of
 * the same store): the caller is late, and waits. "Exists already" is success only when uid, generation
 * and run match and it is not being deleted. `observe` reports on `ref.uid` alone, fresh. `remove` touches only what
 * carries `ref.uid` and a run up to `run`; its data goes only with `data: 'delete'` and is never given to another uid.
 * `list` and `records` are complete or throw. `watch` ends only with its signal, and after any loss of events yields a
 * 'changed' for everything. `glimpse` returns at once from memory what the watch last reported, 'unknown' while that
 * cannot be relied on: it is for routes, and never the reason for a removal. All but `glimpse` throw PodgateError
 * 'orchestrator.unavailable' within their deadline.
 */
export interface Workloads {
  ensure(workload: WorkloadSpec, signal: AbortSignal): Promise<EnsureResult>;
  remove(ref: WorkloadRef, options: RemoveOptions, signal: AbortSignal): Promise<void>;
  observe(ref: WorkloadRef, signal: AbortSignal): Promise<Observation>;
  glimpse(ref: WorkloadRef): Observation;
  list(signal: AbortSignal): Promise<readonly WorkloadObservation[]>;
  records(signal: AbortSignal): Promise<readonly AnnotatedWorkload[]>;
  watch(signal: AbortSignal): AsyncIterable<WorkloadEvent>;
}
