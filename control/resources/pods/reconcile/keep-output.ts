import { errorText } from '../../../../core/errors.ts';
import type { LogStore } from '../../../../core/log-store.ts';
import type { Logger } from '../../../../core/logger.ts';
import type { Orchestrator, WorkloadRef } from '../../../../core/orchestrator.ts';

const KEPT_BYTES = 10 * 1024 * 1024;

export interface KeepOutputParts {
  readonly logs: LogStore;
  readonly orchestrator: Pick<Orchestrator, 'logs' | 'printedSince'>;
  readonly log: Logger;
}

/**
 * Keeps what a run printed before its workload is removed, so that it stays readable after STOPPED. Output that cannot
 * be read or written keeps no pod from stopping: on a full disk, stopping is the way to room. Never throws.
 */
export async function keepOutput(
  { logs, orchestrator, log }: KeepOutputParts,
  workload: WorkloadRef & { readonly run: number },
  signal: AbortSignal,
): Promise<void> {
  const { tenant, podId, uid, run } = workload;
  try {
    if (orchestrator.printedSince !== undefined) {
      await addToKept({ logs, printedSince: orchestrator.printedSince }, workload, signal);
      return;
    }
    const output = await orchestrator.logs(workload, { tailBytes: KEPT_BYTES }, signal);
    if (output !== '') await logs.saveOutput(uid, run, output);
  } catch (error) {
    log.warn({ tenant, podId, uid, run, error: errorText(error) }, 'what a pod printed could not be kept');
  }
}

/** A read of the orchestrator, with its times of lines, and how many it takes at most for all that a node has. */
const READ_BYTES = 16 * 1024 * 1024;
const READS_MAX = 3;

/**
 * Adds what a run has printed since it was last kept: no line is missing that the orchestrator still has, none comes twice.
 * Returns the mark of what is kept.
 */
export async function addToKept(
  { logs, printedSince }: { readonly logs: LogStore; readonly printedSince: NonNullable<Orchestrator['printedSince']> },
  workload: WorkloadRef & { readonly run: number },
  signal: AbortSignal,
): Promise<string> {
  const { uid, run } = workload;
  const kept = await logs.outputOfRun(uid, run);
  const texts = [kept?.text ?? ''];
  let mark = kept?.mark ?? '';
  for (let reads = 0; reads < READS_MAX; reads++) {
    const part = await printedSince(workload, { mark, mostBytes: READ_BYTES }, signal);
    texts.push(part.text);
    ({ mark } = part);
    if (part.isAll) break;
  }
  const text = texts.join('');
  if (texts.slice(1).some((each) => each !== '')) await logs.saveOutput(uid, run, text, mark);
  return mark;
}

/**
 * The same for everything that runs, before the whole program ends and its pods with it: as far as it goes until the
 * signal aborts, which it then throws. One after the other, since each may be ten megabytes.
 */
export async function keepAllOutput(
  parts: KeepOutputParts & { readonly orchestrator: Pick<Orchestrator, 'list'> },
  signal: AbortSignal,
): Promise<void> {
  const workloads = await parts.orchestrator.list(signal);
  for (const workload of workloads) {
    signal.throwIfAborted();
    await keepOutput(parts, workload, signal);
  }
}
