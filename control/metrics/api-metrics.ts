import { byLabel, gauge, type MetricFamily } from '../../core/metrics.ts';
import type { ApplicationNumbers } from '../http/application.ts';

/** What calls of the API hold, and who was kept from more. */
export function apiMetrics({
  calls,
  bytes,
  waiting,
  refused,
  slowReaders,
}: ApplicationNumbers): readonly MetricFamily[] {
  return [
    gauge('podgate_api_calls_active', 'Calls of the API in progress.', calls),
    gauge('podgate_api_bytes_in_flight', 'Bytes that calls are counted with: bodies and responses.', bytes),
    gauge('podgate_api_turns_waiting', 'Pieces of work of the API that wait for their turn.', waiting),
    byLabel('counter', 'podgate_api_refused_total', 'Calls refused because of a limit.', 'limit', refused),
    {
      name: 'podgate_api_slow_readers_total',
      help: 'Clients disconnected because they took their response too slowly.',
      kind: 'counter',
      samples: [{ labels: {}, value: slowReaders }],
    },
  ];
}
