import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Authenticator } from '../../control/auth/authenticator.ts';
import { createLoginAnswers } from '../../control/auth/login-answers.ts';
import { createWorkerMetrics, type WorkerMetrics } from '../../control/metrics/worker-metrics.ts';
import { createCancelRelay } from '../../control/workers/cancel-relay.ts';
import { serveFeed } from '../../control/workers/feed-server.ts';
import { PodWakes } from '../../control/resources/pods/sleep/pod-wakes.ts';
import { ShellUse } from '../../control/resources/pods/sleep/shell-use.ts';
import { SleepMetrics } from '../../control/resources/pods/sleep/sleep-metrics.ts';
import { createPodConnectionsReader } from '../../control/workers/pod-connections-reader.ts';
import { createRoutableEverywhere, type RoutableEverywhere } from '../../control/workers/routable-everywhere.ts';
import { createPodTrafficReader } from '../../control/workers/pod-traffic-reader.ts';
import {
  type ConnectionQuestions,
  createWorkerQuestions,
  type TrafficQuestions,
} from '../../control/workers/worker-questions.ts';
import type { PodConnectionsReader } from '../../core/pod-connections-reader.ts';
import type { PodTrafficReader } from '../../core/pod-traffic.ts';
import type { WakeMessage } from '../../core/feed-protocol.ts';
import type { WorkloadRef } from '../../core/workload-ref.ts';
import type { Certificates } from './compose-certificates.ts';
import type { ControlBase } from './control-base.ts';

/** A workload that does not exist: a watch that is up to date says so. */
const NO_WORKLOAD: WorkloadRef = { tenant: '', podId: '', uid: '' };

/** The channel to the gateway workers, here and at the other replicas. */
export interface WorkerChannel {
  readonly routable: RoutableEverywhere;
  readonly connections: PodConnectionsReader;
  readonly traffic: PodTrafficReader;
  readonly counts: WorkerMetrics;
  /** What the API does in pods. */
  readonly shellUse: ShellUse;
  readonly sleepMetrics: SleepMetrics;
  run(signal: AbortSignal): Promise<void>;
}

export function composeWorkerChannel(
  base: ControlBase,
  certificates: Certificates,
  authenticator: Authenticator,
): WorkerChannel {
  const { link, config, database, keys, opened, judge, feed, arrivals, clock, log } = base;
  const { replicas, store, logs } = database;
  const { orchestrator, podNetworks } = opened;
  const routable = createRoutableEverywhere({ feed, replicas });
  const questions: ConnectionQuestions = createWorkerQuestions();
  const trafficQuestions: TrafficQuestions = createWorkerQuestions();
  const traffic = createPodTrafficReader({ questions: trafficQuestions, replicas, clock });
  const shellUse = new ShellUse(clock);
  const connections = createPodConnectionsReader({ questions, replicas, clock, ownUse: (uid) => shellUse.of(uid) });
  const counts = createWorkerMetrics();
  const sleepMetrics = new SleepMetrics();
  const mayWork = (): boolean => judge.trust()?.kind === 'healthy';
  const wakes = new PodWakes({ store, logs, feed, mayWork, clock, log, metrics: sleepMetrics });
  const server = {
    feed,
    path: join(link.start.settings.runDir, 'feed.sock'),
    epoch: randomUUID(),
    baseHosts: config.tenants.map(({ baseHost }) => baseHost),
    log,
    certificates: certificates.served,
    tickets: keys.tickets,
    answerLogin: createLoginAnswers(authenticator),
    certificateWanted: (host: string) => certificates.manager.wanted(host),
    wakeWanted: (message: WakeMessage) => wakes.wanted(message),
    counts,
    arrivals,
    questions,
    trafficQuestions,
    ...(podNetworks === null ? {} : { podNetworks }),
    cancels: createCancelRelay({ replicas, clock }),
    isWatchFresh: () => orchestrator.glimpse(NO_WORKLOAD).kind !== 'unknown',
    replicas: () => replicas.live().length,
  };
  return {
    routable,
    connections,
    traffic,
    counts,
    shellUse,
    sleepMetrics,
    async run(signal) {
      await Promise.all([
        feed.run(signal),
        routable.run(signal),
        connections.run(signal),
        traffic.run(signal),
        keys.tickets.run(signal),
        serveFeed(server, signal),
      ]);
      await wakes.close();
    },
  };
}
