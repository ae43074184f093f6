import type { EnsureResult } from '../workloads.ts';
import type { PodRecord } from '../pod.ts';
import { isSpawnDue, SPAWN_ATTEMPTS_MAX, spawnBackoffMs } from './backoff.ts';
import type { LifecycleChange } from './plan.ts';

/** What the spawner does with a claimed key, before it calls the orchestrator. */
export type SpawnStep =
  /** Nothing (any more): acknowledge. */
  | { readonly kind: 'skip' }
  /** Not due yet: give the key back for that long. */
  | { readonly kind: 'later'; readonly delayMs: number }
  /** Compare-and-set this, then ensure the workload of `applied`. */
  | { readonly kind: 'claim'; readonly change: LifecycleChange; readonly log: string }
  /** Claimed earlier (by a spawner that died): ensure the workload of `applied`. */
  | { readonly kind: 'ensure' };

export function planSpawn(record: PodRecord, nowMs: number): SpawnStep {
  if (record.deleting !== null || record.wish !== 'ON') return { kind: 'skip' };
  if (record.status === 'SPAWNER_SETUP' && record.applied?.run === record.run) return { kind: 'ensure' };
  if (record.status !== 'REQUESTED' && record.status !== 'SPAWNER_SETUP') return { kind: 'skip' };
  if (!isSpawnDue(record.notBeforeMs, nowMs)) return { kind: 'later', delayMs: record.notBeforeMs - nowMs };
  return {
    kind: 'claim',
    change: {
      status: 'SPAWNER_SETUP',
      applied: { generation: record.generation, run: record.run, spec: record.spec },
    },
    log: 'spawner set status to SPAWNER_SETUP',
  };
}

/**
 * What the spawner writes after `ensure`, on a fresh read of the record: null when the record has moved on (then the
 * health loop decides about the workload).
 */
export function planSpawnResult(
  record: PodRecord,
  attempted: { readonly uid: string; readonly generation: number; readonly run: number },
  result: Exclude<EnsureResult, { kind: 'wait' }>,
  nowMs: number,
): { readonly change: LifecycleChange; readonly log: string; readonly retryMs: number | null } | null {
  if (record.uid !== attempted.uid || record.deleting !== null || record.wish !== 'ON') return null;
  if (record.status !== 'SPAWNER_SETUP') return null;
  if (record.applied?.generation !== attempted.generation || record.applied.run !== attempted.run) return null;
  if (result.kind === 'ensured') {
    return { change: { status: 'CREATING_CONTAINER' }, log: 'spawner set status to CREATING_CONTAINER', retryMs: null };
  }
  const attempts = result.retryable ? record.attempts + 1 : SPAWN_ATTEMPTS_MAX;
  const statusContainer = {
    phase: 'failed',
    message: result.reason,
    startTime: null,
    exitCode: null,
    signal: null,
    restarts: 0,
  };
  if (attempts >= SPAWN_ATTEMPTS_MAX) {
    return {
      change: { status: 'ERROR', attempts: SPAWN_ATTEMPTS_MAX, statusContainer },
      log: `spawner set status to ERROR: ${result.reason}`,
      retryMs: null,
    };
  }
  // The second try already waits: something refused this one.
  const retryMs = spawnBackoffMs(attempts + 1);
  return {
    change: { status: 'REQUESTED', attempts, notBeforeMs: nowMs + retryMs, statusContainer },
    log: `spawner failed (try ${attempts} of ${SPAWN_ATTEMPTS_MAX}): ${result.reason}`,
    retryMs,
  };
}
