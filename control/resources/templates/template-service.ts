import type { z } from 'zod';

import { PodgateError } from '../../../core/errors.ts';
import { listPages } from '../../../core/list-all.ts';
import type { Logger } from '../../../core/logger.ts';
import type { Store } from '../../../core/store.ts';
import type { Template, TemplateCatalog } from '../../../core/template.ts';
import { tagsIndex } from '../../../core/template-put.ts';
import { basedOnIndex, templateKey, tagReference, type TemplateRecord } from '../../../core/template-record.ts';
import type { Caller } from '../../auth/authenticator.ts';
import type { CamelFields } from '../../http/camel-fields.ts';
import type { Precondition } from '../../http/if-match.ts';
import { readObject } from '../../objects/access.ts';
import { changeObject, type ChangedObject, type ChangeParts } from '../../objects/change.ts';
import { createWithinQuota } from '../../objects/create-within-quota.ts';
import { listVisible } from '../../objects/list-visible.ts';
import { createObjectPermissions, type ObjectPermissions } from '../../objects/permissions.ts';
import { requireGeneration } from '../../objects/require-generation.ts';
import type { NewTemplate, UpdateTemplate } from './schema.ts';
import { templateObjects } from './template-objects.ts';

const PAGE = 50;
/** Tags removed in one commit. */
const PURGE_PAGE = 100;

export interface TemplateParts extends Omit<ChangeParts, 'store'> {
  readonly store: Store;
  readonly log: Logger;
  readonly newUid: () => string;
  /** The templates that come with the program: everyone may read them, and nobody can change them. */
  readonly catalog: TemplateCatalog;
}

export type WrittenTemplate = CamelFields<z.output<typeof NewTemplate>>;
export type WrittenTemplateUpdate = CamelFields<z.output<typeof UpdateTemplate>>;

/** One that comes with the program, or one that a user has made. */
export type FoundTemplate =
  | { readonly kind: 'builtin'; readonly template: Template }
  | { readonly kind: 'made'; readonly record: TemplateRecord };

/**
 * What users do with templates. All throw PodgateError: 'api.not-found', 'api.forbidden' below the level named, and for
 * changes of a template that comes with the program, 'api.conflict'. Levels: get READ; update USER; delete and
 * permissions ADMIN (reading them: USER).
 */
export interface TemplateService {
  create(caller: Caller, written: WrittenTemplate): Promise<TemplateRecord>;
  /** Those of users on which the caller has READ or more; `all`: every one of the tenant. */
  list(caller: Caller, options: { readonly all: boolean }): AsyncIterable<TemplateRecord>;
  get(caller: Caller, templateId: string): Promise<FoundTemplate>;
  update(
    caller: Caller,
    templateId: string,
    written: WrittenTemplateUpdate,
    precondition: Precondition,
  ): Promise<ChangedObject<TemplateRecord>>;
  /** With its tags. Throws 'api.conflict' when tags of other templates are based on one of them. */
  delete(caller: Caller, templateId: string, precondition: Precondition): Promise<void>;
  readonly permissions: ObjectPermissions;
}

