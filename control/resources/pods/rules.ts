import { isDeepStrictEqual } from 'node:util';

import { DEFAULT_STANZA, podIdMaxLength, podIdProblem, stanzaProblem, type Place } from '../../../core/ids.ts';
import { imageRepository } from '../../../core/image-record.ts';
import type { StoredEnvironment } from '../../../core/environment.ts';
import { ownVolumesOf, type PodSpec, type Resources, type Stanza, type VolumeMount } from '../../../core/pod.ts';
import type { SecretMap } from '../../../core/secret-map.ts';
import type { Template, TemplateCatalog } from '../../../core/template.ts';
import {
  networkingProblems,
  stanzaProblems,
  templateOptionProblems,
  writtenLink,
  writtenLogin,
  writtenOptions,
} from './stanza-rules.ts';
import { placeholderProblems, secretMapOf } from './secret-rules.ts';
import { volumeMountsOf } from './volume-rules.ts';
import { sleepOf, sleepProblem } from './sleep/sleep-rules.ts';
import { wireName } from './wire-names.ts';
import type { PodFields, WrittenPod, WrittenStanza } from './written-pod.ts';

const DEFAULT_TIME_TO_STOP_SECONDS = 43_200;
const DEFAULT_NETWORKING_STANZA: Stanza = { protocol: 'http', port: 5000, ipAllowList: [] };

/**
 * When a change of a field takes effect. Ports and protocols of networking are at the next start, its policy at once (see
 * changedPolicy). The template never changes.
 */
export const TAKES_EFFECT = {
  description: 'at once',
  timeToStopDefault: 'at once',
  dataRequests: 'at once',
  rolesRequired: 'at once',
  sleep: 'at once',
  command: 'at start',
  arguments: 'at start',
  environmentVariables: 'at start',
  secretMap: 'at start',
  networking: 'at start',
  persistentVolume: 'at start',
  volumeMounts: 'at start',
  resources: 'at start',
} as const satisfies Readonly<
  Record<Exclude<keyof PodSpec, 'template' | 'writtenTemplate' | 'fromTemplate'>, 'at once' | 'at start'>
>;

/** What the rules need to know of the installation. */
export interface RuleContext {
  readonly place: Place;
  readonly templates: TemplateCatalog;
  /** The orchestrator runs container images; otherwise only its own templates. */
  readonly allowsImages: boolean;
  /** Images users may run, with or without a tag; a name without one allows every tag. */
  readonly imageAllowList: readonly string[];
  readonly defaultResources: Resources;
  /** Why pods cannot mount named volumes here; null: they can. */
  readonly mountProblem: string | null;
  /** Mounts with the name of who has written each of them. `present`: as stored so far. */
  readonly mountsBy: (mounts: readonly VolumeMount[], present: readonly VolumeMount[]) => readonly VolumeMount[];
  /** `present`: as stored so far. */
  readonly sealEnvironment: (values: Readonly<Record<string, string>>, present: StoredEnvironment) => StoredEnvironment;
  /** The same for a secret map: by its writer, with a value for each that is random. */
  readonly mapSecrets: (references: Readonly<Record<string, string>>, present: SecretMap) => SecretMap;
}

export type Ruled<T> =
  { readonly kind: 'accepted'; readonly value: T } | { readonly kind: 'refused'; readonly problems: readonly string[] };

/** What runs: a template of the catalog, or an image on the allow list (with no template behind it). */
interface Runs {
  readonly name: string;
  readonly written: string;
  readonly template: Template | null;
}

/**
 * The spec of a new pod: pure. All that is wrong is said at once, each sentence after the name of its field.
 * Source: design section 7, tapis-pods section 1.3.
 */
export function specOfNewPod(written: WrittenPod, context: RuleContext): Ruled<{ podId: string; spec: PodSpec }> {
  const { fields, refused } = written;
  const problems = [...written.problems];
  const runs = runsOf(fields, refused, context, problems);
  const spec = specOf(fields, null, runs, context, written, problems);
  const podId = fields.podId ?? '';
  if (!refused.has('podId')) {
    const problem = podIdProblem(podId, context.place, Object.keys(spec.networking).filter(isGoodStanza));
    if (problem !== null) problems.push(`pod_id: ${problem}`);
  }
  return problems.length > 0 ? { kind: 'refused', problems } : { kind: 'accepted', value: { podId, spec } };
}

