import { mayClone } from '../../../../core/data-origin.ts';
import { PodgateError } from '../../../../core/errors.ts';
import { listAll } from '../../../../core/list-all.ts';
import type { PodRecord } from '../../../../core/pod.ts';
import type { SnapshotPod, SnapshotRecord } from '../../../../core/volume.ts';
import { podSnapshotIndex } from '../../../../core/volume-put.ts';
import type { Caller } from '../../../auth/authenticator.ts';
import { readObject } from '../../../objects/access.ts';
import { snapshotObjects } from '../../../objects/files/files-record.ts';
import type { PodParts } from '../pod-parts.ts';
import { requireOwnPermission } from './require-own-permission.ts';

/** A complete snapshot of the data of a pod. */
export interface ChosenSnapshot {
  readonly snapshotId: string;
  readonly uid: string;
  readonly pod: SnapshotPod;
}

export interface SnapshotChoice {
  /** By its name; null: not by it. */
  readonly snapshotId: string | null;
  /** The newest of this time or before, as ISO 8601; null: not by it. */
  readonly at: string | null;
}

/** Null: none is asked for. Throws PodgateError when there is none for the caller. USER on it, by their own permission. */
export async function chooseSnapshot(
  parts: Pick<PodParts, 'store'>,
  caller: Caller,
  pod: PodRecord,
  { snapshotId, at }: SnapshotChoice,
): Promise<ChosenSnapshot | null> {
  if (snapshotId !== null && at !== null) {
    throw new PodgateError('api.invalid', { publicMessages: ['give snapshot_id or at, not both'] });
  }
  if (snapshotId !== null) return await named(parts, caller, pod, snapshotId);
  return at === null ? null : await newestAt(parts, caller, pod, at);
}

async function named(
  { store }: Pick<PodParts, 'store'>,
  caller: Caller,
  pod: PodRecord,
  snapshotId: string,
): Promise<ChosenSnapshot> {
  const request = { caller, id: snapshotId, needed: 'USER', act: 'Cloning' } as const;
  const { value } = await readObject(snapshotObjects(store), request);
  requireOwnPermission(value, caller, { act: 'Cloning', on: `snapshot ${snapshotId}` });
  const { sourcePod } = value;
  if (sourcePod === undefined) {
    throw conflict(`snapshot_id: ${snapshotId} is of volume ${value.sourceVolumeId}, not of the data of a pod.`);
  }
  if (sourcePod.template !== pod.spec.template) {
    throw conflict(
      `snapshot_id: ${snapshotId} is of a pod of ${sourcePod.template}, and pod ${pod.podId} is one of ${pod.spec.template}.`,
    );
  }
  if (value.status !== 'AVAILABLE') {
    throw conflict(`snapshot_id: ${snapshotId} is ${value.status}; only what is AVAILABLE can be cloned.`);
  }
  return { snapshotId, uid: value.uid, pod: sourcePod };
}

async function newestAt(
  { store }: Pick<PodParts, 'store'>,
  caller: Caller,
  { tenant, uid, podId, spec }: PodRecord,
  at: string,
): Promise<ChosenSnapshot> {
  const atMs = Date.parse(at);
  let newest: (SnapshotRecord & { readonly sourcePod: SnapshotPod }) | null = null;
  let oldest: SnapshotRecord | null = null;
  for await (const { value } of listAll(store, 'snapshot', { tenant, index: podSnapshotIndex(uid) })) {
    const { sourcePod } = value;
    if (sourcePod === undefined || value.status !== 'AVAILABLE' || sourcePod.template !== spec.template) continue;
    if (!mayClone(value, caller.username)) continue;
    if (oldest === null || takenAt(value) < takenAt(oldest)) oldest = value;
    if (takenAt(value) > atMs) continue;
    if (newest === null || takenAt(value) > takenAt(newest)) newest = { ...value, sourcePod };
  }
  if (newest !== null) return { snapshotId: newest.snapshotId, uid: newest.uid, pod: newest.sourcePod };
  throw conflict(
    oldest === null
      ? `at: there is no complete snapshot of the data of pod ${podId} on which you have USER: podgate snapshots create NAME --pod ${podId}`
      : `at: there is no snapshot of the data of pod ${podId} of then or before; the oldest is ${oldest.snapshotId}, of ${new Date(takenAt(oldest)).toISOString()}.`,
  );
}

function takenAt({ takenAtMs, createdAtMs }: SnapshotRecord): number {
  return takenAtMs ?? createdAtMs;
}

function conflict(sentence: string): PodgateError {
  return new PodgateError('api.conflict', { publicMessages: [sentence] });
}
