import type { z } from 'zod';

import { tagReference } from '../../../core/template-record.ts';
import type { Vault } from '../../../core/vault.ts';
import type { Caller } from '../../auth/authenticator.ts';
import { checkedBody } from '../../http/checked-body.ts';
import type { Operation } from '../../http/operation.ts';
import { tagAnswer } from './response.ts';
import { NewTemplateTagFromPod, TemplateTagAnswer } from './schema.ts';
import type { TagService } from './tag-service.ts';

export interface SaveParts {
  readonly tags: TagService;
  readonly pods: {
    /** ADMIN on the pod. */
    definition(caller: Caller, podId: string): Promise<Readonly<Record<string, unknown>>>;
    noteSaved(caller: Caller, podId: string, reference: string): Promise<void>;
  };
  readonly vault: Vault;
  readonly site: string;
}

/** A pod as it is now becomes a tag. */
export function saveOperation({ tags, pods, vault, site }: SaveParts): Operation {
  return {
    operationId: 'save_pod_as_template_tag',
    methods: ['post'],
    path: '/pods/{pod_id_net}/save_pod_as_template_tag',
    tag: 'Templates',
    summary:
      'Publishes what a pod is made of as a tag. ADMIN on the pod, USER on the template. Environment variables become ' +
      'readable to those who may read the template; secrets stay references.',
    body: NewTemplateTagFromPod,
    result: TemplateTagAnswer,
    access: 'token',
    handle: async ({ caller, params, body }) => {
      const { templateId, tag, commitMessage } = checkedBody(NewTemplateTagFromPod, body);
      const podId = params['pod_id_net'] ?? '';
      const saved = await tags.add(caller, templateId, {
        ...{ tag, commitMessage },
        definition: await pods.definition(caller, podId),
      });
      await pods.noteSaved(caller, podId, tagReference(saved));
      return {
        kind: 'json',
        message: 'Template tag added successfully.',
        result: tagAnswer(saved, { isFull: true, vault, site }) satisfies z.output<typeof TemplateTagAnswer>,
      };
    },
  };
}
