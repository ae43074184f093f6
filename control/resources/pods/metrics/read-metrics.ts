import { PodgateError } from '../../../../core/errors.ts';
import { podKey } from '../../../../core/ids.ts';
import type { PodRecord } from '../../../../core/pod.ts';
import { MEASURED_MAX, type MeasuredWorkload, type MetricsReading } from '../../../../core/workload-metrics.ts';
import type { WorkloadRef } from '../../../../core/workload-ref.ts';
import type { Caller } from '../../../auth/authenticator.ts';
import { hasLevel } from '../../../objects/access.ts';
import { readPod } from '../pod-objects.ts';
import type { PodParts } from '../pod-parts.ts';

/** Records read at a time: one has up to some 350 kB, and only its names are kept. */
const PAGE = 20;
const DEADLINE_MS = 10_000;
const NOT_MEASURED: MetricsReading = {
  kind: 'unavailable',
  reason: 'The orchestrator of this installation does not tell what pods use.',
};

export interface PodMetrics {
  readonly podId: string;
  /** Null: it does not run, or is not measured yet. */
  readonly measured: MeasuredWorkload | null;
}

export interface PodMetricsReport {
  readonly pods: readonly PodMetrics[];
  /** Why nothing is measured here; null: it is. */
  readonly note: string | null;
}

/** Of one pod. READ. */
export async function readMetrics(
  parts: PodParts,
  caller: Caller,
  podId: string,
  signal: AbortSignal,
): Promise<PodMetricsReport> {
  const { value } = await readPod(parts, caller, podId, 'READ', 'Reading metrics');
  return await measure(parts, [nameOf(value)], signal);
}

/** Of those among them on which the caller has READ. Throws 'api.invalid' for more than MEASURED_MAX. */
export async function readMetricsOf(
  parts: PodParts,
  caller: Caller,
  podIds: readonly string[],
  signal: AbortSignal,
): Promise<PodMetricsReport> {
  if (podIds.length > MEASURED_MAX)
    throw new PodgateError('api.invalid', {
      publicMessages: [`pod_ids: at most ${MEASURED_MAX}; you sent ${podIds.length}`],
    });
  const refs: WorkloadRef[] = [];
  for (let first = 0; first < podIds.length; first += PAGE) {
    const page = podIds.slice(first, first + PAGE);
    const found = await Promise.all(page.map((podId) => parts.store.get('pod', podKey(caller.tenant, podId))));
    for (const stored of found) {
      if (stored === null || stored.value.deleting !== null) continue;
      if (hasLevel(caller, stored.value, 'READ')) refs.push(nameOf(stored.value));
    }
  }
  return await measure(parts, refs, signal);
}

function nameOf({ tenant, podId, uid }: PodRecord): WorkloadRef {
  return { tenant, podId, uid };
}

async function measure(
  { orchestrator }: PodParts,
  refs: readonly WorkloadRef[],
  signal: AbortSignal,
): Promise<PodMetricsReport> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]);
  const reading = (await orchestrator.metrics?.read(refs, deadline)) ?? NOT_MEASURED;
  const of = (uid: string): MeasuredWorkload | null =>
    reading.kind === 'measured' ? (reading.workloads.get(uid) ?? null) : null;
  return {
    pods: refs.map(({ podId, uid }) => ({ podId, measured: of(uid) })),
    note: reading.kind === 'unavailable' ? reading.reason : null,
  };
}
