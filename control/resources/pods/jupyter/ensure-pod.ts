import { PodgateError } from '../../../../core/errors.ts';
import type { PodRecord } from '../../../../core/pod.ts';
import type { Caller } from '../../../auth/authenticator.ts';
import type { PodService } from '../pod-service.ts';
import type { PodSchemas } from '../schema.ts';
import { writtenPodOf } from '../written-pod.ts';
import type { TemplateTags } from '../template-tags.ts';

/** The template, of the caller's tenant, that Jupyter pods are made from. */
export const JUPYTER_TEMPLATE = 'jupyterlab';
/** Of a user name in a pod id, which is part of host names. */
const NAME_MAX_LENGTH = 24;

export interface JupyterParts {
  readonly pods: PodService;
  readonly tags: Pick<TemplateTags, 'chain'>;
  readonly schemas: PodSchemas;
}

export interface EnsuredPod {
  readonly record: PodRecord;
  readonly how: 'found' | 'started' | 'created';
}

/**
 * A pod of the caller's own that was made from JUPYTER_TEMPLATE: one that is ON, else one that is started now, else a new
 * one. Throws 'api.not-found' when the caller has no such template, and what creating or starting a pod throws.
 */
export async function ensureJupyterPod(parts: JupyterParts, caller: Caller): Promise<EnsuredPod> {
  const existing = await existingPod(parts, caller);
  if (existing !== null) return existing;
  if ((await parts.tags.chain(caller, JUPYTER_TEMPLATE)) === null) {
    throw new PodgateError('api.not-found', {
      publicMessages: [
        `There is no template '${JUPYTER_TEMPLATE}' that you may use. An administrator can publish one: see docs/templates.md.`,
      ],
    });
  }
  const body = {
    pod_id: `${podName(caller.username)}jupyter`,
    template: JUPYTER_TEMPLATE,
    description: `Jupyter of ${caller.username}`,
  };
  try {
    return { record: await parts.pods.create(caller, writtenPodOf(parts.schemas.NewPod, body)), how: 'created' };
  } catch (error) {
    // Two calls at once: the other one has created it.
    const made =
      error instanceof PodgateError && error.code === 'api.conflict' ? await existingPod(parts, caller) : null;
    if (made === null) throw error;
    return made;
  }
}

async function existingPod({ pods }: JupyterParts, caller: Caller): Promise<EnsuredPod | null> {
  let stopped: PodRecord | null = null;
  for await (const page of pods.list(caller)) {
    for (const record of page) {
      if (record.createdBy !== caller.username || !isJupyterPod(record)) continue;
      const hasEnded = record.status === 'ERROR' || record.status === 'COMPLETE';
      if (record.wish !== 'OFF' && !hasEnded) return { record, how: 'found' };
      stopped ??= record;
    }
  }
  if (stopped === null) return null;
  return { record: (await pods.start(caller, stopped.podId)).record, how: 'started' };
}

export function isJupyterPod({ spec, deleting }: Pick<PodRecord, 'spec' | 'deleting'>): boolean {
  const reference = spec.fromTemplate?.reference ?? '';
  return deleting === null && reference.startsWith(`${JUPYTER_TEMPLATE}:`);
}

/** What a pod id may have of a user name: it begins with a letter, and small letters and digits follow. */
function podName(username: string): string {
  return username
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, '')
    .replace(/^[0-9]+/, '')
    .slice(0, NAME_MAX_LENGTH);
}
