import { setTimeout as delay } from 'node:timers/promises';

import type { Clock } from '../../../core/clock.ts';
import type { Workloads } from '../../../core/workloads.ts';
import type { KeptVolumeRecord } from '../../../core/quota.ts';
import type { Store } from '../../../core/store.ts';
import { listAll } from '../../../core/list-all.ts';

/** How long a removal is waited for; an orchestrator may take longer, and the record then stays until the next try. */
const REMOVAL_MS = 30_000;
const LOOK_EVERY_MS = 200;

export interface KeptVolume extends KeptVolumeRecord {
  readonly key: string;
}

export type KeptVolumeRemoval =
  | { readonly kind: 'removed' }
  /** There is no such kept volume. */
  | { readonly kind: 'unknown' }
  /** The orchestrator has not finished: ask again. */
  | { readonly kind: 'pending' };

export interface KeptVolumeParts {
  readonly store: Store;
  readonly orchestrator: Pick<Workloads, 'observe' | 'remove'>;
  readonly clock: Clock;
}

/** What deletions with `?keep_volume=true` have left, for the operator. */
export async function listKeptVolumes({ store }: Pick<KeptVolumeParts, 'store'>): Promise<readonly KeptVolume[]> {
  const kept: KeptVolume[] = [];
  for await (const { key, value } of listAll(store, 'kept-volume')) kept.push({ key, ...value });
  return kept;
}

/**
 * Removes the data of a deleted pod, and its record once the data is seen to be gone: so long it counts. May be
 * interrupted and repeated. Throws when store or orchestrator do not answer.
 */
export async function removeKeptVolume(
  { store, orchestrator, clock }: KeptVolumeParts,
  key: string,
  signal: AbortSignal,
): Promise<KeptVolumeRemoval> {
  const stored = await store.get('kept-volume', key);
  if (stored === null) return { kind: 'unknown' };
  const { uid } = stored.value;
  const deadlineMs = clock.monotonicMs() + REMOVAL_MS;
  for (;;) {
    const seen = await orchestrator.observe(stored.value, signal);
    if (seen.kind === 'absent' && !seen.data) break;
    if (clock.monotonicMs() >= deadlineMs) return { kind: 'pending' };
    await orchestrator.remove(stored.value, { data: 'delete', run: Number.MAX_SAFE_INTEGER }, signal);
    await delay(LOOK_EVERY_MS, undefined, { signal });
  }
  await store.commit({ deletes: [{ kind: 'kept-volume', key, expected: stored.revision, uid }] });
  return { kind: 'removed' };
}
