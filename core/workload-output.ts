import type { PrintedOptions, PrintedPart } from './workload-logs.ts';
import type { WorkloadRef } from './workload-ref.ts';

/** What workloads print, for those who follow it. */
export interface WorkloadOutput {
  /**
   * What the workload printed after a mark that an earlier call returned; after '' all that is still there, from the oldest
   * on. A mark of what has been dropped meanwhile stands for ''. Nothing, and the same mark, of a workload that is not there.
   * Throws PodgateError 'orchestrator.unavailable' within its deadline.
   */
  after(ref: WorkloadRef, options: PrintedOptions, signal: AbortSignal): Promise<PrintedPart>;
}
