import { compareAndSet } from '../../../core/compare-and-set.ts';
import { sealEnvironment } from '../../../core/environment.ts';
import { PodgateError } from '../../../core/errors.ts';
import { listPages } from '../../../core/list-all.ts';
import { NO_USAGE, usageOfObject } from '../../../core/quota.ts';
import type { Stored } from '../../../core/store.ts';
import { tagsIndex, templatePut, templateTagPut } from '../../../core/template-put.ts';
import {
  basedOnIndex,
  templateKey,
  templateTagKey,
  type ParsedReference,
  parseTemplateReference,
  tagReference,
  tagTimestamp,
  type TemplateRecord,
  type TemplateTagRecord,
} from '../../../core/template-record.ts';
import type { Vault } from '../../../core/vault.ts';
import type { Caller } from '../../auth/authenticator.ts';
import { readObject } from '../../objects/access.ts';
import { type AuditWrites, auditWrites } from '../../objects/audit/audit-writes.ts';
import { auditedObject } from '../../objects/audit/object-writes.ts';
import { admissionLane, ATTEMPTS_MAX, tooManyConflicts } from '../../objects/change.ts';
import { templateObjects } from './template-objects.ts';
import { type TemplateParts, unchangeable } from './template-service.ts';

const PAGE = 50;
/** Tags that are based on each other. */
const DEPTH_MAX = 5;
/** Dependents that a response names. */
const DEPENDENTS_SHOWN_MAX = 100;
const SECOND_MS = 1_000;

export interface TagParts extends TemplateParts {
  readonly vault: Vault;
}

export interface WrittenTag {
  /** Checked; under the names of the wire. */
  readonly definition: Readonly<Record<string, unknown>>;
  readonly tag: string;
  readonly commitMessage: string;
}

/** Ids of pods, and references of tags. */
export interface Dependents {
  readonly pods: readonly string[];
  readonly tags: readonly string[];
}

/**
 * What users do with the tags of templates. All throw PodgateError as TemplateService does. Levels on the template: list,
 * find and chain READ; add USER; delete ADMIN.
 */
export interface TagService {
  add(caller: Caller, templateId: string, written: WrittenTag): Promise<TemplateTagRecord>;
  /** Newest first. `tag`: those of this name, or the one of `tag@timestamp`. Throws 'api.not-found' when there is none. */
  list(caller: Caller, templateId: string, tag?: string): AsyncIterable<TemplateTagRecord>;
  /** Throws 'api.conflict' while pods or other tags are based on it, unless forced. */
  delete(
    caller: Caller,
    templateId: string,
    tag: string,
    options: { readonly isForced: boolean },
  ): Promise<TemplateTagRecord>;
  dependents(record: TemplateTagRecord): Promise<Dependents>;
  /**
   * The tag that `id`, `id:tag` or `id:tag@timestamp` names, with those it is based on behind it. Null when the caller has
   * no such template. Throws 'api.invalid' when the template has no such tag, or a tag below it is gone.
   */
  chain(caller: Caller, reference: string): Promise<readonly TemplateTagRecord[] | null>;
  /** The same for `id:tag@timestamp` in the name of nobody, for what has been made from it. Null: it was deleted. */
  read(tenant: string, reference: string): Promise<readonly TemplateTagRecord[] | null>;
}

