import { isDeepStrictEqual } from 'node:util';

import { PodgateError } from '../../../core/errors.ts';
import { requireGeneration } from '../../objects/require-generation.ts';
import { ownVolumesOf, type PodRecord, type PodSpec, type Stanza, type Wish } from '../../../core/pod.ts';
import type { Caller } from '../../auth/authenticator.ts';
import { requireSecrets } from './map-secrets.ts';
import { requireMounts, requireOwnMounts } from './named-mounts.ts';
import { changePod, type ChangedPod, type PodChange, readPod } from './pod-objects.ts';
import type { KeyedMutex } from '../../objects/keyed-mutex.ts';
import { requireLevel } from '../../objects/access.ts';
import type { PodParts } from './pod-parts.ts';
import { specOfUpdate, specsEqual, TAKES_EFFECT } from './rules.ts';
import { expandUpdate } from './template-fields.ts';
import { ruleContext } from './rule-context.ts';
import { POLICY_FIELDS } from './stanza-rules.ts';
import { wireName } from './wire-names.ts';
import type { Precondition } from '../../http/if-match.ts';
import { wishChange } from './start-stop.ts';
import type { WrittenPod } from './written-pod.ts';

const EFFECTS = Object.entries(TAKES_EFFECT) as [keyof typeof TAKES_EFFECT, 'at once' | 'at start'][];

export interface UpdatedPod extends ChangedPod {
  /** Sentences that say what acts at once and what at the next start. */
  readonly notes: readonly string[];
}

/**
 * Changes the fields that were written. A change of the wish needs ADMIN, as start and stop do: otherwise an update
 * would be the way around them. Every effective update is a new generation. Throws 'api.invalid',
 * 'api.precondition-failed', and what `changePod` throws.
 */
export async function updatePod(
  parts: PodParts,
  mutex: KeyedMutex,
  caller: Caller,
  podId: string,
  body: WrittenPod,
  precondition: Precondition,
): Promise<UpdatedPod> {
  let notes: readonly string[] = [];
  const written = await withTemplate(parts, caller, podId, body);
  if (written.fields.secretMap !== undefined || written.fields.volumeMounts !== undefined) {
    const { value } = await readPod(parts, caller, podId, 'USER', 'Updating');
    const ruled = specOfUpdate(written, podId, value.spec, ruleContext(parts, value, caller.username));
    // A reference that others write meanwhile is theirs: it is checked with their permission, not with this one's.
    if (ruled.kind === 'accepted') {
      await requireSecrets(parts, value, ruled.value, caller.username);
      await requireMounts(parts, value, ruled.value, caller.username);
    }
  }
  const changed = await changePod(parts, mutex, {
    caller,
    id: podId,
    needed: 'USER',
    act: 'Updating',
    decide: (record) => {
      requireGeneration(precondition, record.generation, `Pod ${podId}`);
      const ruled = specOfUpdate(written, podId, record.spec, ruleContext(parts, record, caller.username));
      if (ruled.kind === 'refused') throw new PodgateError('api.invalid', { publicMessages: ruled.problems });
      requireOwnMounts(caller, record, ruled.value);
      const decided = decideUpdate(record, ruled.value, written, caller);
      notes = decided.notes;
      return decided;
    },
  });
  return { ...changed, notes };
}

/** What a template adds to what was written. The pod keeps its template, so that it may be read before. */
async function withTemplate(parts: PodParts, caller: Caller, podId: string, body: WrittenPod): Promise<WrittenPod> {
  const { environmentVariables, secretMap, networking, volumeMounts, routingPort, templateOverrides } = body.fields;
  const written = [environmentVariables, secretMap, networking, volumeMounts, routingPort, templateOverrides];
  if (written.every((field) => field === undefined)) return body;
  const { value } = await readPod(parts, caller, podId, 'USER', 'Updating');
  const { fromTemplate: origin } = value.spec;
  if (!isDeepStrictEqual(templateOverrides ?? null, origin?.overrides ?? null) && !isIdle(templateOverrides)) {
    throw new PodgateError('api.invalid', {
      publicMessages: ['template_overrides: cannot be changed after create; change volume_mounts or secret_map'],
    });
  }
  return origin === undefined ? body : await expandUpdate(parts, { tenant: value.tenant, origin }, body);
}

function isIdle(overrides: WrittenPod['fields']['templateOverrides']): boolean {
  return overrides === undefined || overrides === null || Object.keys(overrides).length === 0;
}

