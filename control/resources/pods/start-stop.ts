import { awake, startRunChange } from '../../../core/lifecycle/plan.ts';
import type { PodRecord, Wish } from '../../../core/pod.ts';
import type { Caller } from '../../auth/authenticator.ts';
import { changePod, type ChangedPod, type PodChange } from './pod-objects.ts';
import type { KeyedMutex } from '../../objects/keyed-mutex.ts';
import { takeNewestTag } from './newest-tag.ts';
import type { PodParts } from './pod-parts.ts';

/** What a wish does to the record: ON for what is STOPPED or ASLEEP begins a run at once, the rest is the health loop's. */
export function wishChange(record: PodRecord, wish: Wish): Pick<PodChange, 'change' | 'enqueue'> {
  const change = awake(record);
  if (wish !== 'OFF' && (record.status === 'STOPPED' || record.status === 'ASLEEP')) {
    return { change: { ...startRunChange(record), ...change }, enqueue: true };
  }
  const isChanged = wish !== record.wish || change.sleep === null;
  return { change: isChanged ? { ...change, wish } : null };
}

/**
 * ON. What has come to an end (ERROR, COMPLETE) starts anew, as by a restart; a restart on its way goes on; what is ON
 * already stays as it is.
 */
export function startPod(parts: PodParts, mutex: KeyedMutex, caller: Caller, podId: string): Promise<ChangedPod> {
  return wishPod(parts, mutex, caller, podId, {
    act: 'Starting',
    log: 'ran start_pod, set to ON and REQUESTED',
    wishOf: (record) => {
      if (record.wish === 'RESTART') return 'RESTART';
      return record.status === 'ERROR' || record.status === 'COMPLETE' ? 'RESTART' : 'ON';
    },
  });
}

/** OFF, whatever is going on; it interrupts a creation. */
export function stopPod(parts: PodParts, mutex: KeyedMutex, caller: Caller, podId: string): Promise<ChangedPod> {
  return wishPod(parts, mutex, caller, podId, {
    act: 'Stopping',
    log: 'ran stop_pod, set to OFF',
    wishOf: () => 'OFF',
  });
}

/** OFF, then ON once STOPPED; what is STOPPED already starts. On request with the newest version of its template's tag. */
export async function restartPod(
  parts: PodParts,
  mutex: KeyedMutex,
  caller: Caller,
  podId: string,
  { takesNewestTag }: { readonly takesNewestTag: boolean },
): Promise<ChangedPod> {
  if (takesNewestTag) await takeNewestTag(parts, mutex, caller, podId);
  return await wishPod(parts, mutex, caller, podId, {
    act: 'Restarting',
    log: 'ran restart_pod, set to RESTART',
    wishOf: () => 'RESTART',
  });
}

interface WishRequest {
  readonly act: string;
  readonly log: string;
  readonly wishOf: (record: PodRecord) => Wish;
}

function wishPod(
  parts: PodParts,
  mutex: KeyedMutex,
  caller: Caller,
  podId: string,
  { act, log, wishOf }: WishRequest,
): Promise<ChangedPod> {
  return changePod(parts, mutex, {
    caller,
    id: podId,
    needed: 'ADMIN',
    act,
    decide: (record) => ({ ...wishChange(record, wishOf(record)), log: `'${caller.username}' ${log}` }),
  });
}