export function createTagService(parts: TagParts): TagService {
  const { store, clock, catalog, vault, log, admission, mutex } = parts;
  const kind = templateObjects(store, log);

  async function newest(tenant: string, templateId: string, tag: string): Promise<Stored<'template-tag'> | null> {
    const [first] = await store.list('template-tag', { tenant, index: tagsIndex(templateId, tag), limit: 1 });
    return first ?? null;
  }

  async function named(tenant: string, reference: ParsedReference): Promise<TemplateTagRecord | null> {
    const { templateId, tag, createdAtMs } = reference;
    if (createdAtMs === null) return (await newest(tenant, templateId, tag))?.value ?? null;
    return (await store.get('template-tag', templateTagKey({ tenant, templateId, tag, createdAtMs })))?.value ?? null;
  }

  async function withParents(record: TemplateTagRecord): Promise<readonly TemplateTagRecord[]> {
    const tags = [record];
    for (let parent = record.parent; parent !== null;) {
      const stored = await store.get('template-tag', parent);
      const child = tags.at(-1) ?? record;
      if (stored === null) {
        throw invalid(`template: ${tagReference(child)} is based on a tag that was deleted; use another tag`);
      }
      tags.push(stored.value);
      parent = stored.value.parent;
    }
    return tags;
  }

  async function chain(caller: Caller, reference: string): Promise<readonly TemplateTagRecord[] | null> {
    const parsed = parseTemplateReference(reference);
    if (parsed === null) return null;
    const { tenant } = caller;
    const template = await store.get('template', templateKey(tenant, parsed.templateId));
    if (template === null || template.value.deleting !== null) return null;
    await readObject(kind, { caller, id: parsed.templateId, needed: 'READ', act: 'Using' });
    const record = await named(tenant, parsed);
    if (record === null) {
      throw invalid(
        `template: template ${parsed.templateId} has no tag ${reference.slice(parsed.templateId.length + 1) || parsed.tag}`,
      );
    }
    return await withParents(record);
  }

  /** What a definition is based on: the template to store in it, and the tag behind that. */
  async function parentOf(
    caller: Caller,
    template: unknown,
  ): Promise<{ readonly template: string; readonly parent: string | null } | null> {
    if (typeof template !== 'string' || template === '') return null;
    const builtin = catalog.find(template);
    if (builtin !== null) return { template: builtin.name, parent: null };
    const tags = await chain(caller, template);
    const [first] = tags ?? [];
    if (tags === null || first === undefined) {
      throw invalid(`pod_definition.template: there is no template ${JSON.stringify(template)}`);
    }
    if (tags.length >= DEPTH_MAX) {
      throw invalid(
        `pod_definition.template: ${template} is based on ${DEPTH_MAX - 1} others already, which is the most`,
      );
    }
    return { template: tagReference(first), parent: templateTagKey(first) };
  }

  return {
    async add(caller, templateId, { definition, tag, commitMessage }) {
      const builtin = catalog.find(templateId);
      if (builtin !== null) throw unchangeable(builtin);
      const { environment_variables: variables, ...others } = definition;
      const parent = await parentOf(caller, others['template']);
      if (parent === null && (others['image'] ?? '') === '') {
        throw invalid('pod_definition: needs a template or an image');
      }
      const uid = parts.newUid();
      const environmentVariables = sealEnvironment(vault, uid, (variables ?? {}) as Record<string, string>, {});
      const attempt = async (): Promise<TemplateTagRecord | null> => {
        const access = { caller, id: templateId, needed: 'USER', act: 'Adding a tag' } as const;
        const template = await readObject(kind, access);
        const before = await newest(caller.tenant, templateId, tag);
        // A commit may be done and its answer lost on the way: then what is there is ours.
        if (before?.value.uid === uid) return before.value;
        const nowMs = clock.now();
        const record: TemplateTagRecord = {
          uid,
          tenant: caller.tenant,
          templateId,
          createdBy: caller.username,
          tag,
          createdAtMs: Math.max(
            Math.floor(nowMs / SECOND_MS) * SECOND_MS,
            (before?.value.createdAtMs ?? 0) + SECOND_MS,
          ),
          commitMessage,
          definition: parent === null ? others : { ...others, template: parent.template },
          environmentVariables,
          parent: parent?.parent ?? null,
        };
        const usage = await admission.admit(record, NO_USAGE, usageOfObject(record));
        // The template is written as well: nobody deletes it meanwhile, nor adds a tag of the same second.
        const touched = templatePut({ ...template.value, updatedAtMs: nowMs }, template.revision);
        const { puts } = await auditTag(caller, template.value, { before: null, after: tagTimestamp(record) });
        const result = await store.commit({ puts: [touched, templateTagPut(record, 'absent'), ...usage, ...puts] });
        return result.kind === 'committed' ? record : null;
      };
      const added = await mutex.run(admissionLane(caller), () => compareAndSet(attempt, ATTEMPTS_MAX));
      if (added === null) throw tooManyConflicts(kind, templateId);
      return added;
    },

    async *list(caller, id, tag) {
      await readObject(kind, { caller, id, needed: 'READ', act: 'Reading' });
      const { tenant } = caller;
      const parsed = tag === undefined ? null : parseTemplateReference(`${id}:${tag}`);
      if (tag !== undefined && parsed === null) throw noTag(id, tag);
      if (parsed !== null && parsed.createdAtMs !== null) {
        const record = await named(tenant, parsed);
        if (record === null) throw noTag(id, tag ?? '');
        yield record;
        return;
      }
      let isEmpty = true;
      for await (const page of listPages(store, 'template-tag', {
        ...{ tenant, index: tagsIndex(id, tag), pageSize: PAGE },
      })) {
        for (const { value } of page) {
          isEmpty = false;
          yield value;
        }
      }
      if (isEmpty && tag !== undefined) throw noTag(id, tag);
    },

    async delete(caller, id, tag, { isForced }) {
      const builtin = catalog.find(id);
      if (builtin !== null) throw unchangeable(builtin);
      const { tenant } = caller;
      const parsed = parseTemplateReference(`${id}:${tag}`);
      const attempt = async (): Promise<TemplateTagRecord | null> => {
        const template = await readObject(kind, { caller, id, needed: 'ADMIN', act: 'Deleting a tag' });
        const versions =
          parsed === null
            ? []
            : await store.list('template-tag', { tenant, index: tagsIndex(id, parsed.tag), limit: 2 });
        if (parsed === null || versions.length === 0) throw noTag(id, tag);
        if (parsed.createdAtMs === null && versions.length > 1) {
          const [latest] = versions;
          throw new PodgateError('api.conflict', {
            publicMessages: [
              `Tag ${tag} has several versions; name one of them, such as ${latest === undefined ? tag : tagTimestamp(latest.value)}.`,
            ],
          });
        }
        const record = await named(tenant, parsed);
        if (record === null) throw noTag(id, tag);
        const key = templateTagKey(record);
        const stored = await store.get('template-tag', key);
        if (stored === null) throw noTag(id, tag);
        const { pods, tags } = await dependentsOf(record);
        if (!isForced && pods.length + tags.length > 0) {
          throw new PodgateError('api.conflict', {
            publicMessages: [
              `${tagReference(record)} is in use by ${[...pods.map((pod) => `pod ${pod}`), ...tags].slice(0, 10).join(', ')}; delete it with force=true nonetheless. Pods keep what they have.`,
            ],
          });
        }
        const { puts } = await auditTag(caller, template.value, { before: tagTimestamp(record), after: null });
        const result = await store.commit({
          puts,
          deletes: [{ kind: 'template-tag', key, expected: stored.revision, uid: record.uid }],
        });
        return result.kind === 'committed' ? record : null;
      };
      const deleted = await compareAndSet(attempt, ATTEMPTS_MAX);
      if (deleted === null) throw tooManyConflicts(kind, id);
      log.info({ tenant, templateId: id }, `'${caller.username}' deleted tag ${tagTimestamp(deleted)}`);
      return deleted;
    },

    dependents: dependentsOf,
    chain,

    async read(tenant, reference) {
      const parsed = parseTemplateReference(reference);
      const record = parsed === null ? null : await named(tenant, parsed);
      return record === null ? null : await withParents(record);
    },
  };

  /** Of a tag that is added to a template, or taken from it. */
  async function auditTag(
    caller: Caller,
    template: TemplateRecord,
    change: { readonly before: string | null; readonly after: string | null },
  ): Promise<AuditWrites> {
    const act = { caller, atMs: clock.now(), changes: [{ field: 'tags', ...change }], isDeletion: false };
    return await auditWrites(store, auditedObject(kind, template), act);
  }

  async function dependentsOf(record: TemplateTagRecord): Promise<Dependents> {
    const { tenant } = record;
    const query = { tenant, index: basedOnIndex(templateTagKey(record)), limit: DEPENDENTS_SHOWN_MAX };
    const pods = await store.list('pod', query);
    const tags = await store.list('template-tag', query);
    return {
      pods: pods.filter(({ value }) => value.deleting === null).map(({ value }) => value.podId),
      tags: tags.map(({ value }) => tagReference(value)),
    };
  }
}

function noTag(templateId: string, tag: string): PodgateError {
  return new PodgateError('api.not-found', {
    publicMessages: [`Template ${templateId} has no tag ${JSON.stringify(tag.slice(0, 128))}.`],
  });
}

function invalid(problem: string): PodgateError {
  return new PodgateError('api.invalid', { publicMessages: [problem] });
}