function decideUpdate(
  record: PodRecord,
  spec: PodSpec,
  { fields }: WrittenPod,
  caller: Caller,
): PodChange & { readonly notes: readonly string[] } {
  const atNextStart: string[] = changedAtStart(record.spec, spec);
  const atOnce = EFFECTS.filter(
    ([field, when]) => when === 'at once' && !isDeepStrictEqual(record.spec[field], spec[field]),
  ).map(([field]) => wireName(field));
  const policy = changedPolicy(record.spec, spec);
  if (policy.length > 0) atOnce.push(`networking (${policy.join(', ')})`);
  const timeToStopInstance =
    fields.timeToStopInstance === undefined ? record.timeToStopInstance : fields.timeToStopInstance;
  if (timeToStopInstance !== record.timeToStopInstance) atOnce.push(wireName('timeToStopInstance'));
  const wish = newWish(record, fields.statusRequested);
  if (wish !== null) {
    requireLevel(caller, record, 'ADMIN', { act: 'Changing status_requested', what: `pod ${record.podId}` });
    atOnce.push(wireName('statusRequested'));
  }

  const names = [...atOnce, ...atNextStart];
  if (names.length === 0) return { change: null, notes: [] };
  const wished = wish === null ? null : wishChange(record, wish);
  return {
    change: {
      ...(specsEqual(record.spec, spec) ? {} : { spec, ...formerVolumesOf(record, spec) }),
      timeToStopInstance,
      generation: record.generation + 1,
      ...wished?.change,
    },
    enqueue: wished?.enqueue ?? false,
    // Names alone: values of environment variables are secrets of the user.
    log: `'${caller.username}' updated pod, updated_fields: ${names.join(', ')}`,
    notes: notesOf(record, atOnce, atNextStart),
  };
}

/** Volumes that a run may have made: whatever the new spec says, they are there until the pod is deleted. */
function formerVolumesOf(record: PodRecord, spec: PodSpec): Pick<PodRecord, 'formerVolumes'> {
  if (record.run === 0) return {};
  const made = new Set([...(record.formerVolumes ?? []), ...ownVolumesOf(record.spec)]);
  if (record.applied !== null) for (const name of ownVolumesOf(record.applied.spec)) made.add(name);
  for (const name of ownVolumesOf(spec)) made.delete(name);
  return made.size === 0 && record.formerVolumes === undefined ? {} : { formerVolumes: [...made].sort() };
}

function newWish(record: PodRecord, wish: Wish | undefined): Wish | null {
  return wish === undefined || wish === record.wish ? null : wish;
}

/** Names, as on the wire, of what has changed and takes effect at the next start. */
function changedAtStart(before: PodSpec, after: PodSpec): string[] {
  const isSame = (field: keyof typeof TAKES_EFFECT): boolean =>
    field === 'networking'
      ? isDeepStrictEqual(portsOf(before), portsOf(after))
      : isDeepStrictEqual(before[field], after[field]);
  return EFFECTS.filter(([field, when]) => when === 'at start' && !isSame(field)).map(([field]) => wireName(field));
}

function portsOf(spec: PodSpec): readonly (readonly [string, string, number])[] {
  return Object.entries(spec.networking)
    .map(([name, { protocol, port }]) => [name, protocol, port] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Names, as on the wire, of what acts at once in any stanza and has changed. */
function changedPolicy(before: PodSpec, after: PodSpec): readonly string[] {
  const fresh: Stanza = { protocol: 'http', port: 0, ipAllowList: [] };
  const names = Object.entries(after.networking).flatMap(([name, stanza]) =>
    POLICY_FIELDS.flatMap((field) =>
      isDeepStrictEqual((before.networking[name] ?? fresh)[field], stanza[field]) ? [] : [wireName(field)],
    ),
  );
  return [...new Set(names)];
}

function notesOf(record: PodRecord, atOnce: readonly string[], atNextStart: readonly string[]): readonly string[] {
  const notes: string[] = [];
  if (atOnce.length > 0) notes.push(`In effect at once: ${atOnce.join(', ')}.`);
  if (atNextStart.length > 0) {
    const how = record.status === 'STOPPED' ? '' : '; restart the pod to apply them';
    notes.push(`In effect at the next start: ${atNextStart.join(', ')}${how}.`);
  }
  return notes;
}
