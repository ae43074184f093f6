import { hideEnvironment, openEnvironment } from '../../../core/environment.ts';
import type { Template } from '../../../core/template.ts';
import {
  tagReference,
  tagTimestamp,
  type TemplateRecord,
  type TemplateTagRecord,
} from '../../../core/template-record.ts';
import type { Vault } from '../../../core/vault.ts';
import type { TemplateAnswerBody, TemplateTagAnswerBody } from './schema.ts';
import type { Dependents } from './tag-service.ts';

/** By whom the templates that come with the program were added, and the one tag they have. */
const BUILTIN_AUTHOR = 'podgate';
const BUILTIN_TAG = 'latest';

export function templateAnswer(record: TemplateRecord): TemplateAnswerBody {
  return {
    template_id: record.templateId,
    description: record.description,
    metatags: [...record.metatags],
    archive_message: record.archiveMessage,
    creation_ts: new Date(record.createdAtMs).toISOString(),
    update_ts: new Date(record.updatedAtMs).toISOString(),
  };
}

export function builtinAnswer({ name, summary }: Template): TemplateAnswerBody {
  return {
    template_id: name,
    description: summary,
    metatags: [BUILTIN_AUTHOR],
    archive_message: '',
    creation_ts: null,
    update_ts: null,
  };
}

export interface TagPlace {
  readonly tenant: string;
  readonly site: string;
}

export function tagAnswer(
  record: TemplateTagRecord,
  { isFull, vault, site }: { readonly isFull: boolean; readonly vault: Vault; readonly site: string },
): TemplateTagAnswerBody {
  return {
    template_id: record.templateId,
    ...(isFull ? { pod_definition: definitionOf(record, vault) } : {}),
    commit_message: record.commitMessage,
    tag: record.tag,
    description: '',
    archive_message: '',
    tag_timestamp: tagTimestamp(record),
    added_by: record.createdBy,
    creation_ts: new Date(record.createdAtMs).toISOString(),
    tenant_id: record.tenant,
    site_id: site,
  };
}

function definitionOf(record: TemplateTagRecord, vault: Vault): Record<string, unknown> {
  const { definition, environmentVariables, uid } = record;
  if (Object.keys(environmentVariables).length === 0) return { ...definition };
  return { ...definition, environment_variables: shownEnvironment(vault, uid, environmentVariables) };
}

function shownEnvironment(
  vault: Vault,
  uid: string,
  stored: TemplateTagRecord['environmentVariables'],
): Record<string, string> {
  try {
    return openEnvironment(vault, uid, stored);
  } catch {
    // No key opens them any more: the rest of the definition is shown.
    return hideEnvironment(stored);
  }
}

export function builtinTagAnswer(
  { name, summary, image, networking }: Template,
  { isFull, tenant, site }: TagPlace & { readonly isFull: boolean },
): TemplateTagAnswerBody {
  const stanzas = Object.entries(networking ?? {}).map(([stanza, { protocol, port }]) => [stanza, { protocol, port }]);
  const definition = {
    description: summary,
    ...(image === null ? {} : { image }),
    ...(networking === null ? {} : { networking: Object.fromEntries(stanzas) as object }),
  };
  return {
    template_id: name,
    ...(isFull ? { pod_definition: definition } : {}),
    commit_message: 'Comes with Podgate.',
    tag: BUILTIN_TAG,
    description: '',
    archive_message: '',
    tag_timestamp: BUILTIN_TAG,
    added_by: BUILTIN_AUTHOR,
    creation_ts: null,
    tenant_id: tenant,
    site_id: site,
  };
}

export function dependentsAnswer({ pods, tags }: Dependents): NonNullable<TemplateTagAnswerBody['dependents']> {
  return {
    dependant_pods: [...pods],
    dependant_pod_count: pods.length,
    dependant_tags: [...tags],
    dependant_tags_count: tags.length,
  };
}

export function tagDependents(
  record: TemplateTagRecord,
  dependents: Dependents,
): NonNullable<TemplateAnswerBody['tag_dependents']>[number] {
  return {
    template_id: record.templateId,
    tag_timestamp: tagTimestamp(record),
    full_tag: tagReference(record),
    ...dependentsAnswer(dependents),
  };
}
