import { z } from 'zod';

import { PodgateError } from '../../../../core/errors.ts';
import { MEASURED_MAX } from '../../../../core/workload-metrics.ts';
import type { AuthenticatedCall, JsonReply, Operation, QueryParameter } from '../../../http/operation.ts';
import { podIdOf } from '../pod-query.ts';
import { TrafficAnswer, trafficAnswer } from '../traffic-answer.ts';
import type { PodService } from '../pod-service.ts';
import type { PodMetrics, PodMetricsReport } from './read-metrics.ts';

export const PodMetricsAnswer = z.object({
  pod_id: z.string(),
  memory_bytes: z
    .int()
    .nullable()
    .describe('In use, without files that are only cached in memory; null: it does not run, or is not measured yet.'),
  cpu_millis: z
    .int()
    .nullable()
    .describe('Thousandths of a CPU, as in cpu_limit, on average over window_seconds; null as for memory_bytes.'),
  window_seconds: z.number().nullable().describe('Over how long CPU was measured.'),
  measured_ts: z.iso.datetime().nullable().describe('The end of that time.'),
  traffic: TrafficAnswer.nullable().describe(
    'What all gateway workers have counted since they started; null: not all of them have answered, or you ask for ' +
      'metrics more than 120 times a minute.',
  ),
});

const POD_IDS: QueryParameter = {
  name: 'pod_ids',
  description: `Which pods: their ids with commas between them, at most ${MEASURED_MAX}. Default: none.`,
};
/** An id has at most 63 characters. */
const POD_IDS_MAX_LENGTH = MEASURED_MAX * 64;

/** Memory and CPU in use, measured when asked for: docs/metrics.md. */
export function podMetricsOperations(pods: Pick<PodService, 'metrics' | 'metricsOf'>): readonly Operation[] {
  const shared = { methods: ['get'], tag: 'Pods', access: 'token' } as const;
  return [
    {
      ...shared,
      operationId: 'get_pods_metrics',
      path: '/pods/metrics',
      summary:
        'Memory and CPU that pods use now, and their traffic, of those in pod_ids on which you have READ. metadata.note ' +
        'says why there are no figures of memory and CPU.',
      query: [POD_IDS],
      result: z.array(PodMetricsAnswer),
      handle: async ({ caller, query, signal }: AuthenticatedCall) => {
        const report = await pods.metricsOf(caller, podIdsOf(query), signal);
        return replyOf(report, report.pods.map(answerOf));
      },
    },
    {
      ...shared,
      operationId: 'get_pod_metrics',
      path: '/pods/{pod_id}/metrics',
      summary:
        'Memory and CPU that a pod uses now, and its traffic. READ. metadata.note says why there are no figures of the former.',
      result: PodMetricsAnswer,
      handle: async (call: AuthenticatedCall) => {
        const report = await pods.metrics(call.caller, podIdOf(call), call.signal);
        const [only] = report.pods;
        return replyOf(report, only === undefined ? null : answerOf(only));
      },
    },
  ];
}

/** Throws 'api.invalid'. */
function podIdsOf(query: URLSearchParams): readonly string[] {
  const text = query.get('pod_ids') ?? '';
  if (text.length > POD_IDS_MAX_LENGTH)
    throw new PodgateError('api.invalid', { publicMessages: [`pod_ids: at most ${POD_IDS_MAX_LENGTH} characters`] });
  return [...new Set(text.split(',').filter((id) => id !== ''))];
}

function replyOf({ note }: PodMetricsReport, result: unknown): JsonReply {
  const message = 'Pod metrics retrieved successfully.';
  return { kind: 'json', message, result, ...(note === null ? {} : { metadata: { note } }) };
}

function answerOf({ podId, measured, traffic }: PodMetrics): z.output<typeof PodMetricsAnswer> {
  return {
    pod_id: podId,
    memory_bytes: measured?.memoryBytes ?? null,
    cpu_millis: measured?.cpuMillis ?? null,
    window_seconds: measured === null || measured.cpuMillis === null ? null : measured.windowMs / 1_000,
    measured_ts: measured === null ? null : new Date(measured.measuredAtMs).toISOString(),
    traffic: traffic === null ? null : trafficAnswer(traffic),
  };
}
