import { permissionIndexes } from './permissions.ts';
import { ownerIndex } from './pod-put.ts';
import type { Expected, Put } from './store.ts';
import type { TemplateRecord, TemplateTagRecord } from './template-record.ts';

/** Greater than any time: keys count down from it, so that the newest tag comes first. */
const END_OF_TIME_MS = 9_999_999_999_999;

export function templateKey(tenant: string, templateId: string): string {
  return `${tenant}/${templateId}`;
}

/** The one way to write a template's record. One that is being deleted is invisible, and still counts for its creator. */
export function templatePut(record: TemplateRecord, expected: Expected): Put {
  const { tenant, templateId, permissions, deleting, createdBy } = record;
  const users = deleting === null ? permissionIndexes(permissions, tenant) : [];
  return {
    ...{ kind: 'template', key: templateKey(tenant, templateId), expected, value: record, tenant },
    indexes: [...users, ownerIndex(createdBy)],
  };
}

/** Tags of one template are in the order of their keys, newest first. */
export function templateTagKey({
  tenant,
  templateId,
  tag,
  createdAtMs,
}: Pick<TemplateTagRecord, 'tenant' | 'templateId' | 'tag' | 'createdAtMs'>): string {
  return `${templateKey(tenant, templateId)}/${String(END_OF_TIME_MS - createdAtMs).padStart(13, '0')}/${tag}`;
}

/** Index entry of the tags of a template; of those with one name. */
export function tagsIndex(templateId: string, tag?: string): string {
  return tag === undefined ? `template:${templateId}` : `tag:${templateId}:${tag}`;
}

/** Index entry of what is based on a tag: pods, and tags of other templates. `key`: of the tag. */
export function basedOnIndex(key: string): string {
  return `based-on:${key}`;
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
