import { setTimeout as delay } from 'node:timers/promises';

import { PodgateError } from '../../core/errors.ts';
import { podKey } from '../../core/ids.ts';
import type { PermissionLevel, PodRecord } from '../../core/pod.ts';
import { podPut } from '../../core/pod-put.ts';
import { queueKey, shareOf } from '../../core/queue.ts';
import { isGrowing, usageDifference } from '../../core/quota.ts';
import type { CommitResult } from '../../core/store.ts';
import type { Caller } from '../auth/authenticator.ts';
import type { KeyedMutex } from './keyed-mutex.ts';
import { readPod } from './access.ts';
import { noteAction, type PodParts } from '../resources/pods/pod-parts.ts';

/** Compare-and-sets before a call gives up with 409. Health and spawner write a pod a few times a second at most. */
export const ATTEMPTS_MAX = 30;
const PAUSE_MAX_MS = 10;

export interface PodChange {
  /** Null: the record is as wished already. */
  readonly change: Partial<PodRecord> | null;
  /** The key becomes due for the spawner in the same commit. */
  readonly enqueue?: boolean;
  /** A line for action_logs. */
  readonly log?: string;
}

export interface ChangedPod {
  readonly record: PodRecord;
  readonly isChanged: boolean;
}

export interface ChangeRequest {
  readonly caller: Caller;
  readonly podId: string;
  readonly needed: PermissionLevel;
  /** Begins the sentence of a refusal: "Updating". */
  readonly act: string;
  /** Decides on a fresh record, maybe more than once; throws to refuse. Has no effect of its own. */
  readonly decide: (record: PodRecord) => PodChange;
}

/**
 * Changes a pod by compare-and-set, deciding - and checking the permission - anew on every fresh read, so that no wish,
 * permission or status written meanwhile is lost. What grows is let in by the quotas of the pod's owner, in the same commit.
 * Throws 'api.forbidden' beyond a quota, 'api.conflict' when it does not come through.
 */
export async function changePod(parts: PodParts, mutex: KeyedMutex, request: ChangeRequest): Promise<ChangedPod> {
  const { caller, podId, needed, act, decide } = request;
  const key = podKey(caller.tenant, podId);
  const once = async (attempt: number): Promise<ChangedPod | null> => {
    const stored = await readPod(parts.store, caller, podId, needed, act);
    const { change, enqueue, log } = decide(stored.value);
    if (change === null) return { record: stored.value, isChanged: false };
    const record: PodRecord = { ...stored.value, ...change, updatedAtMs: parts.clock.now() };
    const [before, after] = [parts.usageOf(stored.value), parts.usageOf(record)];
    const commit = async (): Promise<CommitResult> =>
      await parts.store.commit({
        puts: [podPut(record, stored.revision), ...(await parts.admission.admit(record, before, after))],
        ...(enqueue === true ? { enqueue: [{ key: queueKey('pod', key), share: shareOf(record) }] } : {}),
      });
    const result = isGrowing(usageDifference(before, after))
      ? await mutex.run(admissionLane(record), commit)
      : await commit();
    if (result.kind === 'committed') {
      if (log !== undefined) await noteAction(parts, record, log);
      return { record, isChanged: true };
    }
    await pauseAfterConflict(attempt);
    return null;
  };
  return await mutex.run(key, async () => {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
      const changed = await once(attempt);
      if (changed !== null) return changed;
    }
    throw tooManyConflicts(podId);
  });
}

/**
 * Those who are let in by the quotas of one tenant come one after the other within this process: they all write its
 * usage record, and would make each other's commits fail.
 */
export function admissionLane({ tenant }: Pick<PodRecord, 'tenant'>): string {
  return `admission ${tenant}`;
}

/** Replicas that collided once should not do so in step; within this process the mutex has seen to it. */
export async function pauseAfterConflict(attempt: number): Promise<void> {
  if (attempt > 2) await delay(Math.random() * PAUSE_MAX_MS);
}

export function tooManyConflicts(podId: string): PodgateError {
  return new PodgateError('api.conflict', {
    publicMessages: [`Pod ${podId} is being changed by too many others; try again.`],
  });
}
