import type { Caller } from '../auth/authenticator.ts';
import { changePod } from './change-pod.ts';
import type { KeyedMutex } from './keyed-mutex.ts';
import type { PodParts } from './pod-parts.ts';
import { type Precondition, requireGeneration } from './update-pod.ts';

/**
 * Marks the pod: from now on it is invisible and without a route. The health loop removes workload and data and purges
 * the record; until then its id is taken.
 */
export async function deletePod(
  parts: PodParts,
  mutex: KeyedMutex,
  caller: Caller,
  podId: string,
  options: { readonly keepVolume: boolean; readonly precondition: Precondition },
): Promise<void> {
  await changePod(parts, mutex, {
    caller,
    podId,
    needed: 'ADMIN',
    act: 'Deleting',
    decide: (record) => {
      requireGeneration(record, options.precondition);
      return {
        change: { deleting: { keepVolume: options.keepVolume }, wish: 'OFF' },
        log: `'${caller.username}' ran delete_pod`,
      };
    },
  });
}
