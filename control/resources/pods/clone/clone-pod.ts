import { mayClone } from '../../../../core/data-origin.ts';
import { PodgateError } from '../../../../core/errors.ts';
import type { PodRecord } from '../../../../core/pod.ts';
import type { Caller } from '../../../auth/authenticator.ts';
import type { KeyedMutex } from '../../../objects/keyed-mutex.ts';
import { createPod } from '../create-pod.ts';
import { definitionOf } from '../pod-definition.ts';
import { readPod } from '../pod-objects.ts';
import { noteAction, type PodParts } from '../pod-parts.ts';
import { readCredentials } from '../read-pods.ts';
import { writtenPodOf } from '../written-pod.ts';

export interface CloneRequest {
  /** Whose data is copied. */
  readonly podId: string;
  readonly newPodId: string;
  /** A point in time, as written; null: now. */
  readonly at: string | null;
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
  { podId, newPodId, at }: CloneRequest,
): Promise<PodRecord> {
  const { value: source } = await readPod(parts, caller, podId, 'USER', 'Cloning');
  if (!mayClone(source, caller.username)) {
    throw new PodgateError('api.forbidden', {
      publicMessages: [
        `Cloning needs USER on pod ${podId} by a permission of your own: the data is copied later, without your token.`,
      ],
    });
  }
  requireClonable(parts, source);
  if (at !== null) {
    throw new PodgateError('api.invalid', {
      publicMessages: ['at: there is no copy of the data of that time; leave it out to clone the data of now'],
    });
  }
  const { username } = await readCredentials(parts, caller, podId);
  const written = writtenPodOf(parts.schemas.NewPod, {
    ...definitionOf(parts, source),
    ...templateAsWritten(parts, source),
    pod_id: newPodId,
    data_requests: source.spec.dataRequests,
    roles_required: source.spec.rolesRequired,
  });
  const record = await createPod(parts, mutex, caller, written, {
    clonedFrom: { podId, uid: source.uid, by: caller.username },
    username,
  });
  await noteAction(parts, source, `'${caller.username}' cloned pod to ${newPodId}`);
  return record;
}

/** For people: `postgres`, where the definition has `template/postgres`. A template of a user's is in the definition. */
function templateAsWritten({ templates }: PodParts, { spec }: PodRecord): { readonly template?: string } {
  const isOfCatalog = spec.fromTemplate === undefined && templates.find(spec.template) !== null;
  return isOfCatalog ? { template: spec.writtenTemplate } : {};
}

function requireClonable({ orchestrator, allowsImages }: PodParts, { podId, spec, run }: PodRecord): void {
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
  if (run === 0) {
    throw new PodgateError('api.conflict', { publicMessages: [`Pod ${podId} has no data yet: start it first.`] });
  }
}
