import { z } from 'zod';

import { POD_STATUSES, type PodRecord, statusName, TAPIS_STATUS_NAMES, WISHES } from '../../../core/pod.ts';
import { parseTemplateReference } from '../../../core/template-record.ts';
import type { ListDescription } from '../../http/list-query.ts';

/** What the list of pods can be sorted and filtered by. */
export const POD_LIST: ListDescription<PodRecord> = {
  id: 'pod_id',
  sorts: ['creation_ts', 'update_ts', 'status', 'status_requested'],
  filters: [
    {
      name: 'status',
      description: 'Only pods with this status, by either of its names.',
      schema: z.enum([...new Set([...POD_STATUSES, ...Object.values(TAPIS_STATUS_NAMES)])]),
    },
    { name: 'status_requested', description: 'Only pods with this one.', schema: z.enum([...WISHES]) },
    {
      name: 'template',
      description: 'Only pods made from this template: id, id:tag, id:tag@timestamp, or one of Podgate itself.',
    },
    { name: 'image', description: 'Only pods that run this image.' },
  ],
  valuesOf: (record, field) => {
    switch (field) {
      case 'pod_id':
        return record.podId;
      case 'creation_ts':
        return new Date(record.createdAtMs).toISOString();
      case 'update_ts':
        return new Date(record.updatedAtMs).toISOString();
      case 'status':
        return [record.status, statusName(record.status, 'tapis')];
      case 'status_requested':
        return record.wish;
      case 'template':
        return templatesOf(record);
      case 'image':
        return record.spec.template;
      default:
        return '';
    }
  },
};

/** All the names by which its template can be asked for. */
function templatesOf({ spec }: PodRecord): readonly string[] {
  const reference = spec.fromTemplate?.reference;
  const origin = reference === undefined ? null : parseTemplateReference(reference);
  return [
    ...[spec.writtenTemplate, spec.template],
    ...(reference === undefined ? [] : [reference]),
    ...(origin === null ? [] : [origin.templateId, `${origin.templateId}:${origin.tag}`]),
  ];
}
