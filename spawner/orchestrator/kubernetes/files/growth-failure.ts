import { PodgateError } from '../../../../core/errors.ts';
import type { FilesRef } from '../../../../core/volume.ts';
import type { Refusal } from '../api/refusal.ts';

/** Why the API server does not let a claim grow, for who raised `size_limit`. Pure. */
export function growthFailure({ kind, id }: FilesRef, storageClass: string, refusal: Refusal): PodgateError {
  const { message } = refusal;
  if (/cannot patch resource/.test(message)) {
    return new PodgateError('orchestrator.unavailable', {
      publicMessages: [
        `Podgate's account in the cluster may not enlarge volumes: an operator must apply the Role of deploy/base/account.yaml.`,
      ],
    });
  }
  return new PodgateError('api.conflict', {
    publicMessages: [`size_limit: ${reasonOf(kind, id, storageClass, message)}`],
  });
}

function reasonOf(kind: string, id: string, storageClass: string, message: string): string {
  // Said by the admission plugin PersistentVolumeClaimResize.
  if (/must support resize|only dynamically provisioned/.test(message)) {
    return `the storage class ${JSON.stringify(storageClass)} of ${kind} ${id} does not let volumes grow. Create a larger ${kind} and restore a snapshot of this one to it, or ask an operator to set allowVolumeExpansion.`;
  }
  if (/exceeded quota/.test(message)) {
    return `a quota of the cluster does not let ${kind} ${id} grow so far. Choose a smaller size_limit, or ask an operator to raise it.`;
  }
  // A claim that waits for its first pod has no volume that could grow.
  if (/immutable/.test(message)) return `the storage of ${kind} ${id} is still being made. Try again in a minute.`;
  return `the cluster does not let ${kind} ${id} grow: ${message.replace(/\s+/g, ' ').slice(0, 300)}`;
}
