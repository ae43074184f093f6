import { PodgateError } from '../../../core/errors.ts';
import { MEASURED_MAX, type MeasuredWorkload, type MetricsReading } from '../../../core/workload-metrics.ts';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import { isRecord, type JsonRecord, listAt, parseJson, recordAt, textAt, timeAt } from './api/json.ts';
import type { KubeApi } from './api/kube-api.ts';
import { quantityOf } from './api/quantity.ts';
import { LABEL, siteSelector } from './objects.ts';

const NO_API =
  'This cluster has no metrics API (metrics.k8s.io), which tells memory and CPU: an operator can install metrics-server.';
const FORBIDDEN =
  "Podgate's account in the cluster may not read metrics: an operator must allow it (list pods.metrics.k8s.io, docs/operations.md).";
const SILENT = 'The metrics API of the cluster does not answer now.';

export interface PodMetricsParts {
  readonly api: Pick<KubeApi, 'request'>;
  readonly namespace: string;
  readonly site: string;
}

/** From metrics.k8s.io, which metrics-server offers: what kubelets have told it, some 15 s old. One call for all of them. */
export async function readPodMetrics(
  { api, namespace, site }: PodMetricsParts,
  refs: readonly WorkloadRef[],
  signal: AbortSignal,
): Promise<MetricsReading> {
  if (refs.length > MEASURED_MAX) throw new RangeError(`at most ${MEASURED_MAX} workloads are measured in one call`);
  if (refs.length === 0) return { kind: 'measured', workloads: new Map() };
  const path = `/apis/metrics.k8s.io/v1beta1/namespaces/${namespace}/pods`;
  const uids = [...new Set(refs.map(({ uid }) => uid))];
  const query = { labelSelector: `${siteSelector(site)},${LABEL.uid} in (${uids.join(',')})` };
  try {
    const { status, text } = await api.request({ method: 'GET', path, query }, signal);
    const body = parseJson(text);
    if (status === 403) return { kind: 'unavailable', reason: FORBIDDEN };
    if (status === 404) return { kind: 'unavailable', reason: NO_API };
    if (status !== 200 || !isRecord(body)) return { kind: 'unavailable', reason: SILENT };
    const wanted = new Set(uids);
    const found = listAt(body, 'items').map(parsePodMetrics);
    const ours = found.filter((each) => each !== null).filter(([uid]) => wanted.has(uid));
    return { kind: 'measured', workloads: new Map(ours) };
  } catch (error) {
    if (error instanceof PodgateError) return { kind: 'unavailable', reason: SILENT };
    throw error;
  }
}

/** A PodMetrics object, with the uid of the workload that its label names. Null when it is no such thing. Pure. */
export function parsePodMetrics(object: JsonRecord): readonly [string, MeasuredWorkload] | null {
  const uid = textAt(recordAt(recordAt(object, 'metadata'), 'labels'), LABEL.uid);
  const measuredAtMs = timeAt(object, 'timestamp');
  if (uid === '' || measuredAtMs === null) return null;
  const usages = listAt(object, 'containers').map((container) => recordAt(container, 'usage'));
  const memoryBytes = sumOf(usages.map((usage) => quantityOf(textAt(usage, 'memory'))));
  const cpu = sumOf(usages.map((usage) => quantityOf(textAt(usage, 'cpu'))));
  return [
    uid,
    {
      memoryBytes: memoryBytes === null ? null : Math.round(memoryBytes),
      cpuMillis: cpu === null ? null : Math.round(1_000 * cpu),
      windowMs: goDurationMs(textAt(object, 'window')),
      measuredAtMs,
    },
  ];
}

function sumOf(values: readonly (number | null)[]): number | null {
  if (values.length === 0) return null;
  return values.reduce((sum, value) => (sum === null || value === null ? null : sum + value), 0);
}

const UNIT_MS: Readonly<Record<string, number>> = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** "1m2.5s", as Go writes durations; 0 for anything else. */
function goDurationMs(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|h|m|s)/g)];
  if (parts.map(([part]) => part).join('') !== text) return 0;
  return Math.round(parts.reduce((sum, [, value, unit = '']) => sum + Number(value) * (UNIT_MS[unit] ?? 0), 0));
}