export function createTemplateService(parts: TemplateParts): TemplateService {
  const { store, clock, catalog, log } = parts;
  const kind = templateObjects(store, log);
  const permissions = createObjectPermissions(kind, parts);
  const requireMade = (id: string): void => {
    const builtin = catalog.find(id);
    if (builtin !== null) throw unchangeable(builtin);
  };
  return {
    async create(caller, written) {
      const { templateId } = written;
      if (catalog.find(templateId) !== null) {
        throw new PodgateError('api.conflict', {
          publicMessages: [`There is already a template ${templateId}: it comes with Podgate.`],
        });
      }
      const nowMs = clock.now();
      const record: TemplateRecord = {
        uid: parts.newUid(),
        tenant: caller.tenant,
        templateId,
        createdBy: caller.username,
        generation: 1,
        description: written.description,
        metatags: written.metatags,
        archiveMessage: written.archiveMessage,
        permissions: { [caller.username]: 'ADMIN' },
        deleting: null,
        createdAtMs: nowMs,
        updatedAtMs: nowMs,
      };
      // One whose deletion was interrupted is finished first.
      await purgeTemplate(store, caller.tenant, templateId);
      await createWithinQuota(kind, parts, caller, record);
      return record;
    },

    list: (caller, { all }) => listVisible(store, 'template', caller, { all }),

    async get(caller, id) {
      const template = catalog.find(id);
      if (template !== null) return { kind: 'builtin', template };
      const { value } = await readObject(kind, { caller, id, needed: 'READ', act: 'Reading' });
      return { kind: 'made', record: value };
    },

    async update(caller, id, written, precondition) {
      requireMade(id);
      return await changeObject(kind, parts, {
        ...{ caller, id, needed: 'USER', act: 'Updating' },
        decide: (record) => {
          requireGeneration(precondition, record.generation, `Template ${id}`);
          const change = {
            description: written.description ?? record.description,
            metatags: written.metatags ?? record.metatags,
            archiveMessage: written.archiveMessage ?? record.archiveMessage,
          };
          const isSame =
            change.description === record.description &&
            change.archiveMessage === record.archiveMessage &&
            JSON.stringify(change.metatags) === JSON.stringify(record.metatags);
          return { change: isSame ? null : { ...change, generation: record.generation + 1 } };
        },
      });
    },

    async delete(caller, id, precondition) {
      requireMade(id);
      const { value } = await readObject(kind, { caller, id, needed: 'ADMIN', act: 'Deleting' });
      await requireNoDependents(store, value);
      await changeObject(kind, parts, {
        ...{ caller, id, needed: 'ADMIN', act: 'Deleting' },
        decide: (record) => {
          requireGeneration(precondition, record.generation, `Template ${id}`);
          return { change: { deleting: {} }, log: `'${caller.username}' deleted template` };
        },
      });
      await purgeTemplate(store, caller.tenant, id);
    },

    permissions: {
      async read(caller, id) {
        return catalog.find(id) === null ? await permissions.read(caller, id) : { '*': 'READ' };
      },
      async set(caller, id, permission, precondition) {
        requireMade(id);
        return await permissions.set(caller, id, permission, precondition);
      },
      async delete(caller, id, user, precondition) {
        requireMade(id);
        return await permissions.delete(caller, id, user, precondition);
      },
    },
  };
}

export function unchangeable({ name }: Template): PodgateError {
  return new PodgateError('api.forbidden', {
    publicMessages: [`Template ${name} comes with Podgate and cannot be changed; create one of your own from it.`],
  });
}

/** Removes the tags of a template that is being deleted, then its record. May be interrupted and repeated. */
async function purgeTemplate(store: Store, tenant: string, templateId: string): Promise<void> {
  const key = templateKey(tenant, templateId);
  const stored = await store.get('template', key);
  if (stored === null || stored.value.deleting === null) return;
  for (;;) {
    const tags = await store.list('template-tag', { tenant, index: tagsIndex(templateId), limit: PURGE_PAGE });
    if (tags.length === 0) break;
    await store.commit({
      deletes: tags.map((tag) => ({
        ...{ kind: 'template-tag', key: tag.key, expected: tag.revision, uid: tag.value.uid },
      })),
    });
  }
  await store.commit({ deletes: [{ kind: 'template', key, expected: stored.revision, uid: stored.value.uid }] });
}

async function requireNoDependents(store: Store, { tenant, templateId }: TemplateRecord): Promise<void> {
  for await (const page of listPages(store, 'template-tag', { tenant, index: tagsIndex(templateId), pageSize: PAGE })) {
    for (const { key, value } of page) {
      for (const dependent of await store.list('template-tag', { tenant, index: basedOnIndex(key), limit: PAGE })) {
        if (dependent.value.templateId === templateId) continue;
        throw new PodgateError('api.conflict', {
          publicMessages: [
            `${tagReference(dependent.value)} is based on ${tagReference(value)}; delete that tag first.`,
          ],
        });
      }
    }
  }
}
