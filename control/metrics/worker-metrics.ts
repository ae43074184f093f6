import { byLabel, type MetricFamily } from '../../core/metrics.ts';
import type { WorkerCounts } from '../../core/worker-counts.ts';
import { processMetrics } from './process-metrics.ts';

/** Of the workers that are connected. One that starts anew starts at 0, which Prometheus knows as a reset. */
export interface WorkerCountsBoard {
  tell(worker: number, counts: WorkerCounts): void;
  forget(worker: number): void;
  metrics(): readonly MetricFamily[];
}

export function createWorkerCountsBoard(): WorkerCountsBoard {
  const byWorker = new Map<number, WorkerCounts>();
  return {
    tell: (worker, counts) => byWorker.set(worker, counts),
    forget: (worker) => byWorker.delete(worker),
    metrics: () => [...byWorker].flatMap(([worker, counts]) => workerMetrics(String(worker), counts)),
  };
}

function workerMetrics(worker: string, counts: WorkerCounts): readonly MetricFamily[] {
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
    byLabel('counter', 'podgate_sessions_ended_total', 'How sessions came to their end.', 'end', counts.ended),
    byLabel(
      'counter',
      'podgate_cancel_requests_total',
      'What came of Postgres cancel requests.',
      'outcome',
      counts.cancels,
    ),
  ];
  return [
    ...families.map((family) => ({
      ...family,
      samples: family.samples.map(({ labels, value }) => ({ labels: { worker, ...labels }, value })),
    })),
    ...processMetrics(`worker ${worker}`, counts.process),
  ];
}

function single(kind: MetricFamily['kind'], name: string, help: string, value: number): MetricFamily {
  return { name, help, kind, samples: [{ labels: {}, value }] };
}
