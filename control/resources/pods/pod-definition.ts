import { openEnvironment } from '../../../core/environment.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { Caller } from '../../auth/authenticator.ts';
import { checkFields } from '../../http/field-checks.ts';
import { noteAction, type PodParts } from './pod-parts.ts';
import { readPod } from './pod-objects.ts';
import { stanzaAnswer, volumeMountAnswer } from './response.ts';
import { sleepAnswer } from './sleep/sleep-rules.ts';
import { wireFields } from './wire-names.ts';
import type { PodRecord } from '../../../core/pod.ts';

/**
 * What a pod is made of, as the definition of a template's tag: with what its own template adds, and with references in
 * place of secrets. ADMIN. Throws 'api.conflict' when its variables cannot be opened, 'api.invalid' when what it has is
 * beyond today's limits.
 */
export async function readDefinition(
  parts: PodParts,
  caller: Caller,
  podId: string,
): Promise<Readonly<Record<string, unknown>>> {
  const { value } = await readPod(parts, caller, podId, 'ADMIN', 'Saving');
  const { values, problems } = checkFields(parts.schemas.PodDefinition, definitionOf(parts, value));
  if (problems.length > 0) throw new PodgateError('api.invalid', { publicMessages: problems });
  return values;
}

/** Says in the log of actions where the pod was saved. */
export async function noteSaved(parts: PodParts, caller: Caller, podId: string, reference: string): Promise<void> {
  const { value } = await readPod(parts, caller, podId, 'ADMIN', 'Saving');
  await noteAction(parts, value, `'${caller.username}' saved pod as ${reference}`);
}

/** Under the names of the wire. Throws as readDefinition does. */
export function definitionOf({ vault, templates }: PodParts, record: PodRecord): Record<string, unknown> {
  const { spec } = record;
  const secretMap = Object.entries(spec.secretMap ?? {}).map(([key, { reference }]) => [key, reference] as const);
  return {
    ...(templates.find(spec.template) === null ? { image: spec.template } : { template: spec.template }),
    description: spec.description,
    command: spec.command,
    arguments: spec.arguments,
    environment_variables: variablesOf(vault, record),
    secret_map: Object.fromEntries(secretMap),
    volume_mounts: Object.fromEntries(spec.volumeMounts.map(mountDefinition)),
    time_to_stop_default: spec.timeToStopDefault,
    ...(spec.sleep === undefined ? {} : { sleep: sleepAnswer(spec) }),
    networking: Object.fromEntries(
      Object.entries(spec.networking).map(([name, stanza]) => [name, stanzaAnswer(stanza)]),
    ),
    ...(spec.persistentVolume ? { persistent_volume: true } : {}),
    resources: wireFields(spec.resources),
  };
}

/** Without the user who mounted it: that becomes the user who creates a pod from the definition. */
function mountDefinition(mount: PodRecord['spec']['volumeMounts'][number]): [string, object] {
  const [key, answer] = volumeMountAnswer(mount);
  return [key, Object.fromEntries(Object.entries(answer).filter(([field]) => field !== 'mounted_by'))];
}

function variablesOf(vault: PodParts['vault'], { uid, podId, spec }: PodRecord): Readonly<Record<string, string>> {
  try {
    return openEnvironment(vault, uid, spec.environmentVariables);
  } catch (error) {
    throw new PodgateError('api.conflict', {
      publicMessages: [`The environment variables of pod ${podId} cannot be decrypted; set them again.`],
      cause: error,
    });
  }
}
