import { actionLine } from '../../../../core/action-log.ts';
import type { Clock } from '../../../../core/clock.ts';
import { planPod, type Step } from '../../../../core/lifecycle/plan.ts';
import type { LogStore } from '../../../../core/log-store.ts';
import type { Logger } from '../../../../core/logger.ts';
import type { WorkloadLogs } from '../../../../core/workload-logs.ts';
import type { WorkloadRef } from '../../../../core/workload-ref.ts';
import type { Observation, Workloads } from '../../../../core/workloads.ts';
import { PodgateError } from '../../../../core/errors.ts';
import type { PodRecord } from '../../../../core/pod.ts';
import { ownerIndex, podPut } from '../../../../core/pod-put.ts';
import type { Queue } from '../../../../core/queue.ts';
import { keptVolumeKey } from '../../../../core/quota.ts';
import type { Put, Store, Stored } from '../../../../core/store.ts';
import { podEnqueue } from '../pod-objects.ts';
import { keepOutput, type KeepOutputParts } from './keep-output.ts';

/** Steps in one go before the key is put off: no plan needs as many, so more would be a loop. */
const STEPS_MAX = 12;

export interface ReconcileParts {
  readonly store: Store;
  readonly queue: Queue;
  readonly logs: LogStore;
  readonly orchestrator: Pick<Workloads, 'observe' | 'remove'> & Pick<WorkloadLogs, 'logs' | 'printedSince'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly keepWatched?: NonNullable<KeepOutputParts['keepWatched']>;
  /** Told of every fresh observation, before the plan acts on it: the route feed lives on these. */
  readonly observed: (key: string, uid: string, observation: Observation) => void;
}

/**
 * Takes one pod as far as it goes now: read, look, plan, act, again. Key in, "look again after" out (null: an event or
 * the regular pass will do). Throws when store or orchestrator do not answer; nothing is half-done then.
 */
export async function reconcilePod(parts: ReconcileParts, key: string, signal: AbortSignal): Promise<number | null> {
  for (let steps = 0; steps < STEPS_MAX && !signal.aborted; steps += 1) {
    const stored = await parts.store.get('pod', key);
    if (stored === null) return null;
    const record = stored.value;
    const observation = await observe(parts.orchestrator, record, signal);
    parts.observed(key, record.uid, observation);
    const step = planPod(record, observation, parts.clock.now());
    const outcome = await act(parts, stored, observation, step, signal);
    if (outcome.kind === 'done') return outcome.lookAgainMs;
  }
  return 1_000;
}

type Outcome = { readonly kind: 'again' } | { readonly kind: 'done'; readonly lookAgainMs: number | null };

async function act(
  parts: ReconcileParts,
  stored: Stored<'pod'>,
  observation: Observation,
  step: Step,
  signal: AbortSignal,
): Promise<Outcome> {
  const record = stored.value;
  switch (step.kind) {
    case 'none':
      return { kind: 'done', lookAgainMs: step.lookAgainMs };
    case 'write': {
      const next: PodRecord = { ...record, ...step.change, updatedAtMs: parts.clock.now() };
      const result = await parts.store.commit({
        puts: [podPut(next, stored.revision)],
        enqueue: step.enqueue ? [podEnqueue(record)] : [],
      });
      // A conflict means that somebody wrote meanwhile, perhaps another wish: read again and plan anew.
      if (result.kind === 'committed' && step.log !== null) {
        await parts.logs.appendAction(record.uid, actionLine(parts.clock.now(), step.log));
      }
      return { kind: 'again' };
    }
    case 'spawn': {
      const { key, ...options } = podEnqueue(record);
      await parts.queue.add(key, options);
      return { kind: 'done', lookAgainMs: null };
    }
    case 'remove':
      if (record.applied !== null && record.deleting === null) {
        await keepOutput(parts, { ...refOf(record), run: record.applied.run }, signal);
      }
      await parts.orchestrator.remove(refOf(record), { data: step.data, run: step.run ?? record.run }, signal);
      return { kind: 'done', lookAgainMs: 1_000 };
    case 'purge':
      return purge(parts, stored, observation);
  }
}

async function purge(parts: ReconcileParts, stored: Stored<'pod'>, observation: Observation): Promise<Outcome> {
  const { uid } = stored.value;
  const credential = await parts.store.get('credential', stored.key);
  // Logs first: once the record no longer exists nothing leads to them any more.
  await parts.logs.remove(uid);
  await parts.store.commit({
    puts: keptVolumePuts(stored.value, observation, parts.clock.now()),
    deletes: [
      { kind: 'pod', key: stored.key, expected: stored.revision, uid },
      ...(credential === null
        ? []
        : [{ kind: 'credential' as const, key: stored.key, expected: credential.revision, uid }]),
    ],
  });
  return { kind: 'again' };
}

/** What the pod leaves behind stays on its owner's account: in the same commit, so that it is never uncounted. */
function keptVolumePuts(record: PodRecord, observation: Observation, nowMs: number): readonly Put[] {
  const { uid, tenant, podId, createdBy, deleting } = record;
  const hasData = observation.kind === 'absent' && observation.data;
  if (deleting?.keepVolume !== true || !hasData) return [];
  const value = { uid, tenant, podId, createdBy, volumes: deleting.volumes ?? 1, keptAtMs: nowMs };
  return [
    {
      kind: 'kept-volume',
      key: keptVolumeKey(value),
      expected: 'absent',
      value,
      tenant,
      indexes: [ownerIndex(createdBy)],
    },
  ];
}

async function observe(
  orchestrator: ReconcileParts['orchestrator'],
  record: PodRecord,
  signal: AbortSignal,
): Promise<Observation> {
  try {
    return await orchestrator.observe(refOf(record), signal);
  } catch (error) {
    if (error instanceof PodgateError && error.code === 'orchestrator.unavailable') {
      return { kind: 'unknown', reason: error.message };
    }
    throw error;
  }
}

function refOf(record: PodRecord): WorkloadRef {
  return { tenant: record.tenant, podId: record.podId, uid: record.uid };
}
