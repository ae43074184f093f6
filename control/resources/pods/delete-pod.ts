import type { Caller } from '../../auth/authenticator.ts';
import { changePod, readPod } from './pod-objects.ts';
import type { KeyedMutex } from '../../objects/keyed-mutex.ts';
import type { Precondition } from '../../http/if-match.ts';
import type { PodParts } from './pod-parts.ts';
import { requireGeneration } from '../../objects/require-generation.ts';

/**
 * Marks the pod: from now on it is invisible and without a route. The health loop removes workload and data and purges
 * the record; until then its id is taken. Volumes that are kept still count against the quota of the pod's creator. Throws
 * 'api.forbidden' when they are more than the quota already.
 */
export async function deletePod(
  parts: PodParts,
  mutex: KeyedMutex,
  caller: Caller,
  podId: string,
  options: { readonly keepVolume: boolean; readonly precondition: Precondition },
): Promise<void> {
  if (options.keepVolume) {
    const { value } = await readPod(parts, caller, podId, 'ADMIN', 'Deleting');
    if (parts.usageOf(value).volumes > 0) await parts.admission.admitKeptVolumes(value);
  }
  await changePod(parts, mutex, {
    caller,
    id: podId,
    needed: 'ADMIN',
    act: 'Deleting',
    decide: (record) => {
      requireGeneration(options.precondition, record.generation, `Pod ${podId}`);
      const { volumes } = parts.usageOf(record);
      return {
        change: {
          deleting: {
            keepVolume: options.keepVolume,
            ...(options.keepVolume && volumes > 0 ? { volumes } : {}),
          },
          wish: 'OFF',
        },
        log: `'${caller.username}' ran delete_pod`,
      };
    },
  });
}
