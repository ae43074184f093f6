import { byLabel, gauge, type MetricFamily } from '../../core/metrics.ts';
import type { ApiNumbers } from '../api.ts';

/** What calls of the API hold, and who was kept from more. */
export function apiMetrics({
  calls,
  bytes,
  waiting,
  refused,
  slowReaders,
  eventStreams,
  slowEventStreams,
  webSockets,
}: ApiNumbers): readonly MetricFamily[] {
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
    gauge('podgate_api_event_streams', 'Streams of events that are open.', eventStreams),
    {
      name: 'podgate_api_slow_event_streams_total',
      help: 'Streams of events ended because their client was too slow.',
      kind: 'counter',
      samples: [{ labels: {}, value: slowEventStreams }],
    },
    gauge('podgate_api_websockets', 'WebSockets of the API that are open.', webSockets),
  ];
}
