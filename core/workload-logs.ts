import type { WorkloadRef } from './workload-ref.ts';

export interface LogsOptions {
  readonly tailBytes: number;
  /** Of the program before its last restart within this run, where the orchestrator tells them apart; else ''. */
  readonly isPrevious?: boolean;
}

export interface PrintedOptions {
  readonly mark: string;
  /** At most so much at a time, with what the orchestrator needs for the marks. */
  readonly mostBytes: number;
}

export interface PrintedPart {
  readonly text: string;
  /** What the text goes up to. */
  readonly mark: string;
  /** False: there is more already. */
  readonly isAll: boolean;
  /** Where the program was restarted since the mark: how much of the text (UTF-16) was printed before. */
  readonly previousLength?: number;
}

/** What workloads print. All throw PodgateError 'orchestrator.unavailable' within their deadline. */
export interface WorkloadLogs {
  /** The last `tailBytes` of what the workload printed; '' when there is none. */
  logs(ref: WorkloadRef, options: LogsOptions, signal: AbortSignal): Promise<string>;
  /**
   * What the workload printed after a mark that an earlier call returned; after '' all that is still there. Only of an
   * orchestrator that drops printed text while the workload runs: what it still has is then to be kept in time.
   */
  readonly printedSince?: (ref: WorkloadRef, options: PrintedOptions, signal: AbortSignal) => Promise<PrintedPart>;
  /** The same as it is printed, also across what the orchestrator drops; ends with the program, and may end or throw at any time. */
  readonly followPrinted?: (ref: WorkloadRef, mark: string, signal: AbortSignal) => AsyncIterable<PrintedPart>;
}
