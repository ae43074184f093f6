import { confirmRemovals } from '../../control/operator/confirm-removals.ts';
import { operatorCalls } from '../../control/operator/operator-handler.ts';
import { recoverStore } from '../../control/operator/recover-store.ts';
import { listKeptVolumes, removeKeptVolume } from '../../control/resources/pods/kept-volumes.ts';
import { PodgateError } from '../../core/errors.ts';
import type { Certificates } from './compose-certificates.ts';
import { type Console, createLoginCode } from './compose-console.ts';
import type { ComposedPods } from './compose-pods.ts';
import type { ControlBase } from './control-base.ts';
import type { Database } from './open-database.ts';
import { createOperatorServer, type OperatorServer } from './operator-server.ts';

export interface OperatorSources {
  readonly certificates: Certificates;
  readonly pods: ComposedPods;
  readonly console: Console | null;
  /** Aborts calls that are still running. */
  readonly signal: AbortSignal;
}

/** What `npx podgate` commands can do in the running program. */
export function composeOperator(base: ControlBase, sources: OperatorSources): OperatorServer {
  const { database, opened, judge, clock, log } = base;
  const { store, queue } = database;
  const { orchestrator } = opened;
  const { certificates, pods, console, signal } = sources;
  return createOperatorServer({
    calls: operatorCalls({
      queue,
      recover: (options) => recoverStore({ database, orchestrator, judge, clock, log }, options, signal),
      backup: async ({ path }) => ({ bytes: await copyStore(database, path) }),
      confirm: (options) => confirmRemovals({ health: pods.health, judge }, options),
      keptVolumes: () => listKeptVolumes({ store }),
      removeKeptVolume: (key) => removeKeptVolume({ store, orchestrator, clock }, key, signal),
      certificates: certificates.manager,
      loginCode: () => createLoginCode(console),
    }),
    log,
  });
}

async function copyStore(database: Database, path: string): Promise<number> {
  if (database.copyTo !== undefined) return database.copyTo(path);
  throw new PodgateError('config.invalid', {
    publicMessages: [
      'The store is in Redis, which creates its own backups: redis-cli --rdb FILE, or see docs/operations.md.',
    ],
  });
}
