import type { Api } from '../../control/api.ts';
import { apiMetrics } from '../../control/metrics/api-metrics.ts';
import { certificateMetrics } from '../../control/metrics/certificate-metrics.ts';
import { controlMetrics, queueMetrics } from '../../control/metrics/control-metrics.ts';
import { processMetrics } from '../../control/metrics/process-metrics.ts';
import { quotaMetrics } from '../../control/metrics/quota-metrics.ts';
import type { MetricSource } from '../../core/metrics.ts';
import { watchProcessNumbers } from '../process-numbers.ts';
import type { Certificates } from './compose-certificates.ts';
import type { ComposedPods } from './compose-pods.ts';
import type { ComposedQuotas } from './compose-quotas.ts';
import type { WorkerChannel } from './compose-worker-channel.ts';
import type { ControlBase } from './control-base.ts';

/** What a scrape of this replica's control port collects. */
export function metricSources(
  base: ControlBase,
  sources: {
    readonly api: Pick<Api, 'numbers'>;
    readonly certificates: Certificates;
    readonly workers: WorkerChannel;
    readonly pods: ComposedPods;
    readonly quotas: ComposedQuotas;
  },
): readonly MetricSource[] {
  const { link, config, database, judge, feed, clock } = base;
  const { store, queue } = database;
  const { api, certificates, workers, pods, quotas } = sources;
  const numbers = watchProcessNumbers();
  return [
    () =>
      controlMetrics({
        version: link.start.settings.version,
        queue,
        feed,
        trust: () => judge.trust(),
        heldBack: () => pods.health.heldBack(),
        hung: () => link.gateway().hung,
      }),
    queueMetrics({ queue }),
    () => processMetrics('control', numbers()),
    () => apiMetrics(api.numbers()),
    () => workers.counts.metrics(),
    () => workers.sleepMetrics.families(),
    () => certificateMetrics({ certificates: certificates.manager, clock }),
    quotaMetrics({
      store,
      quotas: config.quotas,
      tenants: config.tenants.map(({ id }) => id),
      admission: quotas.admission,
    }),
  ];
}
