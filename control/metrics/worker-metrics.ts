import { durationBounds, type DurationName, DURATIONS, type Durations } from '../../core/durations.ts';
import { byLabel, histogramSamples, type MetricFamily } from '../../core/metrics.ts';
import type { WorkerCounts } from '../../core/worker-counts.ts';
import { type WorkerName, workerText } from '../../core/worker-name.ts';
import { processMetrics } from './process-metrics.ts';

/** Of the workers that are connected. One that starts anew starts at 0, which Prometheus knows as a reset. */
export interface WorkerMetrics {
  /** `teller`: the process's connection. The last that tells is the worker of that number. */
  tell(worker: WorkerName, counts: WorkerCounts, teller: object): void;
  forget(worker: WorkerName, teller: object): void;
  metrics(): readonly MetricFamily[];
}

export function createWorkerMetrics(): WorkerMetrics {
  const byWorker = new Map<
    string,
    { readonly name: WorkerName; readonly counts: WorkerCounts; readonly teller: object }
  >();
  return {
    tell: (name, counts, teller) => byWorker.set(workerText(name), { name, counts, teller }),
    forget(worker, teller) {
      // One that was replaced goes later than its successor comes.
      if (byWorker.get(workerText(worker))?.teller === teller) byWorker.delete(workerText(worker));
    },
    metrics: () => [...byWorker.values()].flatMap(({ name, counts }) => workerMetrics(name, counts)),
  };
}

function workerMetrics(name: WorkerName, counts: WorkerCounts): readonly MetricFamily[] {
  const { worker, gateway } = name;
  const labels = { ...(gateway === undefined ? {} : { gateway }), worker: String(worker) };
  const families = [
    single(
      'counter',
      'podgate_connections_accepted_total',
      'Connections of clients that were accepted.',
      counts.accepted,
    ),
    single('gauge', 'podgate_connections_active', 'Connections of clients now.', counts.active),
    single(
      'counter',
      'podgate_sessions_total',
      'Sessions passed on to a pod (HTTP is counted by connection).',
      counts.sessions,
    ),
    byLabel(
      'counter',
      'podgate_connections_closed_total',
      'Connections closed without an answer that says why.',
      'reason',
      counts.closed,
    ),
    byLabel(
      'counter',
      'podgate_refusals_total',
      'Connections and requests refused with a reason.',
      'code',
      counts.refused,
    ),
    single('gauge', 'podgate_http_requests_active', 'HTTP requests and tunnels under way.', counts.requestsNow),
    single('gauge', 'podgate_sessions_active', 'Sessions of TCP and Postgres under way.', counts.sessionsNow),
    byLabel(
      'counter',
      'podgate_http_requests_total',
      'HTTP requests by class of status; none = there was no answer.',
      'status',
      counts.requests,
    ),
    byLabel(
      'counter',
      'podgate_sessions_by_protocol_total',
      'Sessions passed on to a pod, by protocol.',
      'protocol',
      counts.sessionsOf,
    ),
    byLabel(
      'counter',
      'podgate_limited_total',
      'Times that a limit kept someone from a place.',
      'limit',
      counts.limited,
    ),
    byTwoLabels('podgate_tls_handshakes_total', 'TLS handshakes done.', ['version', 'kind'], counts.handshakes),
    byTwoLabels(
      'podgate_bytes_total',
      'Bytes from clients to pods (in) and back (out), without TLS and without the heads of HTTP.',
      ['protocol', 'direction'],
      counts.bytes,
    ),
    single(
      'counter',
      'podgate_access_log_dropped_total',
      'Lines of the access log that were dropped because they were not read in time.',
      counts.droppedLines,
    ),
    ...durationFamilies(counts.durations),
    byLabel('counter', 'podgate_sessions_ended_total', 'How sessions came to their end.', 'end', counts.ended),
    byLabel(
      'counter',
      'podgate_cancel_requests_total',
      'What came of Postgres cancel requests.',
      'outcome',
      counts.cancels,
    ),
  ];
  if (counts.egress !== undefined) {
    families.push(
      byLabel(
        'counter',
        'podgate_egress_tunnels_total',
        'Tunnels to the outside that pods asked for, by outcome.',
        'outcome',
        counts.egress,
      ),
      single('gauge', 'podgate_egress_tunnels_active', 'Tunnels of pods to the outside now.', counts.egressNow ?? 0),
    );
  }
  if (counts.holds !== undefined) {
    families.push(
      byLabel(
        'counter',
        'podgate_holds_total',
        'Clients that waited for a pod that slept or started, by outcome.',
        'outcome',
        counts.holds,
      ),
      single('gauge', 'podgate_held_connections', 'Clients that wait for a pod to wake now.', counts.heldNow ?? 0),
      single('counter', 'podgate_wakes_asked_total', 'Times that pods were asked to wake.', counts.wakesAsked ?? 0),
    );
  }
  return [
    ...families.map((family) => ({
      ...family,
      samples: family.samples.map((sample) => ({ ...sample, labels: { ...labels, ...sample.labels } })),
    })),
    ...processMetrics(workerText(name), counts.process),
  ];
}

function single(kind: MetricFamily['kind'], name: string, help: string, value: number): MetricFamily {
  return { name, help, kind, samples: [{ labels: {}, value }] };
}

/** Keys are the values of both labels with a space between. */
function byTwoLabels(
  name: string,
  help: string,
  [first, second]: readonly [string, string],
  values: Readonly<Record<string, number>>,
): MetricFamily {
  const samples = Object.entries(values).map(([key, value]) => {
    const [one = '', two = ''] = key.split(' ');
    return { labels: { [first]: one, [second]: two }, value };
  });
  return { name, help, kind: 'counter', samples };
}

const PHASES: Readonly<Record<string, readonly [name: string, help: string]>> = {
  handshake: ['podgate_handshake_seconds', 'From accept to the end of the TLS handshake.'],
  connect: ['podgate_connect_seconds', 'Until a pod had taken the connection that was made for a request or session.'],
  'first-byte': ['podgate_first_byte_seconds', "From a request's head, or a session's begin, to the pod's first byte."],
  request: ['podgate_http_request_seconds', "From a request's head to the end of its answer; tunnels, too."],
  session: ['podgate_session_seconds', 'Sessions, from the dial to their end.'],
};

function durationFamilies(durations: Durations): readonly MetricFamily[] {
  return Object.entries(PHASES).map(([phase, [name, help]]) => {
    const names = DURATIONS.filter((each) => each.split(' ')[0] === phase);
    return { name, help, kind: 'histogram', samples: names.flatMap((each) => samplesOf(each, durations)) };
  });
}

function samplesOf(name: DurationName, durations: Durations): MetricFamily['samples'] {
  const protocol = name.split(' ')[1];
  return histogramSamples(protocol === undefined ? {} : { protocol }, durationBounds(name), durations[name]);
}
