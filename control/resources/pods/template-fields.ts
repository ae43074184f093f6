import { openEnvironment } from '../../../core/environment.ts';
import { PodgateError } from '../../../core/errors.ts';
import type { TemplateOrigin, TemplateOverrides } from '../../../core/template-origin.ts';
import { tagReference, type TemplateTagRecord } from '../../../core/template-record.ts';
import type { Caller } from '../../auth/authenticator.ts';
import { camelFields } from '../../http/camel-fields.ts';
import { checkFields } from '../../http/field-checks.ts';
import type { PodParts } from './pod-parts.ts';
import { isImageAllowed } from './rules.ts';
import type { PodFields, WrittenPod } from './written-pod.ts';

/** Fields whose entries are merged one by one. */
export const MAPS = ['environmentVariables', 'secretMap', 'networking', 'volumeMounts', 'resources'] as const;
/** A source_id that the creator of a pod must supply: `${:?what it is}`. */
const PLACEHOLDER = /^\$\{:\?([^}]*)\}$/;

type Parts = Pick<PodParts, 'tags' | 'vault' | 'templates' | 'schemas' | 'allowsImages' | 'imageAllowList'>;

/** What was written for a new pod with what its template adds, and which template that is; null: none of a user. */
export interface ExpandedPod {
  readonly written: WrittenPod;
  readonly origin: { readonly fromTemplate: TemplateOrigin; readonly writtenTemplate: string } | null;
}

/**
 * Fills in what the template of a user says. Fields that were written win: for environment variables, secrets, stanzas
 * and mounts entry by entry, for resources number by number; a mount that is null is taken away. Throws 'api.forbidden'
 * without READ on the template, 'api.invalid' when it has no such tag.
 */
export async function expandTemplate(parts: Parts, caller: Caller, written: WrittenPod): Promise<ExpandedPod> {
  const named = withoutLatest(written, parts.templates);
  const { fields, refused } = named;
  const { podTemplate = '', template = '', templateOverrides = null } = fields;
  const name = template === '' ? podTemplate : template;
  const isOwn =
    name === '' ||
    refused.has('template') ||
    refused.has('podTemplate') ||
    (template !== '' && podTemplate !== '' && template !== podTemplate) ||
    parts.templates.find(name) !== null ||
    // Nobody makes others run something else by naming a template like an image.
    (template === '' && parts.allowsImages && isImageAllowed(name, parts.imageAllowList));
  const tags = isOwn ? null : await parts.tags.chain(caller, name);
  const [tag] = tags ?? [];
  if (tags === null || tag === undefined) {
    const problem = 'template_overrides: is for pods that are made from a template of a user';
    const isIdle = templateOverrides === null || Object.keys(templateOverrides).length === 0;
    return { written: isIdle ? named : withProblems(named, [problem]), origin: null };
  }
  const problems: string[] = [];
  const base = overridden(fieldsOfTags(parts, tags), templateOverrides, problems);
  const own = withoutNames(fields);
  const merged = mergeFields(base, withStanza(own, base));
  problems.push(...missingSources(merged));
  return {
    written: withProblems({ ...named, fields: merged }, problems),
    origin: {
      fromTemplate: {
        reference: tagReference(tag),
        overrides: templateOverrides,
      },
      writtenTemplate: name,
    },
  };
}

/**
 * What was written in an update, with the entries of the template beside those of its own. `origin`: of the pod. A
 * template that has been deleted adds nothing.
 */
export async function expandUpdate(
  parts: Parts,
  { tenant, origin }: { readonly tenant: string; readonly origin: TemplateOrigin },
  written: WrittenPod,
): Promise<WrittenPod> {
  const tags = await parts.tags.read(tenant, origin.reference);
  if (tags === null) return written;
  const base = overridden(fieldsOfTags(parts, tags), origin.overrides, []);
  const own = withStanza(written.fields, base);
  const fields: Record<string, unknown> = { ...own };
  for (const map of MAPS) {
    // Resources that are not given keep their values, whichever template set them.
    if (own[map] !== undefined && map !== 'resources') fields[map] = mergeEntries(base[map], own[map]);
  }
  const merged = fields as PodFields;
  return withProblems({ ...written, fields: merged }, missingSources(merged));
}

