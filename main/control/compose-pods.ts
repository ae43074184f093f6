import { type FilesWork, leadFiles } from '../../control/objects/files/lead-files.ts';
import { createLeadership } from '../../control/leadership/leadership.ts';
import { createUsageAudit } from '../../control/objects/quota/usage-audit.ts';
import { createHealthLoop, type HealthLoop } from '../../control/resources/pods/reconcile/health-loop.ts';
import { watchSleepers } from '../../control/resources/pods/sleep/sleep-watch.ts';
import { turnSchedules } from '../../control/resources/snapshots/schedule.ts';
import { turnRestores } from '../../control/resources/volumes/restores.ts';
import { resealPods } from '../../control/vault/reseal-pods.ts';
import { podHost } from '../../core/ids.ts';
import type { Leadership, Term } from '../../core/leadership.ts';
import type { PodRecord } from '../../core/pod.ts';
import type { Store } from '../../core/store.ts';
import { createSpawner } from '../../spawner/spawner.ts';
import type { ComposedQuotas } from './compose-quotas.ts';
import type { WorkerChannel } from './compose-worker-channel.ts';
import type { ControlBase } from './control-base.ts';

const SPAWN_CONCURRENCY = 8;

/** What takes pods to their desired state. */
export interface ComposedPods {
  readonly health: HealthLoop;
  readonly leadership: Leadership;
  /** The health loop and the spawner, as far as this replica has their roles. */
  run(signal: AbortSignal): Promise<void>;
}

export function composePods(
  base: ControlBase,
  { quotas: { usageOf, admission }, workers }: { readonly quotas: ComposedQuotas; readonly workers: WorkerChannel },
): ComposedPods {
  const { config, database, keys, opened, filesWork, judge, feed, baseHostOf, clock, log } = base;
  const { store, queue, logs } = database;
  const { orchestrator, templates } = opened;
  const { vault } = keys;
  const leadership = createLeadership({ lock: database.lock, name: 'health', clock, log });
  const health = createHealthLoop({
    store,
    queue,
    logs,
    orchestrator,
    judge,
    leadership,
    clock,
    log,
    observed: (key, uid, observation) => feed.observed(key, uid, observation),
    look: (key) => feed.look(key),
    lookAtAll: () => feed.lookAtAll(),
    passed: () => feed.observationsComplete(),
    usageAudit: createUsageAudit(usageOf),
    reseal: (ofTerm, term) => resealPods({ store: ofTerm, vault, log }, term),
    alsoLead: async (ofTerm, term) => {
      const { connections, sleepMetrics } = workers;
      const sleepers = { connections, feed, logs, templates, orchestrator, clock, log, metrics: sleepMetrics };
      await Promise.all([watchSleepers(sleepers, ofTerm, term), leadOwnFiles(ofTerm, term)]);
    },
  });
  async function leadOwnFiles(ofTerm: Store, term: Term): Promise<void> {
    if (filesWork === null) return;
    const turn: FilesWork['turn'] = async (inTerm) => {
      await turnRestores({ ...filesWork, store: inTerm }, term);
      await turnSchedules({ ...filesWork, admission, clock, log, store: inTerm }, term);
    };
    await leadFiles({ ...filesWork, log, turn }, ofTerm, term);
  }
  const spawner = createSpawner({
    store,
    queue,
    logs,
    orchestrator,
    vault,
    templates,
    clock,
    log,
    concurrency: SPAWN_CONCURRENCY,
    mayWork: () => judge.trust()?.kind === 'healthy',
    trusted: () => judge.trusted(),
    hostsOf: (record) => hostsOf(record, baseHostOf(record.tenant)),
    publicHttpsPort: config.publicHttpsPort,
  });
  return {
    health,
    leadership,
    async run(signal) {
      await Promise.all([
        ...(config.roles.includes('health') ? [health.run(signal)] : []),
        ...(config.roles.includes('spawner') ? [spawner.run(signal)] : []),
      ]);
    },
  };
}

/** The public host name of each routed stanza. */
function hostsOf(record: PodRecord, baseHost: string): Readonly<Record<string, string>> {
  const { networking } = record.applied?.spec ?? record.spec;
  return Object.fromEntries(
    Object.entries(networking)
      .filter(([, { protocol }]) => protocol !== 'local_only')
      .map(([stanza]) => [stanza, podHost(record.podId, stanza, baseHost)]),
  );
}
