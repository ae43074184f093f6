import { permissionIndexes } from './permissions.ts';
import { ownerIndex } from './pod-put.ts';
import type { Expected, Put } from './store.ts';
import {
  basedOnIndex,
  templateKey,
  type TemplateRecord,
  templateTagKey,
  type TemplateTagRecord,
} from './template-record.ts';

/** The one way to write a template's record. One that is being deleted is invisible, and still counts for its creator. */
export function templatePut(record: TemplateRecord, expected: Expected): Put {
  const { tenant, templateId, permissions, deleting, createdBy } = record;
  const users = deleting === null ? permissionIndexes(permissions, tenant) : [];
  return {
    ...{ kind: 'template', key: templateKey(tenant, templateId), expected, value: record, tenant },
    indexes: [...users, ownerIndex(createdBy)],
  };
}

/** Index entry of the tags of a template; of those with one name. */
export function tagsIndex(templateId: string, tag?: string): string {
  return tag === undefined ? `template:${templateId}` : `tag:${templateId}:${tag}`;
}

export function templateTagPut(record: TemplateTagRecord, expected: Expected): Put {
  const { tenant, templateId, tag, createdBy, parent } = record;
  return {
    ...{ kind: 'template-tag', key: templateTagKey(record), expected, value: record, tenant },
    indexes: [
      tagsIndex(templateId),
      tagsIndex(templateId, tag),
      ownerIndex(createdBy),
      ...(parent === null ? [] : [basedOnIndex(parent)]),
    ],
  };
}
