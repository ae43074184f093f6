import type { StoreTrust } from '../../core/lifecycle/clean-up.ts';
import { byLabel, gauge, type MetricFamily, type MetricSource } from '../../core/metrics.ts';
import type { PodStatus } from '../../core/pod.ts';
import type { Queue } from '../../core/queue.ts';

export interface ControlMetricsParts {
  readonly version: string;
  readonly queue: Pick<Queue, 'stats'>;
  readonly feed: {
    podsByStatus(): Readonly<Record<PodStatus, number>>;
    readonly isReady: boolean;
    readonly sequence: number;
    readonly followerCount: number;
  };
  readonly trust: () => StoreTrust | null;
  /** Removals of workloads that wait for an operator's confirmation; null where this replica does not lead. */
  readonly heldBack?: () => { readonly removals: readonly unknown[] } | null;
  /** Child processes the supervisor has killed because they hung, by role. Default: there is no supervisor. */
  readonly hung?: () => Readonly<Record<string, number>>;
}

/** What the control plane knows of itself, from memory; the queue's numbers come from a source of their own. */
export function controlMetrics({ version, feed, trust, heldBack, hung }: ControlMetricsParts): readonly MetricFamily[] {
  return [
    { name: 'podgate_build_info', help: 'The release.', kind: 'gauge', samples: [{ labels: { version }, value: 1 }] },
    gauge(
      'podgate_store_healthy',
      '1 when the store is believed; 0 when it is suspect or not yet judged.',
      trust()?.kind === 'healthy' ? 1 : 0,
    ),
    gauge('podgate_routes_complete', '1 when the route table of this replica is complete.', feed.isReady ? 1 : 0),
    gauge('podgate_route_changes', 'Changes of the route table since this control process started.', feed.sequence),
    gauge('podgate_gateway_workers', 'Gateway workers that follow the route table.', feed.followerCount),
    gauge(
      'podgate_removals_held_back',
      'Workloads without a pod that are not removed before an operator confirms (podgate confirm); 0 where this replica does not lead.',
      heldBack?.()?.removals.length ?? 0,
    ),
    byLabel('gauge', 'podgate_pods', 'Pods by status.', 'status', feed.podsByStatus()),
    byLabel(
      'counter',
      'podgate_hung_processes_total',
      'Processes of ours that gave no sign of life and were killed.',
      'role',
      hung?.() ?? {},
    ),
  ];
}

/** Asks the store, which may be away: then these numbers are missing and the others are there. */
export function queueMetrics({ queue }: Pick<ControlMetricsParts, 'queue'>): MetricSource {
  return async () => {
    const stats = await queue.stats();
    return [byLabel('gauge', 'podgate_queue_keys', 'Keys that wait for the spawner, by state.', 'state', { ...stats })];
  };
}