/** The spec that these fields would make, whatever is wrong with them: to compare others with. */
export function specOfFields(fields: PodFields, context: RuleContext): PodSpec {
  const written: WrittenPod = { fields, problems: [], refused: new Set() };
  return specOf(fields, null, runsOf(fields, written.refused, context, []), context, written, []);
}

/** The spec that an update makes of the present one: pure. Only the fields that were written change. */
export function specOfUpdate(
  written: WrittenPod,
  podId: string,
  present: PodSpec,
  context: RuleContext,
): Ruled<PodSpec> {
  const problems = [...written.problems];
  const template = context.templates.find(present.template);
  const runs = { name: present.template, written: present.writtenTemplate, template };
  problems.push(...changedTemplateProblems(written.fields, present, context.templates));
  const spec = specOf(written.fields, present, runs, context, written, problems);
  const most = podIdMaxLength(context.place, Object.keys(spec.networking).filter(isGoodStanza));
  if (podId.length > most) {
    problems.push(`networking: these stanza names leave room for a pod_id of at most ${most} characters`);
  }
  return problems.length > 0 ? { kind: 'refused', problems } : { kind: 'accepted', value: spec };
}

/** Newer clients send the template or image along. It is fixed at create: data and credentials belong to it. */
function changedTemplateProblems(
  { podTemplate = '', template = '', image = '' }: PodFields,
  present: PodSpec,
  templates: TemplateCatalog,
): readonly string[] {
  const sent = [
    ['pod_template', podTemplate],
    ['template', template],
    ['image', image],
  ] as const;
  return sent.flatMap(([name, value]) =>
    value === '' ||
    value === present.writtenTemplate ||
    (templates.find(value)?.name ?? value) === present.template ||
    value === present.fromTemplate?.reference
      ? []
      : [`${name}: cannot be changed after create (this pod runs ${present.writtenTemplate}); create another pod`],
  );
}

/** Do two specs ask for the same? */
export function specsEqual(a: PodSpec, b: PodSpec): boolean {
  return isDeepStrictEqual(a, b);
}

function isGoodStanza(name: string): boolean {
  return stanzaProblem(name) === null;
}

function runsOf(
  fields: PodFields,
  refused: WrittenPod['refused'],
  context: RuleContext,
  problems: string[],
): Runs | null {
  const names = ['podTemplate', 'template', 'image'] as const;
  if (names.some((name) => refused.has(name))) return null;
  const given = names.flatMap((name) => {
    const value = fields[name];
    return value === undefined || value === '' ? [] : [{ name: wireName(name), value }];
  });
  const [first] = given;
  if (first === undefined) {
    problems.push('pod_template: is required (or its newer names template or image)');
    return null;
  }
  if (given.some(({ value }) => value !== first.value)) {
    problems.push(`${given.map(({ name }) => name).join(', ')}: say different things; give one of them`);
    return null;
  }
  const template = context.templates.find(first.value);
  if (template !== null) {
    if (template.image === null && context.allowsImages) {
      problems.push(
        `${first.name}: ${template.name} is for pods that are processes; this installation runs containers`,
      );
      return null;
    }
    return { name: template.name, written: first.value, template };
  }
  const shown = JSON.stringify(first.value);
  if (!context.allowsImages) {
    const known = context.templates.list().map(({ name }) => name);
    problems.push(`${first.name}: ${shown} is no template of this installation, which has ${known.join(', ')}`);
    return null;
  }
  if (!isImageAllowed(first.value, context.imageAllowList)) {
    problems.push(`${first.name}: ${shown} is neither a template nor an image on the allow list`);
    return null;
  }
  return { name: first.value, written: first.value, template: null };
}

