import { z } from 'zod';

import { PodgateError } from '../../../core/errors.ts';
import type { TemplateRecord, TemplateTagRecord } from '../../../core/template-record.ts';
import type { Vault } from '../../../core/vault.ts';
import type { TemplateCatalog } from '../../../core/template.ts';
import { checkedBody } from '../../http/checked-body.ts';
import { checkFields } from '../../http/field-checks.ts';
import { flagOf } from '../../http/flag.ts';
import { preconditionOf } from '../../http/if-match.ts';
import { jsonList, jsonObject } from '../../http/json-pieces.ts';
import { listParameters } from '../../http/list-query.ts';
import type { AuthenticatedCall, JsonReply, Operation, QueryParameter } from '../../http/operation.ts';
import { listDescription, replyList } from '../../objects/list-operation.ts';
import { permissionOperations } from '../../objects/permission-operations.ts';
import {
  builtinAnswer,
  builtinTagAnswer,
  dependentsAnswer,
  tagAnswer,
  tagDependents,
  templateAnswer,
} from './response.ts';
import {
  NewTemplate,
  TemplateAnswer,
  type TemplateAnswerBody,
  type TemplateSchemas,
  TemplateTagAnswer,
  type TemplateTagAnswerBody,
  UpdateTemplate,
} from './schema.ts';
import type { TagService } from './tag-service.ts';
import type { TemplateService } from './template-service.ts';

/** Of a tag with a whole environment, as objects. */
const TAG_BYTES = 256 * 1024;

/** Of a template as it is returned, without what depends on it. */
const ENTRY_BYTES = 16 * 1024;
const TEMPLATE_LIST = listDescription('template_id', ['creation_ts', 'update_ts']);

const FULL: QueryParameter = {
  name: 'full',
  description: 'false: without pod_definition. Default: true.',
  schema: z.boolean(),
};
const DEPENDENCIES: QueryParameter = {
  name: 'include_dependencies',
  description: 'true: with the pods and tags that are based on each tag. For administrators.',
  schema: z.boolean(),
};
const CONFIGS: QueryParameter = {
  name: 'include_configs',
  description: 'Accepted, without effect: volume mounts have no config_content.',
  schema: z.boolean(),
};
const FORCE: QueryParameter = {
  name: 'force',
  description: 'true: although pods or other tags are based on it.',
  schema: z.boolean(),
};

export interface TemplateOperationParts {
  readonly templates: TemplateService;
  readonly tags: TagService;
  readonly schemas: TemplateSchemas;
  readonly catalog: TemplateCatalog;
  readonly vault: Vault;
  readonly site: string;
}

/** Everything under /pods/templates. The templates that come with the program are there as well. */
export function templateOperations(parts: TemplateOperationParts): readonly Operation[] {
  return [
    ...ofTemplates(parts),
    ...ofTags(parts),
    ...permissionOperations('template', parts.templates.permissions, '/pods'),
  ];
}

