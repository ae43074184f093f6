import type { LogStore } from '../../core/log-store.ts';
import type { Orchestrator, WorkloadRef } from '../../core/orchestrator.ts';

const KEPT_BYTES = 10 * 1024 * 1024;

export interface KeepOutputParts {
  readonly logs: LogStore;
  readonly orchestrator: Pick<Orchestrator, 'logs'>;
}

/**
 * Keeps what a run printed before its workload is removed, so that it stays readable after STOPPED. Output that cannot
 * be read keeps no pod from stopping.
 */
export async function keepOutput(
  { logs, orchestrator }: KeepOutputParts,
  workload: WorkloadRef & { readonly run: number },
  signal: AbortSignal,
): Promise<void> {
  const output = await orchestrator.logs(workload, { tailBytes: KEPT_BYTES }, signal).catch(() => '');
  if (output !== '') await logs.saveOutput(workload.uid, workload.run, output);
}

/** The same for everything that runs: before the whole program ends and its pods with it. */
export async function keepAllOutput(
  parts: KeepOutputParts & { readonly orchestrator: Pick<Orchestrator, 'list'> },
  signal: AbortSignal,
): Promise<void> {
  const workloads = await parts.orchestrator.list(signal);
  await Promise.all(workloads.map((workload) => keepOutput(parts, workload, signal)));
}
