import { z } from 'zod';

import { asciiText } from '../../http/ascii-text.ts';
import { boundedList, boundedText } from '../../http/bounded.ts';

const DESCRIPTION_MAX_LENGTH = 2_048;
const ARCHIVE_MESSAGE_MAX_LENGTH = 60;
const METATAGS_MAX = 50;

const description = asciiText('description', DESCRIPTION_MAX_LENGTH);
const metatags = boundedList(boundedText(128), METATAGS_MAX).describe('Words by which interfaces sort templates.');
const archiveMessage = asciiText('archive_message', ARCHIVE_MESSAGE_MAX_LENGTH).describe(
  'Must not be empty. Users of the template see it.',
);

const templateId = boundedText(128).regex(
  /^[a-z][a-z0-9-]{1,126}[a-z0-9]$/,
  'must have at least 3 characters, start with a lowercase letter, contain only lowercase letters, digits and "-", and not end with "-"',
);

export const NewTemplate = z
  .strictObject({
    template_id: templateId.describe('Name of the template, unique in the tenant.'),
    description: description.default(''),
    metatags: metatags.default([]),
    archive_message: archiveMessage.default(''),
  })
  .meta({ examples: [{ template_id: 'mytemplate', description: 'Postgres with our settings.' }] });

export const UpdateTemplate = z
  .strictObject({
    description: description.nullish(),
    metatags: metatags.nullish(),
    archive_message: archiveMessage.nullish(),
  })
  .meta({ examples: [{ description: 'Postgres with the settings of our laboratory.' }] });

const tag = boundedText(80)
  .regex(/^[a-zA-Z0-9.-]+$/, 'must contain only letters, digits, "." and "-"')
  .default('latest');
const commitMessage = asciiText('commit_message', 255);

export const NewTemplateTagFromPod = z
  .strictObject({
    template_id: templateId,
    tag,
    commit_message: commitMessage,
  })
  .meta({ examples: [{ template_id: 'mytemplate', tag: 'v1', commit_message: 'As it runs today.' }] });

/** `PodDefinition`: the fields of a pod that a tag may have. */
export function templateSchemas(PodDefinition: z.ZodObject) {
  const NewTemplateTag = z
    .strictObject({
      pod_definition: PodDefinition,
      tag,
      commit_message: commitMessage,
    })
    .meta({
      examples: [
        {
          pod_definition: { template: 'template/postgres', resources: { mem_limit: 1_024 } },
          commit_message: 'First version.',
        },
      ],
    });
  return { NewTemplateTag };
}

export type TemplateSchemas = ReturnType<typeof templateSchemas>;

const time = z.iso.datetime();

const Dependents = z.object({
  dependant_pods: z.array(z.string()),
  dependant_pod_count: z.int(),
  dependant_tags: z.array(z.string()),
  dependant_tags_count: z.int(),
});

export const TemplateAnswer = z.object({
  template_id: z.string(),
  description: z.string(),
  metatags: z.array(z.string()),
  archive_message: z.string(),
  creation_ts: time.nullable().describe('Null for the templates that come with Podgate.'),
  update_ts: time.nullable(),
  tag_dependents: z
    .array(Dependents.extend({ template_id: z.string(), tag_timestamp: z.string(), full_tag: z.string() }))
    .optional()
    .describe('With include_dependencies.'),
});

export const TemplateTagAnswer = z.object({
  template_id: z.string(),
  pod_definition: z.record(z.string(), z.unknown()).optional().describe('Without full=false: the fields of a pod.'),
  commit_message: z.string(),
  tag: z.string(),
  description: z.string(),
  archive_message: z.string(),
  tag_timestamp: z.string().describe('tag@timestamp: names this version of the tag for good.'),
  added_by: z.string(),
  creation_ts: time.nullable(),
  tenant_id: z.string(),
  site_id: z.string(),
  dependents: Dependents.optional().describe('With include_dependencies.'),
});

export type TemplateAnswerBody = z.output<typeof TemplateAnswer>;
export type TemplateTagAnswerBody = z.output<typeof TemplateTagAnswer>;
