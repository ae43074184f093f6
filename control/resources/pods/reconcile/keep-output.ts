import { errorText } from '../../../../core/errors.ts';
import type { LogStore } from '../../../../core/log-store.ts';
import type { Logger } from '../../../../core/logger.ts';
import type { WorkloadLogs } from '../../../../core/workload-logs.ts';
import type { Workloads } from '../../../../core/workloads.ts';
import type { WorkloadRef } from '../../../../core/workload-ref.ts';
import type { OutputRounds } from './output-rounds.ts';
import { RunOutput } from '../run-output.ts';

const KEPT_BYTES = 10 * 1024 * 1024;

export interface KeepOutputParts {
  readonly logs: LogStore;
  readonly orchestrator: Pick<WorkloadLogs, 'logs' | 'printedSince'>;
  readonly log: Logger;
  /** Of a run whose output is being kept while it runs; false for any other. */
  readonly keepWatched?: OutputRounds['keepNow'];
}

/**
 * Keeps what a run printed before its workload is removed, so that it stays readable after STOPPED. Output that cannot
 * be read or written keeps no pod from stopping: on a full disk, stopping is the way to room. Never throws.
 */
export async function keepOutput(
  { logs, orchestrator, log, keepWatched }: KeepOutputParts,
  workload: WorkloadRef & { readonly run: number },
  signal: AbortSignal,
): Promise<void> {
  const { tenant, podId, uid, run } = workload;
  try {
    if ((await keepWatched?.(workload, signal)) === true) return;
    const { printedSince } = orchestrator;
    if (printedSince !== undefined) {
      await new RunOutput({ logs, printedSince }, workload).catchUp(signal);
      return;
    }
    const output = await orchestrator.logs(workload, { tailBytes: KEPT_BYTES }, signal);
    if (output !== '') await logs.saveOutput(uid, run, output);
  } catch (error) {
    log.warn({ tenant, podId, uid, run, error: errorText(error) }, 'failed to store the output of a pod');
  }
}

/**
 * The same for everything that runs, before the whole program ends and its pods with it: as far as it goes until the
 * signal aborts, which it then throws. One after the other, since each may be ten megabytes.
 */
export async function keepAllOutput(
  parts: KeepOutputParts & { readonly orchestrator: Pick<Workloads, 'list'> },
  signal: AbortSignal,
): Promise<void> {
  const workloads = await parts.orchestrator.list(signal);
  for (const workload of workloads) {
    signal.throwIfAborted();
    await keepOutput(parts, workload, signal);
  }
}