function ofTemplates({ templates, tags, catalog, vault, site }: TemplateOperationParts): readonly Operation[] {
  const reply = (message: string, record: TemplateRecord): JsonReply => ({
    kind: 'json',
    message,
    result: templateAnswer(record),
    generation: record.generation,
  });
  const withDependents = async (call: AuthenticatedCall, record: TemplateRecord): Promise<TemplateAnswerBody> => {
    const dependents: NonNullable<TemplateAnswerBody['tag_dependents']> = [];
    for await (const tag of tags.list(call.caller, record.templateId)) {
      dependents.push(tagDependents(tag, await tags.dependents(tag)));
    }
    return { ...templateAnswer(record), tag_dependents: dependents };
  };
  async function* answers(call: AuthenticatedCall): AsyncGenerator<TemplateAnswerBody> {
    const isWithDependents = wantsDependents(call);
    yield* catalog.list().map(builtinAnswer);
    for await (const record of templates.list(call.caller, { all: call.isAdminView })) {
      yield isWithDependents ? await withDependents(call, record) : templateAnswer(record);
    }
  }
  async function* tagAnswers(call: AuthenticatedCall, templateId: string): AsyncGenerator<TemplateTagAnswerBody> {
    const isFull = isFullAsked(call);
    const isWithDependents = wantsDependents(call);
    for await (const tag of tags.list(call.caller, templateId)) {
      const answer = tagAnswer(tag, { isFull, vault, site });
      yield isWithDependents ? { ...answer, dependents: dependentsAnswer(await tags.dependents(tag)) } : answer;
    }
  }
  /** By template: what it is, and its tags. */
  async function* entries(call: AuthenticatedCall): AsyncGenerator<readonly [string, unknown]> {
    const place = { isFull: isFullAsked(call), tenant: call.caller.tenant, site };
    for (const template of catalog.list()) {
      yield [template.name, { ...builtinAnswer(template), tags: [builtinTagAnswer(template, place)] }];
    }
    for await (const record of templates.list(call.caller, { all: call.isAdminView })) {
      const all: TemplateTagAnswerBody[] = [];
      for await (const tag of tagAnswers(call, record.templateId)) {
        call.reserve(TAG_BYTES * (all.length + 1));
        all.push(tag);
      }
      yield [record.templateId, { ...templateAnswer(record), tags: all }];
    }
  }
  const shared = { tag: 'Templates', result: TemplateAnswer } as const;
  return [
    {
      ...shared,
      access: 'token',
      operationId: 'list_templates',
      methods: ['get'],
      path: '/pods/templates',
      summary: 'The templates that come with Podgate, and those on which you have READ or more.',
      query: [DEPENDENCIES, ...listParameters(TEMPLATE_LIST)],
      headers: ['X-Pods-Admin'],
      result: z.array(TemplateAnswer),
      handle: (call) => {
        wantsDependents(call);
        return replyList(call, {
          description: TEMPLATE_LIST,
          message: 'Templates retrieved successfully.',
          entryBytes: ENTRY_BYTES,
          // Those that come with Podgate come first.
          isInOrder: false,
          entries: () => answers(call),
        });
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'add_template',
      methods: ['post'],
      path: '/pods/templates',
      summary: 'Creates a template, of which you become ADMIN. It is used once it has a tag.',
      body: NewTemplate,
      handle: async ({ caller, body }) =>
        reply('Template added successfully.', await templates.create(caller, checkedBody(NewTemplate, body))),
    },
    {
      ...shared,
      access: 'token',
      operationId: 'list_templates_and_tags',
      methods: ['get'],
      path: '/pods/templates/tags',
      summary: 'The same templates, by their names and with their tags.',
      query: [FULL, DEPENDENCIES],
      headers: ['X-Pods-Admin'],
      result: z.record(z.string(), TemplateAnswer.extend({ tags: z.array(TemplateTagAnswer) })),
      handle: async (call) => {
        wantsDependents(call);
        isFullAsked(call);
        return {
          kind: 'json-pieces',
          message: 'Templates and tags retrieved successfully.',
          pieces: jsonObject(entries(call)),
        };
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'get_template',
      methods: ['get'],
      path: '/pods/templates/{template_id}',
      summary: 'A template. READ.',
      query: [DEPENDENCIES],
      handle: async (call) => {
        const isWithDependents = wantsDependents(call);
        const message = 'Template retrieved successfully.';
        const found = await templates.get(call.caller, idOf(call));
        if (found.kind === 'builtin') return { kind: 'json', message, result: builtinAnswer(found.template) };
        const now = reply(message, found.record);
        return isWithDependents ? { ...now, result: await withDependents(call, found.record) } : now;
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'update_template',
      methods: ['put'],
      path: '/pods/templates/{template_id}',
      summary: 'Changes the description, metatags and archive_message. USER. Tags never change.',
      headers: ['If-Match'],
      body: UpdateTemplate,
      handle: async (call) => {
        const written = checkedBody(UpdateTemplate, call.body);
        const changed = await templates.update(call.caller, idOf(call), written, preconditionOf(call.ifMatch));
        if (changed.isChanged) return reply('Template updated successfully.', changed.record);
        const same = 'Incoming data made no changes to template. Is incoming data equal to current data?';
        return { ...reply(same, changed.record), outcome: 'error' };
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'delete_template',
      methods: ['delete'],
      path: '/pods/templates/{template_id}',
      summary: 'Deletes a template with its tags. ADMIN. Pods keep what they have of it.',
      headers: ['If-Match'],
      result: z.string(),
      handle: async (call) => {
        await templates.delete(call.caller, idOf(call), preconditionOf(call.ifMatch));
        return { kind: 'json', message: 'Template successfully deleted.', result: '' };
      },
    },
  ];
}

function ofTags({ tags, schemas, catalog, vault, site }: TemplateOperationParts): readonly Operation[] {
  const answerOf = (record: TemplateTagRecord): TemplateTagAnswerBody =>
    tagAnswer(record, { isFull: true, vault, site });
  async function* answers(call: AuthenticatedCall, tag?: string): AsyncGenerator<TemplateTagAnswerBody> {
    const isFull = isFullAsked(call);
    const isWithDependents = wantsDependents(call);
    const builtin = catalog.find(idOf(call));
    if (builtin !== null) {
      const only = builtinTagAnswer(builtin, { isFull, tenant: call.caller.tenant, site });
      if (tag !== undefined && tag !== only.tag) {
        throw new PodgateError('api.not-found', {
          publicMessages: [`Template ${builtin.name} has the tag ${only.tag} alone.`],
        });
      }
      yield only;
      return;
    }
    for await (const record of tags.list(call.caller, idOf(call), tag)) {
      const answer = tagAnswer(record, { isFull, vault, site });
      yield isWithDependents ? { ...answer, dependents: dependentsAnswer(await tags.dependents(record)) } : answer;
    }
  }
  const shared = { tag: 'Templates', result: TemplateTagAnswer } as const;
  return [
    {
      ...shared,
      access: 'token',
      operationId: 'list_template_tags',
      methods: ['get'],
      path: '/pods/templates/{template_id}/tags',
      summary: 'Every version of every tag of a template, newest first. READ.',
      query: [FULL, CONFIGS, DEPENDENCIES],
      result: z.array(TemplateTagAnswer),
      handle: async (call) => ({
        kind: 'json-pieces',
        message: 'Template tags retrieved successfully.',
        pieces: jsonList(answers(call)),
      }),
    },
    {
      ...shared,
      access: 'token',
      operationId: 'add_template_tag',
      methods: ['post'],
      path: '/pods/templates/{template_id}/tags',
      summary:
        'Publishes a definition of pods as a tag. USER. A tag of the same name gets a newer version; neither ever changes.',
      body: schemas.NewTemplateTag,
      handle: async (call) => {
        const { values, problems } = checkFields(schemas.NewTemplateTag, call.body);
        const { pod_definition: definition, tag, commit_message: commitMessage } = values;
        if (problems.length > 0 || definition === undefined || tag === undefined || commitMessage === undefined) {
          throw new PodgateError('api.invalid', { publicMessages: problems });
        }
        const added = await tags.add(call.caller, idOf(call), { definition, tag, commitMessage });
        return { kind: 'json', message: 'Template tag added successfully.', result: answerOf(added) };
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'get_template_tag',
      methods: ['get'],
      path: '/pods/templates/{template_id}/tags/{tag_id}',
      summary:
        'The versions of a tag, newest first; with tag@timestamp, that one. READ. The result is a list, as in Tapis.',
      query: [CONFIGS, DEPENDENCIES],
      result: z.array(TemplateTagAnswer),
      handle: async (call) => ({
        kind: 'json-pieces',
        message: 'Template tag retrieved successfully.',
        pieces: jsonList(answers(call, tagIdOf(call))),
      }),
    },
    {
      ...shared,
      access: 'token',
      operationId: 'delete_template_tag',
      methods: ['delete'],
      path: '/pods/templates/{template_id}/tags/{tag_id}',
      summary:
        'Deletes one version of a tag: tag@timestamp, or the tag where it has one version. ADMIN. 409 while pods or other ' +
        'tags are based on it, unless force=true.',
      query: [FORCE],
      handle: async (call) => {
        const deleted = await tags.delete(call.caller, idOf(call), tagIdOf(call), { isForced: flagOf(call, 'force') });
        return { kind: 'json', message: 'Template tag successfully deleted.', result: answerOf(deleted) };
      },
    },
  ];
}

function idOf({ params }: AuthenticatedCall): string {
  return params['template_id'] ?? '';
}

function tagIdOf({ params }: AuthenticatedCall): string {
  return params['tag_id'] ?? '';
}

function isFullAsked(call: AuthenticatedCall): boolean {
  return flagOf(call, 'full', true);
}

/** Throws 'api.forbidden' for those who are no administrators. */
function wantsDependents(call: AuthenticatedCall): boolean {
  if (!flagOf(call, 'include_dependencies')) return false;
  if (call.caller.isAdministrator) return true;
  throw new PodgateError('api.forbidden', { publicMessages: ['include_dependencies: is for administrators'] });
}
