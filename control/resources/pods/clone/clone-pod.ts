import { PodgateError } from '../../../../core/errors.ts';
import type { PodRecord } from '../../../../core/pod.ts';
import type { Caller } from '../../../auth/authenticator.ts';
import type { KeyedMutex } from '../../../objects/keyed-mutex.ts';
import type { SnapshotPod } from '../../../../core/volume.ts';
import { createPod } from '../create-pod.ts';
import { definitionOf } from '../pod-definition.ts';
import { readPod } from '../pod-objects.ts';
import { noteAction, type PodParts } from '../pod-parts.ts';
import { readCredentials } from '../read-pods.ts';
import { writtenPodOf } from '../written-pod.ts';
import { chooseSnapshot, type SnapshotChoice } from './choose-snapshot.ts';
import { requireOwnPermission } from './require-own-permission.ts';

export interface CloneRequest extends SnapshotChoice {
  /** Whose settings are copied, and whose data unless a snapshot is chosen. */
  readonly podId: string;
  readonly newPodId: string;
}

/**
 * Creates a pod like another one, whose data begins as a copy of that one's, made at its start. It has the same user
 * name, which the data refers to, and a password of its own. USER on the original. Throws what createPod throws, and
 * 'api.not-available' where the data of that template cannot be cloned.
 */
export async function clonePod(
  parts: PodParts,
  mutex: KeyedMutex,
  caller: Caller,
  { podId, newPodId, ...choice }: CloneRequest,
): Promise<PodRecord> {
  const source = await readSource(parts, caller, podId, 'Cloning');
  requireClonable(parts, source);
  const snapshot = await chooseSnapshot(parts, caller, source, choice);
  if (snapshot === null) requireData(source);
  const { username } = snapshot?.pod ?? (await readCredentials(parts, caller, podId));
  const written = writtenPodOf(parts.schemas.NewPod, {
    ...definitionOf(parts, source),
    ...templateAsWritten(parts, source),
    pod_id: newPodId,
    data_requests: source.spec.dataRequests,
    roles_required: source.spec.rolesRequired,
  });
  const record = await createPod(parts, mutex, caller, written, {
    clonedFrom:
      snapshot === null
        ? { podId, uid: source.uid, by: caller.username }
        : { podId, snapshotId: snapshot.snapshotId, uid: snapshot.uid, by: caller.username },
    username,
  });
  const of = snapshot === null ? '' : ` with the data of snapshot ${snapshot.snapshotId}`;
  await noteAction(parts, source, `'${caller.username}' cloned pod to ${newPodId}${of}`);
  return record;
}

/** For a snapshot of its data. Throws as clonePod does. */
export async function readSnapshotPod(
  parts: PodParts,
  caller: Caller,
  podId: string,
): Promise<{ readonly pod: SnapshotPod; readonly note: (snapshotId: string) => Promise<void> }> {
  const source = await readSource(parts, caller, podId, 'Taking a snapshot');
  requireClonable(parts, source);
  requireData(source);
  const { username } = await readCredentials(parts, caller, podId);
  return {
    pod: { podId, uid: source.uid, template: source.spec.template, username },
    note: (snapshotId) => noteAction(parts, source, `'${caller.username}' took snapshot ${snapshotId} of the data`),
  };
}

async function readSource(parts: PodParts, caller: Caller, podId: string, act: string): Promise<PodRecord> {
  const { value: source } = await readPod(parts, caller, podId, 'USER', act);
  requireOwnPermission(source, caller, { act, on: `pod ${podId}` });
  return source;
}

/** For people: `postgres`, where the definition has `template/postgres`. A template of a user's is in the definition. */
function templateAsWritten({ templates }: PodParts, { spec }: PodRecord): { readonly template?: string } {
  const isOfCatalog = spec.fromTemplate === undefined && templates.find(spec.template) !== null;
  return isOfCatalog ? { template: spec.writtenTemplate } : {};
}

function requireClonable({ orchestrator, allowsImages }: PodParts, { spec }: PodRecord): void {
  const { clones = new Set() } = orchestrator;
  if (!clones.has(spec.template)) {
    const others = clones.size === 0 ? '' : ` of ${spec.template}, only of ${[...clones].sort().join(', ')}`;
    const reason = allowsImages
      ? ', because they run in a cluster: create a pod and load a dump of the data into it'
      : '';
    throw new PodgateError('api.not-available', {
      publicMessages: [`This installation cannot clone pods${others}${reason}.`],
    });
  }
}

function requireData({ podId, run }: PodRecord): void {
  if (run === 0) {
    throw new PodgateError('api.conflict', { publicMessages: [`Pod ${podId} has no data yet: start it first.`] });
  }
}
