import { PodgateError } from '../../../core/errors.ts';
import { podKey, RESERVED_POD_IDS } from '../../../core/ids.ts';
import type { PermissionLevel, PodRecord } from '../../../core/pod.ts';
import { podPut } from '../../../core/pod-put.ts';
import { queueKey, shareOf } from '../../../core/queue.ts';
import type { Enqueue, Stored } from '../../../core/store.ts';
import type { Caller } from '../../auth/authenticator.ts';
import { readObject } from '../../objects/access.ts';
import { changeObject, type ChangedObject, type ChangeRequest, type ObjectChange } from '../../objects/change.ts';
import type { KeyedMutex } from '../../objects/keyed-mutex.ts';
import type { ObjectKind } from '../../objects/object-kind.ts';
import { auditedPod } from './audited-pod.ts';
import { noteAction, type PodParts } from './pod-parts.ts';

export type PodChange = ObjectChange<PodRecord>;
export type ChangedPod = ChangedObject<PodRecord>;

/** Pods as objects. */
export function podObjects(parts: PodParts): ObjectKind<PodRecord> {
  return {
    noun: 'pod',
    keyOf: podKey,
    idOf: ({ podId }) => podId,
    get: (key) => parts.store.get('pod', key),
    put: podPut,
    enqueue: podEnqueue,
    usageOf: parts.usageOf,
    audited: auditedPod,
    note: (record, line) => noteAction(parts, record, line),
    notFound: podNotFound,
  };
}

/** The entry of a pod in the queue. */
export function podEnqueue(record: PodRecord): Enqueue {
  return { key: queueKey('pod', podKey(record.tenant, record.podId)), share: shareOf(record) };
}

export async function readPod(
  parts: PodParts,
  caller: Caller,
  podId: string,
  needed: PermissionLevel,
  act: string,
): Promise<Omit<Stored<'pod'>, 'kind'>> {
  return await readObject(podObjects(parts), { caller, id: podId, needed, act });
}

export async function changePod(
  parts: PodParts,
  mutex: KeyedMutex,
  request: ChangeRequest<PodRecord>,
): Promise<ChangedPod> {
  const { store, clock, admission } = parts;
  return await changeObject(podObjects(parts), { store, clock, admission, mutex }, request);
}

/** 'api.not-found', for a reserved id with the reason. */
export function podNotFound(podId: string): PodgateError {
  const shown = JSON.stringify(podId.slice(0, 64));
  const sentence = RESERVED_POD_IDS.has(podId)
    ? `${shown} is a reserved word, not a pod; this release has nothing at this path.`
    : `There is no pod ${shown}.`;
  return new PodgateError('api.not-found', { publicMessages: [sentence] });
}
