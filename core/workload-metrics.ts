import type { WorkloadRef } from './workload-ref.ts';

/** What one workload uses. A figure that the system does not tell is null. */
export interface MeasuredWorkload {
  /** Memory that the kernel cannot take back without the workload's help: without files cached in memory. */
  readonly memoryBytes: number | null;
  /** Thousandths of a CPU, on average over the window. */
  readonly cpuMillis: number | null;
  /** Over how long CPU was measured; 0: it was not. */
  readonly windowMs: number;
  /** The end of the window; wall clock ms. */
  readonly measuredAtMs: number;
}

export type MetricsReading =
  /** Those that run and were measured, by uid. */
  | { readonly kind: 'measured'; readonly workloads: ReadonlyMap<string, MeasuredWorkload> }
  /** Nothing is measured here. `reason`: a sentence for users on why, and what an operator can do. */
  | { readonly kind: 'unavailable'; readonly reason: string };

/** Workloads of one call. */
export const MEASURED_MAX = 100;

/**
 * Memory and CPU of workloads. Nothing is measured unless somebody asks: that costs nothing at rest. A call takes a second at
 * most beyond what the orchestrator needs to answer, and never throws but for more than MEASURED_MAX workloads.
 */
export interface WorkloadMetrics {
  read(refs: readonly WorkloadRef[], signal: AbortSignal): Promise<MetricsReading>;
}
