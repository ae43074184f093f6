import { PodgateError } from '../../../core/errors.ts';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import type { RemoveOptions } from '../../../core/workloads.ts';
import type { ClusterObjects } from './cluster-objects.ts';
import type { Collection, OwnedObject, PodView } from './objects.ts';

/** A Pod's status changes all the time: a deletion that names its version may come too late a few times. */
const TRIES = 5;

export type Removal =
  /** Its Pod is on its way out; the rest is removed when it has gone, since some of it fences the Pod. */
  | { readonly kind: 'ending' }
  /** A later run is there: nothing was touched. */
  | { readonly kind: 'newer' }
  /** All is gone, but maybe data that is to be kept. */
  | { readonly kind: 'removed' };

/**
 * Takes the removal of a workload as far as it goes now: the Pod; once no Pod of the uid is there, Secret, policy,
 * volumes if they are to go, and last the Service. Every deletion names the object and its version, so that a process
 * that was paused between the read and the deletion does not delete a newer object. Nothing is left to owner
 * references. A Pod that `isLost` is deleted without the word of its node (overdue-deletions.ts).
 */
export async function removeWorkload(
  objects: ClusterObjects,
  ref: WorkloadRef,
  options: RemoveOptions,
  isLost: (pod: PodView) => boolean,
  signal: AbortSignal,
): Promise<Removal> {
  const pod = await removePod(objects, ref, options.run, isLost, signal);
  if (pod !== null) return pod;
  const secret = await objects.readSecret(ref, signal);
  if (secret !== null) await removeObject(objects, 'secrets', secret, options.run, signal);
  for (const collection of ['networkpolicies', 'services'] as const) {
    // In this order, and data before the Service: as long as anything is left, the Service is the evidence of it.
    if (collection === 'services' && options.data === 'delete') await removeData(objects, ref, signal);
    for (const object of await objects.list(collection, ref.uid, signal)) {
      await removeObject(objects, collection, object, options.run, signal);
    }
  }
  return { kind: 'removed' };
}

/** Null: there is no Pod of this uid. */
async function removePod(
  objects: ClusterObjects,
  ref: WorkloadRef,
  run: number,
  isLost: (pod: PodView) => boolean,
  signal: AbortSignal,
): Promise<Removal | null> {
  let isForced = false;
  for (let tries = 0; tries < TRIES; tries += 1) {
    const pod: PodView | null = await objects.readPod(ref, signal);
    if (pod === null) return null;
    if (pod.run > run) return { kind: 'newer' };
    // Once: if it stays even then, a finalizer of somebody's holds it.
    if (pod.isDeleting && !isForced && isLost(pod)) {
      isForced = (await objects.delete('pods', pod, signal, 0)) === 'accepted';
      continue;
    }
    if (pod.isDeleting) return { kind: 'ending' };
    const deleted = await objects.delete('pods', pod, signal);
    if (deleted === 'accepted') return { kind: 'ending' };
  }
  throw new PodgateError('orchestrator.unavailable', { detail: 'the pod keeps changing while it is being deleted' });
}

async function removeData(objects: ClusterObjects, ref: WorkloadRef, signal: AbortSignal): Promise<void> {
  for (const claim of await objects.list('persistentvolumeclaims', ref.uid, signal)) {
    if (!claim.isDeleting) await objects.delete('persistentvolumeclaims', claim, signal);
  }
}

/** One that changed meanwhile is left to the next look: somebody is at work on it. */
async function removeObject(
  objects: ClusterObjects,
  collection: Collection,
  object: OwnedObject,
  run: number,
  signal: AbortSignal,
): Promise<void> {
  if (object.isDeleting || object.run > run) return;
  await objects.delete(collection, object, signal);
}
