import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { createWorkerMetrics, type WorkerMetrics } from '../../control/metrics/worker-metrics.ts';
import { createCancelRelay } from '../../control/workers/cancel-relay.ts';
import { serveFeed } from '../../control/workers/feed-server.ts';
import { createPodConnectionsReader } from '../../control/workers/pod-connections-reader.ts';
import { createRoutableEverywhere, type RoutableEverywhere } from '../../control/workers/routable-everywhere.ts';
import { createWorkerQuestions } from '../../control/workers/worker-questions.ts';
import type { PodConnectionsReader } from '../../core/pod-connections-reader.ts';
import type { WorkloadRef } from '../../core/workload-ref.ts';
import type { Certificates } from './compose-certificates.ts';
import type { ControlBase } from './control-base.ts';

/** A workload that does not exist: a watch that is up to date says so. */
const NO_WORKLOAD: WorkloadRef = { tenant: '', podId: '', uid: '' };

/** The channel to the gateway workers, here and at the other replicas. */
export interface WorkerChannel {
  readonly routable: RoutableEverywhere;
  readonly connections: PodConnectionsReader;
  readonly counts: WorkerMetrics;
  run(signal: AbortSignal): Promise<void>;
}

export function composeWorkerChannel(base: ControlBase, certificates: Certificates): WorkerChannel {
  const { link, config, database, keys, opened, feed, clock, log } = base;
  const { replicas } = database;
  const { orchestrator, podNetworks } = opened;
  const routable = createRoutableEverywhere({ feed, replicas });
  const questions = createWorkerQuestions();
  const connections = createPodConnectionsReader({ questions, replicas, clock });
  const counts = createWorkerMetrics();
  const server = {
    feed,
    path: join(link.start.settings.runDir, 'feed.sock'),
    epoch: randomUUID(),
    baseHosts: config.tenants.map(({ baseHost }) => baseHost),
    log,
    certificates: certificates.served,
    tickets: keys.tickets,
    certificateWanted: (host: string) => certificates.manager.wanted(host),
    counts,
    questions,
    ...(podNetworks === null ? {} : { podNetworks }),
    cancels: createCancelRelay({ replicas, clock }),
    isWatchFresh: () => orchestrator.glimpse(NO_WORKLOAD).kind !== 'unknown',
    replicas: () => replicas.live().length,
  };
  return {
    routable,
    connections,
    counts,
    async run(signal) {
      await Promise.all([
        feed.run(signal),
        routable.run(signal),
        connections.run(signal),
        keys.tickets.run(signal),
        serveFeed(server, signal),
      ]);
    },
  };
}
