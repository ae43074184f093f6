import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../../config/config.ts';
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import type { SupervisorLink } from '../supervisor-link.ts';
import { openLastSeenFile } from './last-seen-file.ts';
import { type Database, openDatabase } from './open-database.ts';
import { createWaitReports } from './readiness.ts';

/** Opens the store that all replicas share. Waits for a Redis that does not respond, and reports the wait to probes. */
export async function openSharedStore(options: {
  readonly link: SupervisorLink;
  readonly clock: Clock;
  readonly log: Logger;
}): Promise<Database> {
  const { link, clock, log } = options;
  const { config, installation, instance } = link.start.settings;
  const waits = createWaitReports(link, log);
  // One file per kind of store: switching from one to the other does not lose the other's records.
  const seen = config.store === 'sqlite' ? 'store-seen.json' : 'redis-seen.json';
  const database = await openDatabase({
    config,
    path: join(config.dataDir, 'podgate.db'),
    replicaId: `${hostname()}-${instance.slice(0, 6)}`,
    shared: sharedSettings(config, installation),
    memory: openLastSeenFile(join(config.dataDir, seen), log),
    env: process.env,
    clock,
    log,
    signal: link.ending,
    onWaiting(error) {
      log.warn({ error: error.publicMessages.join(' ') }, 'waiting for Redis before this replica can start');
      waits.waitingFor('Redis, which does not respond');
    },
  });
  waits.end();
  return database;
}

/** A digest of the settings that all replicas must have in common. Readiness names replicas that differ. */
function sharedSettings({ tenants, orchestrator }: Config, installation: string): string {
  // Process pods are children of one machine: no other replica can look after them.
  const machine = orchestrator === 'process' ? installation : null;
  return createHash('sha256')
    .update(JSON.stringify([tenants, orchestrator, machine]))
    .digest('hex')
    .slice(0, 12);
}
