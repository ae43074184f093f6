import type { MetricFamily } from '../../core/metrics.ts';
import type { ProcessNumbers } from '../../core/worker-counts.ts';

/** What one process of ours uses. `process` names it: `control`, `worker 0`. */
export function processMetrics(process: string, numbers: ProcessNumbers): readonly MetricFamily[] {
  const family = (kind: MetricFamily['kind'], name: string, help: string, value: number): MetricFamily => ({
    name,
    help,
    kind,
    samples: [{ labels: { process }, value }],
  });
  return [
    family('counter', 'podgate_process_cpu_seconds_total', 'CPU time, user and system.', numbers.cpuSeconds),
    family('gauge', 'podgate_process_resident_memory_bytes', 'Resident memory.', numbers.residentBytes),
    family(
      'gauge',
      'podgate_process_event_loop_delay_seconds',
      'How late the event loop is: 99th percentile of the last seconds.',
      numbers.eventLoopDelaySeconds,
    ),
    family(
      'gauge',
      'podgate_process_event_loop_delay_max_seconds',
      'How late the event loop was at most in the last seconds.',
      numbers.eventLoopDelayMaxSeconds,
    ),
  ];
}