/** Of the tags of a chain, the nearest first. Throws 'api.invalid' when a definition is beyond today's limits. */
export function fieldsOfTags({ vault, schemas }: Parts, tags: readonly TemplateTagRecord[]): PodFields {
  let merged: PodFields = {};
  for (const tag of tags.toReversed()) {
    const variables = openEnvironment(vault, tag.uid, tag.environmentVariables);
    const body = {
      ...tag.definition,
      ...(Object.keys(variables).length === 0 ? {} : { environment_variables: variables }),
    };
    const { values, problems } = checkFields(schemas.PodDefinition, body);
    if (problems.length > 0) {
      const reference = tagReference(tag);
      throw new PodgateError('api.invalid', {
        publicMessages: problems.map((problem) => `template ${reference}: ${problem}`),
      });
    }
    const { template, ...own } = camelFields(schemas.PodDefinition, values) as PodFields;
    // The template of a tag that has a parent is that parent, which is below already.
    merged = mergeFields(merged, tag.parent !== null || template === undefined ? own : { ...own, template });
  }
  return merged;
}

/** `above` wins. An image takes the place of a template of the program, and the other way round. */
export function mergeFields(below: PodFields, above: PodFields): PodFields {
  const { image, template, ...others } = below;
  const isRunSaid = (above.image ?? '') !== '' || (above.template ?? '') !== '';
  const merged: Record<string, unknown> = {
    ...others,
    ...(isRunSaid ? {} : { ...(image !== undefined && { image }), ...(template !== undefined && { template }) }),
    ...above,
  };
  for (const map of MAPS) {
    if (below[map] !== undefined || above[map] !== undefined) merged[map] = mergeEntries(below[map], above[map]);
  }
  return merged;
}

function withoutNames(fields: PodFields): PodFields {
  const named: ReadonlySet<string> = new Set(['podTemplate', 'template', 'templateOverrides']);
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !named.has(name)));
}

function mergeEntries(below: object | undefined, above: object | undefined): object {
  return Object.fromEntries(Object.entries({ ...below, ...above }).filter(([, value]) => value !== null));
}

/** With what was changed of the template; what it does not have is a problem. */
export function overridden(base: PodFields, overrides: TemplateOverrides | null, problems: string[]): PodFields {
  if (overrides === null) return base;
  const mounts: Record<string, unknown> = { ...base.volumeMounts };
  for (const [path, change] of Object.entries(overrides.volumeMounts ?? {})) {
    const mount = Object.hasOwn(mounts, path) ? mounts[path] : undefined;
    if (typeof mount !== 'object') {
      problems.push(`template_overrides.volume_mounts: the template has no mount ${JSON.stringify(path)}`);
    } else mounts[path] = { ...mount, ...change };
  }
  const secretMap = { ...base.secretMap };
  for (const [key, value] of Object.entries(overrides.secretMap ?? {})) {
    if (!Object.hasOwn(secretMap, key)) {
      problems.push(`template_overrides.secret_map: the template has no ${JSON.stringify(key)}`);
    } else secretMap[key] = value;
  }
  return {
    ...base,
    ...(base.volumeMounts === undefined ? {} : { volumeMounts: mounts as NonNullable<PodFields['volumeMounts']> }),
    ...(base.secretMap === undefined ? {} : { secretMap }),
  };
}

/** routing_port says networking.default: beside the stanzas of a template that is what is written. */
function withStanza(own: PodFields, base: PodFields): PodFields {
  if (own.routingPort === undefined || own.networking !== undefined || base.networking === undefined) return own;
  const { routingPort, ...others } = own;
  return { ...others, networking: { default: { protocol: 'http', port: routingPort } } };
}

function missingSources({ volumeMounts }: PodFields): readonly string[] {
  return Object.entries(volumeMounts ?? {}).flatMap(([path, mount]) => {
    const [, what] = PLACEHOLDER.exec(mount?.sourceId ?? '') ?? [];
    if (what === undefined) return [];
    return [
      `volume_mounts.${path}.source_id: needs a value${what === '' ? '' : `: ${what}`}; give it in template_overrides`,
    ];
  });
}

/** A template of the program has one tag: `template/postgres:latest` is `template/postgres`. */
function withoutLatest(written: WrittenPod, catalog: PodParts['templates']): WrittenPod {
  const { podTemplate, template } = written.fields;
  const plain = (name: string | undefined): string | undefined => {
    const stripped = name?.endsWith(':latest') === true ? name.slice(0, -':latest'.length) : name;
    return stripped !== undefined && catalog.find(stripped) !== null ? stripped : name;
  };
  const [plainPodTemplate, plainTemplate] = [plain(podTemplate), plain(template)];
  if (plainPodTemplate === podTemplate && plainTemplate === template) return written;
  return {
    ...written,
    fields: {
      ...written.fields,
      ...(plainPodTemplate === undefined ? {} : { podTemplate: plainPodTemplate }),
      ...(plainTemplate === undefined ? {} : { template: plainTemplate }),
    },
  };
}

function withProblems(written: WrittenPod, problems: readonly string[]): WrittenPod {
  return problems.length === 0 ? written : { ...written, problems: [...written.problems, ...problems] };
}