/** An entry without tag and digest allows the image in every version. */
export function isImageAllowed(image: string, allowList: readonly string[]): boolean {
  return allowList.includes(image) || allowList.includes(imageRepository(image));
}

function specOf(
  fields: PodFields,
  present: PodSpec | null,
  runs: Runs | null,
  context: RuleContext,
  written: WrittenPod,
  problems: string[],
): PodSpec {
  const template = runs?.template ?? null;
  const spec: PodSpec = {
    template: runs?.name ?? '',
    writtenTemplate: runs?.written ?? '',
    description: fields.description ?? present?.description ?? '',
    command: fields.command === undefined ? (present?.command ?? null) : fields.command,
    arguments: fields.arguments === undefined ? (present?.arguments ?? null) : fields.arguments,
    environmentVariables:
      fields.environmentVariables === undefined
        ? (present?.environmentVariables ?? {})
        : context.sealEnvironment(fields.environmentVariables, present?.environmentVariables ?? {}),
    ...secretMapOf(fields, present, context),
    networking: networkingOf(fields, present, template, written.refused, problems),
    persistentVolume: fields.persistentVolume ?? present?.persistentVolume ?? false,
    volumeMounts:
      fields.volumeMounts === undefined
        ? (present?.volumeMounts ?? [])
        : context.mountsBy(volumeMountsOf(fields.volumeMounts, problems), present?.volumeMounts ?? []),
    ...(present?.fromTemplate === undefined ? {} : { fromTemplate: present.fromTemplate }),
    resources: resourcesOf(fields, present, context, problems),
    dataRequests: fields.dataRequests ?? present?.dataRequests ?? [],
    rolesRequired: fields.rolesRequired ?? present?.rolesRequired ?? [],
    timeToStopDefault: fields.timeToStopDefault ?? present?.timeToStopDefault ?? DEFAULT_TIME_TO_STOP_SECONDS,
    ...sleepOf(fields.sleep, present),
  };
  if (runs !== null) checkAgainstTemplate(spec, fields, runs, written.refused, problems);
  checkVolumes(spec, fields, context, problems);
  const asleep = sleepProblem(spec, { template, runsContainers: context.allowsImages });
  if (runs !== null && asleep !== null) problems.push(asleep);
  problems.push(...placeholderProblems(fields, spec, written.refused));
  return spec;
}

function checkAgainstTemplate(
  spec: PodSpec,
  fields: PodFields,
  runs: Runs,
  refused: WrittenPod['refused'],
  problems: string[],
): void {
  const { template, name } = runs;
  if (template !== null && !template.takesCommand) {
    const own = `is set by ${name} itself; leave it out`;
    if ((fields.command?.length ?? 0) > 0) problems.push(`command: ${own}`);
    if ((fields.arguments?.length ?? 0) > 0) problems.push(`arguments: ${own}`);
  }
  if (template?.requiresCommand === true && !refused.has('command') && (spec.command?.[0] ?? '') === '') {
    problems.push(`command: ${name} needs one, such as ["node", "server.js"]`);
  }
  if (fields.persistentVolume === true && (template?.dataPath ?? null) === null) {
    problems.push(`persistent_volume: ${name} keeps no data that a volume could hold`);
  }
}

function checkVolumes(spec: PodSpec, fields: PodFields, context: RuleContext, problems: string[]): void {
  if (spec.volumeMounts.length === 0) return;
  const isWritten = fields.volumeMounts !== undefined;
  const hasOwn = ownVolumesOf(spec).length > 0;
  if (!context.allowsImages && isWritten && hasOwn) {
    problems.push('volume_mounts: pods are processes here and have no volumes of type pvc; use persistent_volume');
  }
  if (context.mountProblem !== null && isWritten && spec.volumeMounts.some(({ type }) => type !== 'pvc')) {
    problems.push(`volume_mounts: ${context.mountProblem}`);
  }
  if (spec.persistentVolume && (fields.volumeMounts !== undefined || fields.persistentVolume !== undefined)) {
    problems.push("persistent_volume: is short for a mount at the template's data path; give it or volume_mounts");
  }
}

