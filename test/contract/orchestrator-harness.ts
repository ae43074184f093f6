import { randomUUID } from 'node:crypto';
import type { Orchestrator } from '../../core/orchestrator.ts';
import type { StanzaAddress } from '../../core/pod-network.ts';
import type { WorkloadRef } from '../../core/workload-ref.ts';
import type { Observation, WorkloadSpec } from '../../core/workloads.ts';
import type { PodSpec } from '../../core/pod.ts';
import { podSpec } from '../support/pod-records.ts';
import { until } from '../support/until.ts';

/** What a program of a test pod does. */
export type Behaviour =
  /** Listens on the port of every stanza; takes that long to end when it is asked to. */
  | { readonly kind: 'serves'; readonly endsAfterMs?: number }
  /** Prints a line and ends with this code. */
  | { readonly kind: 'exits'; readonly code: number; readonly line: string }
  /** Listens, and adds a line to a file of its volume at each start, printing the whole file. */
  | { readonly kind: 'counts-starts' };

/** An orchestrator that runs, as the suite uses it. */
export interface OrchestratorHarness {
  readonly orchestrator: Orchestrator;
  /** The part of a spec that makes a pod behave so here. */
  readonly specOf: (behaviour: Behaviour) => Partial<PodSpec>;
  /** What can never run here. */
  readonly impossible: Partial<PodSpec>;
  /** One that nobody runs, and that can reach nothing. */
  readonly idle: Orchestrator;
  /** Connects as a gateway does, where not every process of this machine may. */
  readonly dial?: (address: StanzaAddress) => Promise<void>;
  readonly close: () => Promise<void>;
}

export type OpenOrchestratorHarness = () => Promise<OrchestratorHarness>;

/** Beyond the 30 s that a real node gives a program which is told to end before it has learnt to listen for it. */
export const OBSERVED_MS = 50_000;

export const never = (): AbortSignal => new AbortController().signal;

/** A workload of a pod of its own, generation 1, run 1, unless changed. */
export function workloadSpec(spec: Partial<PodSpec>, change: Partial<WorkloadSpec> = {}): WorkloadSpec {
  return {
    tenant: 'dev',
    podId: `pod${randomUUID().slice(0, 8)}`,
    uid: randomUUID(),
    generation: 1,
    run: 1,
    spec: podSpec(spec),
    credentials: null,
    hosts: {},
    publicHttpsPort: 8443,
    annotations: { storeId: 'store-1', commit: 7, record: '{}', credential: null },
    ...change,
  };
}

/** Asks again while the orchestrator says 'wait'. */
export async function ensured(orchestrator: Orchestrator, workload: WorkloadSpec): Promise<void> {
  await until(
    'the workload is accepted',
    async () => {
      const result = await orchestrator.ensure(workload, never());
      if (result.kind === 'failed') throw new Error(result.reason);
      return result.kind === 'ensured';
    },
    { timeoutMs: OBSERVED_MS },
  );
}

/** Polls until an observation is as wanted, and answers it. */
export function observed<T extends Observation>(
  orchestrator: Orchestrator,
  ref: WorkloadRef,
  what: string,
  isWanted: (observation: Observation) => observation is T,
  timeoutMs = OBSERVED_MS,
): Promise<T> {
  let last: Observation | null = null;
  return until(
    `the workload is ${what}`,
    async () => {
      last = await orchestrator.observe(ref, never());
      return isWanted(last) ? last : null;
    },
    { timeoutMs, everyMs: 10 },
  ).catch((error: unknown) => {
    throw new Error(`${String(error)}; last seen: ${JSON.stringify(last)}`);
  });
}

type Workload = Extract<Observation, { kind: 'workload' }>;
type Absent = Extract<Observation, { kind: 'absent' }>;

export const isPhase =
  (phase: Workload['phase']) =>
  (observation: Observation): observation is Workload =>
    observation.kind === 'workload' && observation.phase === phase;

export const isAbsent = (observation: Observation): observation is Absent => observation.kind === 'absent';

export function becomes(orchestrator: Orchestrator, ref: WorkloadRef, phase: Workload['phase'], timeoutMs?: number) {
  return observed(orchestrator, ref, phase, isPhase(phase), timeoutMs);
}

export function becomesAbsent(orchestrator: Orchestrator, ref: WorkloadRef): Promise<Absent> {
  return observed(orchestrator, ref, 'absent', isAbsent);
}
