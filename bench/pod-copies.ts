import type { PodRecord } from '../core/pod.ts';
import { podPut } from '../core/pod-put.ts';
import type { Store } from '../core/store.ts';

const BATCH = 500;

/** Puts so many pods like `model` into a store, without the API. */
export async function addCopies(
  store: Pick<Store, 'commit'>,
  model: PodRecord,
  { count, prefix }: { readonly count: number; readonly prefix: string },
): Promise<void> {
  for (let start = 0; start < count; start += BATCH) {
    const puts = Array.from({ length: Math.min(BATCH, count - start) }, (_, at) => {
      const podId = `${prefix}${String(start + at).padStart(7, '0')}`;
      return podPut({ ...model, podId, uid: `${model.uid}-${podId}` }, 'absent');
    });
    await store.commit({ puts });
  }
}
