import type { Clock } from '../../../../core/clock.ts';
import { compareAndSet } from '../../../../core/compare-and-set.ts';
import type { PodRecord } from '../../../../core/pod.ts';
import { podPut } from '../../../../core/pod-put.ts';
import type { Store } from '../../../../core/store.ts';
import { ATTEMPTS_MAX } from '../../../objects/change.ts';
import { podEnqueue } from '../pod-objects.ts';

export interface RecordChange {
  readonly change: Partial<PodRecord>;
  readonly enqueue: boolean;
}

/** The record as written. Null: there was nothing to change, or too many others changed it at the same time. */
export async function changeRecord(
  { store, clock }: { readonly store: Pick<Store, 'get' | 'commit'>; readonly clock: Clock },
  key: string,
  decide: (record: PodRecord) => RecordChange | null,
): Promise<PodRecord | null> {
  const changed = await compareAndSet(async (): Promise<PodRecord | 'unchanged' | null> => {
    const stored = await store.get('pod', key);
    const decided = stored === null ? null : decide(stored.value);
    if (stored === null || decided === null) return 'unchanged';
    const next: PodRecord = { ...stored.value, ...decided.change, updatedAtMs: clock.now() };
    const { kind } = await store.commit({
      puts: [podPut(next, stored.revision)],
      enqueue: decided.enqueue ? [podEnqueue(next)] : [],
    });
    return kind === 'committed' ? next : null;
  }, ATTEMPTS_MAX);
  return changed === 'unchanged' ? null : changed;
}
