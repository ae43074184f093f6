import { podKey } from './ids.ts';
import { permissionIndexes } from './permissions.ts';
import { ownerIndex } from './pod-put.ts';
import type { SecretRecord } from './secret.ts';
import type { Expected, Put } from './store.ts';

/** The one way to write a secret's record: a put replaces the index entries. */
export function secretPut(record: SecretRecord, expected: Expected): Put {
  return {
    kind: 'secret',
    key: podKey(record.tenant, record.secretId),
    expected,
    value: record,
    tenant: record.tenant,
    indexes: [...permissionIndexes(record.permissions, record.tenant), ownerIndex(record.createdBy)],
  };
}