function networkingOf(
  fields: PodFields,
  present: PodSpec | null,
  template: Template | null,
  refused: WrittenPod['refused'],
  problems: string[],
): PodSpec['networking'] {
  const fixed = template?.networking ?? null;
  const fallback = present?.networking ?? fixed ?? { [DEFAULT_STANZA]: DEFAULT_NETWORKING_STANZA };
  if (refused.has('networking') || refused.has('routingPort')) return fallback;
  if (fields.routingPort !== undefined) {
    if (fields.networking !== undefined) {
      problems.push('routing_port: says the port of networking.default; give one of the two');
      return fallback;
    }
    if (fixed !== null) {
      if (fixed[DEFAULT_STANZA]?.port !== fields.routingPort) {
        problems.push(`routing_port: ${template?.name ?? ''} has fixed ports; leave it out`);
      }
      return fallback;
    }
    return { [DEFAULT_STANZA]: { ...DEFAULT_NETWORKING_STANZA, port: fields.routingPort } };
  }
  if (fields.networking === undefined) return fallback;
  const networking =
    fixed === null
      ? freeNetworking(fields.networking, problems)
      : fixedNetworking(fields.networking, fixed, template?.name ?? '', problems);
  problems.push(...networkingProblems(networking));
  return networking;
}

function freeNetworking(
  written: Readonly<Record<string, WrittenStanza>>,
  problems: string[],
): Readonly<Record<string, Stanza>> {
  const networking: Record<string, Stanza> = {};
  for (const [name, stanza] of Object.entries(written)) {
    networking[name] = {
      protocol: stanza.protocol ?? DEFAULT_NETWORKING_STANZA.protocol,
      port: stanza.port ?? DEFAULT_NETWORKING_STANZA.port,
      ipAllowList: stanza.ipAllowList ?? [],
      ...writtenOptions(stanza),
      ...writtenLogin(stanza),
      ...writtenLink(stanza),
    };
    problems.push(...stanzaProblems(`networking.${name}`, networking[name], stanza));
  }
  return networking;
}

/** Names, protocols and ports are the template's; who may connect is the user's. */
function fixedNetworking(
  written: Readonly<Record<string, WrittenStanza>>,
  fixed: Readonly<Record<string, Stanza>>,
  templateName: string,
  problems: string[],
): Readonly<Record<string, Stanza>> {
  const offered = Object.entries(fixed).map(([name, { protocol, port }]) => `${name} (${protocol} ${port})`);
  const networking: Record<string, Stanza> = { ...fixed };
  for (const [name, stanza] of Object.entries(written)) {
    const own = Object.hasOwn(fixed, name) ? fixed[name] : undefined;
    if (
      own === undefined ||
      (stanza.protocol ?? own.protocol) !== own.protocol ||
      (stanza.port ?? own.port) !== own.port
    ) {
      problems.push(`networking.${name}: the networking of ${templateName} is fixed: ${offered.join(', ')}`);
      continue;
    }
    networking[name] = {
      ...own,
      ipAllowList: stanza.ipAllowList ?? [],
      ...writtenOptions(stanza),
      ...writtenLogin(stanza),
      ...writtenLink(stanza),
    };
    problems.push(
      ...stanzaProblems(`networking.${name}`, networking[name], stanza),
      ...templateOptionProblems(`networking.${name}`, templateName, networking[name]),
    );
  }
  return networking;
}

function resourcesOf(fields: PodFields, present: PodSpec | null, context: RuleContext, problems: string[]): Resources {
  const resources: Resources = { ...(present?.resources ?? context.defaultResources), ...fields.resources };
  if (resources.cpuRequest > resources.cpuLimit) {
    problems.push(`resources.cpu_request: ${resources.cpuRequest} is more than cpu_limit (${resources.cpuLimit})`);
  }
  if (resources.memRequest > resources.memLimit) {
    problems.push(`resources.mem_request: ${resources.memRequest} is more than mem_limit (${resources.memLimit})`);
  }
  return resources;
}
