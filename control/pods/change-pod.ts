import { setTimeout as delay } from 'node:timers/promises';

import { PodgateError } from '../../core/errors.ts';
import { podKey } from '../../core/ids.ts';
import type { PermissionLevel, PodRecord } from '../../core/pod.ts';
import { podPut } from '../../core/pod-put.ts';
import { shareOf } from '../../core/queue.ts';
import type { Caller } from '../auth/authenticator.ts';
import type { KeyedMutex } from './keyed-mutex.ts';
import { readPod } from './pod-access.ts';
import { noteAction, type PodParts } from './pod-parts.ts';

/** Compare-and-sets before a call gives up with 409. Health and spawner write a pod a few times a second at most. */
const ATTEMPTS_MAX = 30;
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
 * permission or status written meanwhile is lost. Throws 'api.conflict' when it does not come through.
 */
export async function changePod(parts: PodParts, mutex: KeyedMutex, request: ChangeRequest): Promise<ChangedPod> {
  const { caller, podId, needed, act, decide } = request;
  const key = podKey(caller.tenant, podId);
  return await mutex.run(key, async () => {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
      const stored = await readPod(parts.store, caller, podId, needed, act);
      const { change, enqueue, log } = decide(stored.value);
      if (change === null) return { record: stored.value, isChanged: false };
      const record: PodRecord = { ...stored.value, ...change, updatedAtMs: parts.clock.now() };
      const result = await parts.store.commit({
        puts: [podPut(record, stored.revision)],
        ...(enqueue === true ? { enqueue: [{ key, share: shareOf(stored.value) }] } : {}),
      });
      if (result.kind === 'committed') {
        if (log !== undefined) await noteAction(parts, record, log);
        return { record, isChanged: true };
      }
      // Replicas that collided once should not do so in step; within this process the mutex has seen to it.
      if (attempt > 2) await delay(Math.random() * PAUSE_MAX_MS);
    }
    throw new PodgateError('api.conflict', {
      publicMessages: [`Pod ${podId} is being changed by too many others; try again.`],
    });
  });
}
