import { PodgateError } from '../../../../core/errors.ts';
import { podKey } from '../../../../core/ids.ts';
import type { PodRecord } from '../../../../core/pod.ts';
import type { PodTraffic } from '../../../../core/pod-traffic.ts';
import { MEASURED_MAX, type MeasuredWorkload, type MetricsReading } from '../../../../core/workload-metrics.ts';
import type { WorkloadRef } from '../../../../core/workload-ref.ts';
import type { Caller } from '../../../auth/authenticator.ts';
import { type RateLimit, RatePerKey } from '../../../http/limits/rate-per-address.ts';
import { hasLevel } from '../../../objects/access.ts';
import { readPod } from '../pod-objects.ts';
import type { PodParts } from '../pod-parts.ts';

/** Records read at a time: one has up to some 350 kB, and only its names are kept. */
const PAGE = 20;
const DEADLINE_MS = 10_000;
/** Of one user: each counts as a question to every worker of every replica. The console asks 12 times a minute. */
const TRAFFIC_RATE: RateLimit = { perMinute: 120, burst: 30 };
const NOT_MEASURED: MetricsReading = {
  kind: 'unavailable',
  reason: 'The orchestrator of this installation does not tell what pods use.',
};

export interface PodMetrics {
  readonly podId: string;
  /** Null: it does not run, or is not measured yet. */
  readonly measured: MeasuredWorkload | null;
  /** Null: not all workers have answered, or the caller asks too often. */
  readonly traffic: PodTraffic | null;
}

export interface PodMetricsReport {
  readonly pods: readonly PodMetrics[];
  /** Why nothing is measured here; null: it is. */
  readonly note: string | null;
}

export function createTrafficRate(): RatePerKey {
  return new RatePerKey(TRAFFIC_RATE);
}

/** Of one pod. READ. */
export async function readMetrics(
  parts: PodParts,
  trafficRate: RatePerKey,
  caller: Caller,
  podId: string,
  signal: AbortSignal,
): Promise<PodMetricsReport> {
  const { value } = await readPod(parts, caller, podId, 'READ', 'Reading metrics');
  return await measure(parts, [nameOf(value)], { mayAskTraffic: mayAsk(parts, trafficRate, caller), signal });
}

/** Of those among them on which the caller has READ. Throws 'api.invalid' for more than MEASURED_MAX. */
export async function readMetricsOf(
  parts: PodParts,
  trafficRate: RatePerKey,
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
  return await measure(parts, refs, { mayAskTraffic: mayAsk(parts, trafficRate, caller), signal });
}

function mayAsk({ clock }: PodParts, rate: RatePerKey, { tenant, username }: Caller): boolean {
  return rate.take(`${tenant}/${username}`, clock.monotonicMs());
}

function nameOf({ tenant, podId, uid }: PodRecord): WorkloadRef {
  return { tenant, podId, uid };
}

async function measure(
  { orchestrator, traffic }: PodParts,
  refs: readonly WorkloadRef[],
  { mayAskTraffic, signal }: { readonly mayAskTraffic: boolean; readonly signal: AbortSignal },
): Promise<PodMetricsReport> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)]);
  const [reading = NOT_MEASURED, counted] = await Promise.all([
    orchestrator.metrics?.read(refs, deadline),
    traffic.read(mayAskTraffic ? refs.map(({ uid }) => uid) : []),
  ]);
  const of = (uid: string): MeasuredWorkload | null =>
    reading.kind === 'measured' ? (reading.workloads.get(uid) ?? null) : null;
  return {
    pods: refs.map(({ podId, uid }) => ({ podId, measured: of(uid), traffic: counted.traffic.get(uid) ?? null })),
    note: reading.kind === 'unavailable' ? reading.reason : null,
  };
}
