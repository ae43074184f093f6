import { PodgateError } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import { usageOfObject } from '../../../core/quota.ts';
import type { Store } from '../../../core/store.ts';
import { templatePut } from '../../../core/template-put.ts';
import { templateKey, type TemplateRecord } from '../../../core/template-record.ts';
import type { ObjectKind } from '../../objects/object-kind.ts';

/** Templates of users as objects. */
export function templateObjects(store: Pick<Store, 'get'>, log: Logger): ObjectKind<TemplateRecord> {
  return {
    noun: 'template',
    keyOf: templateKey,
    idOf: ({ templateId }) => templateId,
    get: (key) => store.get('template', key),
    put: templatePut,
    usageOf: usageOfObject,
    audited: ({ description, metatags, archiveMessage }) => ({
      ...{ description, metatags, archive_message: archiveMessage },
    }),
    note: ({ tenant, templateId }, line) => {
      log.info({ tenant, templateId }, line);
      return Promise.resolve();
    },
    notFound: templateNotFound,
  };
}

function templateNotFound(id: string): PodgateError {
  return new PodgateError('api.not-found', {
    publicMessages: [`There is no template ${JSON.stringify(id.slice(0, 128))}.`],
  });
}
