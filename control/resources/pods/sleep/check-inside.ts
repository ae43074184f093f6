import { untilAborted } from '../../../../core/abort.ts';
import { errorText } from '../../../../core/errors.ts';
import type { Term } from '../../../../core/leadership.ts';
import type { Logger } from '../../../../core/logger.ts';
import type { Orchestrator } from '../../../../core/orchestrator.ts';
import type { PodRecord } from '../../../../core/pod.ts';

const DEADLINE_MS = 5_000;

export interface CheckInsideOptions {
  readonly orchestrator: Pick<Orchestrator, 'useInside'>;
  readonly term: Term;
  readonly log: Logger;
  /** Default: 5 s. */
  readonly checkInsideMs?: number;
}

/**
 * What uses a pod that no gateway sees, such as a vacuum of its database, or why that could not be checked, which counts as
 * use. Empty: nothing. Never throws.
 */
export async function checkInside(
  { orchestrator, term, log, checkInsideMs = DEADLINE_MS }: CheckInsideOptions,
  { tenant, podId, uid, spec, applied }: PodRecord,
): Promise<readonly string[]> {
  if (orchestrator.useInside === undefined) return [];
  const { template } = applied?.spec ?? spec;
  const deadline = AbortSignal.timeout(checkInsideMs);
  const signal = AbortSignal.any([term.signal, deadline]);
  const late = untilAborted(signal).then(() => Promise.reject(new Error('it took too long')));
  try {
    const use = await Promise.race([orchestrator.useInside({ tenant, podId, uid, template }, signal), late]);
    if (use.kind === 'idle') return [];
    return use.kind === 'in-use' ? use.because : [use.why];
  } catch (error) {
    log.warn({ podId, uid, error: errorText(error) }, 'a pod stays awake: the check inside it failed');
    return [deadline.aborted ? 'the check inside the pod did not end in time' : 'the check inside the pod failed'];
  }
}
