import { isDeepStrictEqual } from 'node:util';

import { sealEnvironment } from '../../../core/environment.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { PodRecord, PodSpec } from '../../../core/pod.ts';
import { parseTemplateReference, tagReference } from '../../../core/template-record.ts';
import type { Caller } from '../../auth/authenticator.ts';
import type { KeyedMutex } from '../../objects/keyed-mutex.ts';
import { camelFields } from '../../http/camel-fields.ts';
import { checkFields } from '../../http/field-checks.ts';
import { allowedImages } from './allowed-images.ts';
import { mapSecrets, requireSecrets } from './map-secrets.ts';
import { mountsBy, requireMounts } from './named-mounts.ts';
import { definitionOf } from './pod-definition.ts';
import { changePod, readPod } from './pod-objects.ts';
import type { PodParts } from './pod-parts.ts';
import { volumeMountAnswer } from './response.ts';
import { ruleContext } from './rule-context.ts';
import { type RuleContext, specOfFields, specOfNewPod } from './rules.ts';
import { fieldsOfTags, MAPS, mergeFields, overridden } from './template-fields.ts';
import type { PodFields } from './written-pod.ts';

/** Compared as a whole. */
const WHOLE = ['description', 'command', 'arguments', 'persistentVolume', 'timeToStopDefault', 'sleep'] as const;

/**
 * Moves a pod to the newest version of the tag that it was made from, for its next start: what it has of the older version
 * is replaced, and what its user has written stays. A pod that is made from no template of a user, or from the newest
 * version, stays as it is. Throws what `changePod` does, 'api.invalid' when the newest version does not suit the pod,
 * 'api.conflict' when the pod is changed meanwhile.
 */
export async function takeNewestTag(parts: PodParts, mutex: KeyedMutex, caller: Caller, podId: string): Promise<void> {
  const { value: record } = await readPod(parts, caller, podId, 'ADMIN', 'Restarting');
  const spec = await newestSpec(parts, caller, record);
  if (spec === null) return;
  await requireSecrets(parts, record, spec, caller.username);
  await requireMounts(parts, record, spec, caller.username);
  await changePod(parts, mutex, {
    ...{ caller, id: podId, needed: 'ADMIN', act: 'Restarting' },
    decide: (now) => {
      if (!isDeepStrictEqual(now.spec, record.spec)) {
        throw new PodgateError('api.conflict', {
          publicMessages: [`Pod ${podId} was changed at the same time; try again.`],
        });
      }
      return {
        change: { spec, generation: now.generation + 1 },
        log: `'${caller.username}' took ${spec.fromTemplate?.reference ?? ''}`,
      };
    },
  });
}

/** Null: the pod has it. */
async function newestSpec(parts: PodParts, caller: Caller, record: PodRecord): Promise<PodSpec | null> {
  const { fromTemplate: origin } = record.spec;
  const parsed = origin === undefined ? null : parseTemplateReference(origin.reference);
  if (origin === undefined || parsed === null) return null;
  const name = `${parsed.templateId}:${parsed.tag}`;
  const newest = await parts.tags.chain(caller, name);
  const [tag] = newest ?? [];
  if (newest === null || tag === undefined) {
    throw new PodgateError('api.conflict', {
      publicMessages: [`Template ${name} was deleted; restart without grab_latest_template_tag.`],
    });
  }
  const reference = tagReference(tag);
  if (reference === origin.reference) return null;

  const problems: string[] = [];
  const base = overridden(fieldsOfTags(parts, newest), origin.overrides, problems);
  const imageAllowList = await allowedImages(parts, record.tenant, [base.image, base.template]);
  const context: RuleContext = {
    ...ruleContext({ ...parts, imageAllowList }, record, caller.username),
    // What stays the same stays as it is stored.
    sealEnvironment: (values) => sealEnvironment(parts.vault, record.uid, values, record.spec.environmentVariables),
    mountsBy: (mounts) => mountsBy(caller.username, mounts, record.spec.volumeMounts),
    mapSecrets: (references) =>
      mapSecrets(parts, { uid: record.uid, writer: caller.username }, references, record.spec.secretMap ?? {}),
  };
  const former = await parts.tags.read(record.tenant, origin.reference);
  const formerBase = former === null ? {} : overridden(fieldsOfTags(parts, former), origin.overrides, []);
  const own = ownFields(parts, record, formerBase, specOfFields(formerBase, context));
  const fields: PodFields = {
    ...mergeFields(base, own),
    podId: record.podId,
    dataRequests: [...record.spec.dataRequests],
    rolesRequired: [...record.spec.rolesRequired],
  };
  const builtin = (fields.image ?? '') === '' ? (parts.templates.find(fields.template ?? '')?.name ?? null) : null;
  const present = parts.templates.find(record.spec.template)?.name ?? null;
  if (builtin !== present) {
    // Its data and credentials are those of the other.
    throw new PodgateError('api.conflict', {
      publicMessages: [
        `${reference} runs ${builtin ?? fields.image ?? ''} in place of ${record.spec.template}; create another pod.`,
      ],
    });
  }
  const ruled = specOfNewPod({ fields, problems, refused: new Set() }, context);
  if (ruled.kind === 'refused') {
    const publicMessages = ruled.problems.map((problem) => `${reference}: ${problem}`);
    throw new PodgateError('api.invalid', { publicMessages });
  }
  const { spec } = ruled.value;
  const { writtenTemplate } = record.spec;
  return { ...spec, writtenTemplate, fromTemplate: { reference, overrides: origin.overrides } };
}

/** What a pod has that its template does not say. An entry that the template has and the pod does not is null. */
function ownFields(parts: PodParts, { spec, ...record }: PodRecord, base: PodFields, baseSpec: PodSpec): PodFields {
  const { values } = checkFields(parts.schemas.PodDefinition, definitionOf(parts, { spec, ...record }));
  const present = camelFields(parts.schemas.PodDefinition, values) as PodFields;
  const isOf = {
    environmentVariables: (name: string) => present.environmentVariables?.[name] === base.environmentVariables?.[name],
    secretMap: (key: string) => present.secretMap?.[key] === base.secretMap?.[key],
    networking: (name: string) => isDeepStrictEqual(spec.networking[name], baseSpec.networking[name]),
    volumeMounts: (key: string) => isDeepStrictEqual(mountOf(spec, key), mountOf(baseSpec, key)),
    resources: (name: string) =>
      spec.resources[name as keyof PodSpec['resources']] === baseSpec.resources[name as keyof PodSpec['resources']],
  } as const satisfies Record<(typeof MAPS)[number], (name: string) => boolean>;
  const own: Record<string, unknown> = {};
  for (const field of WHOLE) if (!isDeepStrictEqual(spec[field], baseSpec[field])) own[field] = present[field];
  if (spec.sleep === undefined && baseSpec.sleep !== undefined) own['sleep'] = null;
  if (present.image !== base.image) own['image'] = present.image;
  for (const map of MAPS) {
    const [mine, theirs]: readonly [object, object] = [present[map] ?? {}, base[map] ?? {}];
    const kept = Object.entries(mine).filter(([name]) => !isOf[map](name));
    const removed = Object.keys(theirs).filter((name) => !Object.hasOwn(mine, name));
    if (kept.length + removed.length === 0) continue;
    own[map] = { ...Object.fromEntries(kept), ...Object.fromEntries(removed.map((name) => [name, null])) };
  }
  return Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined));
}

function mountOf({ volumeMounts }: PodSpec, key: string): PodSpec['volumeMounts'][number] | undefined {
  return volumeMounts.find((mount) => volumeMountAnswer(mount)[0] === key);
}
