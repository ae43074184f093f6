import { imageKey, type ImageRecord } from './image-record.ts';
import { ownerIndex } from './pod-put.ts';
import type { Expected, Put } from './store.ts';

/** The one way to write an image's record. */
export function imagePut(record: ImageRecord, expected: Expected): Put {
  const { tenant, image, createdBy } = record;
  return {
    ...{ kind: 'image', key: imageKey(tenant, image), expected, value: record, tenant },
    indexes: [ownerIndex(createdBy)],
  };
}
