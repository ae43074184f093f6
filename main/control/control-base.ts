import type { Config } from '../../config/config.ts';
import { FileJobs } from '../../control/objects/files/file-jobs.ts';
import { createSnapshotCopies, type SnapshotCopies } from '../../control/resources/snapshots/copies.ts';
import { createVolumeRestores, type VolumeRestores } from '../../control/resources/volumes/restores.ts';
import type { VolumeFiles } from '../../core/volume.ts';
import { ControlRouteFeed } from '../../control/routes/route-feed.ts';
import { WorkerArrivals } from '../../control/workers/worker-arrivals.ts';
import { createStoreJudge, type StoreJudge } from '../../control/store/store-judge.ts';
import type { Clock } from '../../core/clock.ts';
import { openEnvironment } from '../../core/environment.ts';
import type { Logger } from '../../core/logger.ts';
import type { SupervisorLink } from '../supervisor-link.ts';
import { systemClock as clock } from '../system-clock.ts';
import { type OpenedOrchestrator, openOrchestrator } from './open-orchestrator.ts';
import type { Database } from './open-database.ts';
import { openSharedStore } from './open-shared-store.ts';
import { openSharedKeys, type SharedKeys } from './shared-keys.ts';

/** Volumes and snapshots, and the copies that are made of them. */
export interface OwnFilesWork {
  readonly files: VolumeFiles;
  readonly copies: SnapshotCopies;
  readonly restores: VolumeRestores;
}

/** What each part of the control plane builds on. */
export interface ControlBase {
  readonly link: SupervisorLink;
  readonly config: Config;
  readonly database: Database;
  readonly keys: SharedKeys;
  readonly opened: OpenedOrchestrator;
  /** Null: the orchestrator has no volumes. */
  readonly filesWork: OwnFilesWork | null;
  readonly judge: StoreJudge;
  /** Judges the store now. Throws when the store or the orchestrator does not respond. */
  readonly isStoreHealthy: (signal: AbortSignal) => Promise<boolean>;
  readonly feed: ControlRouteFeed;
  readonly arrivals: WorkerArrivals;
  readonly baseHostOf: (tenant: string) => string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Opens the store, the keys and the orchestrator. Throws PodgateError 'config.invalid' when they do not fit together. */
export async function openControlBase(link: SupervisorLink, log: Logger): Promise<ControlBase> {
  const { config, runDir, installation, instance } = link.start.settings;
  const baseHostOf = (tenant: string): string =>
    config.tenants.find(({ id }) => id === tenant)?.baseHost ?? config.tenants[0].baseHost;
  const database = await openSharedStore({ link, clock, log });
  const { store } = database;
  const keys = await openSharedKeys({ config, replicas: database.replicas, clock, log });
  const opened = await openOrchestrator({
    config,
    installation,
    instance,
    runDir,
    clock,
    log,
    openEnvironment: (uid, stored) => openEnvironment(keys.vault, uid, stored),
  });
  const { orchestrator } = opened;
  const { files } = opened;
  const copyParts = { store, jobs: new FileJobs(log), clock, log };
  const filesWork =
    files === null
      ? null
      : {
          files,
          copies: createSnapshotCopies({ ...copyParts, files, data: orchestrator.snapshots ?? null }),
          restores: createVolumeRestores({ ...copyParts, files }),
        };
  const judge = createStoreJudge({ store, guard: database.guard, orchestrator });
  const isStoreHealthy = async (signal: AbortSignal): Promise<boolean> =>
    (await judge.judge(signal)).trust.kind === 'healthy';
  const arrivals = new WorkerArrivals(config.roles.includes('gateway') ? Math.max(1, config.workers) : 0);
  const feed = new ControlRouteFeed({
    site: config.site,
    store,
    log,
    baseHostOf,
    glimpse: (ref) => orchestrator.glimpse(ref),
    isStoreHealthy,
    arrivals,
  });
  return {
    link,
    config,
    database,
    keys,
    opened,
    filesWork,
    judge,
    isStoreHealthy,
    feed,
    arrivals,
    baseHostOf,
    clock,
    log,
  };
}
