import type { Credentials, PodSpec, WorkloadIdentity } from './pod.ts';

/** Which pod's workload. The name of a workload is made from site, tenant and pod id; the uid tells whose it is. */
export interface WorkloadRef {
  readonly tenant: string;
  readonly podId: string;
  readonly uid: string;
}

/** Everything needed to make one workload. */
export interface WorkloadSpec extends WorkloadRef, WorkloadIdentity {
  readonly spec: PodSpec;
  readonly credentials: Credentials | null;
  /** Outside host name of each routed stanza and the port clients dial: Neo4j advertises them. */
  readonly hosts: Readonly<Record<string, string>>;
  readonly publicHttpsPort: number;
  /** Written to the workload, so that a store can be judged, and rebuilt, from what runs. */
  readonly annotations: { readonly storeId: string; readonly commit: number; readonly record: string };
}

export type EnsureResult =
  /** The workload exists with this identity and is not being deleted. */
  | { readonly kind: 'ensured' }
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
  /** Being deleted. */
  | 'stopping';
export const WORKLOAD_PHASES: readonly WorkloadPhase[] = [
  'pending',
  'starting',
  'ready',
  'crashing',
  'failed',
  'completed',
  'stopping',
];

/** Where a stanza's bytes go. */
export interface StanzaAddress {
  readonly address: string;
  readonly port: number;
}

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
  /** By stanza name; what is not there cannot be dialled. */
  readonly addresses: Readonly<Record<string, StanzaAddress>>;
  readonly storeId: string;
  readonly commit: number;
}

export type Observation =
  | WorkloadObservation
  /** A fresh and complete look found no workload, service, secret or policy of this uid. */
  | { readonly kind: 'absent'; /** The uid's own volume still exists. */ readonly data: boolean }
  /** The orchestrator did not answer: no evidence of anything. */
  | { readonly kind: 'unknown'; readonly reason: string };

export type WorkloadEvent =
  /** Something about this pod's workload changed: look at it. */
  { readonly kind: 'changed'; readonly tenant: string; readonly podId: string };

export interface RemoveOptions {
  /** 'delete' also removes the uid's own volume, once nothing of it runs. */
  readonly data: 'keep' | 'delete';
  /** Only workloads of this run and earlier ones: a removal that comes late never hits the next start. */
  readonly run: number;
}

/**
 * What runs workloads.
 *
 * Laws: `ensure` and `remove` are idempotent, may be repeated and interrupted at any point, and return when the work is
 * accepted, not when it is finished; `observe` tells how far it is. `ensure` never touches a workload of another
 * identity but to start its removal, and "exists already" is success only when uid, generation and run match and it is
 * not being deleted. `observe` tells of `ref.uid` alone, fresh. `remove` touches only what carries `ref.uid` and a run up to `run`; its data goes only with `data: 'delete'` and is never
 * given to another uid. `list` is complete or throws. `watch` ends only with its signal, and after
 * any loss of events yields a 'changed' for everything. `run` does the background work until the signal aborts.
 * All throw PodgateError 'orchestrator.unavailable' within their deadline.
 */
export interface Orchestrator {
  ensure(workload: WorkloadSpec, signal: AbortSignal): Promise<EnsureResult>;
  remove(ref: WorkloadRef, options: RemoveOptions, signal: AbortSignal): Promise<void>;
  observe(ref: WorkloadRef, signal: AbortSignal): Promise<Observation>;
  list(signal: AbortSignal): Promise<readonly WorkloadObservation[]>;
  watch(signal: AbortSignal): AsyncIterable<WorkloadEvent>;
  /** The last `tailBytes` of what the workload printed; '' when there is none. */
  logs(ref: WorkloadRef, options: { readonly tailBytes: number }, signal: AbortSignal): Promise<string>;
  run(signal: AbortSignal): Promise<void>;
}
