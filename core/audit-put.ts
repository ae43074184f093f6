import type { AuditRecord } from './audit.ts';
import { userIndex } from './permissions.ts';
import type { Expected, Put } from './store.ts';

/** The one way to write a record of the audit log: a put replaces the index entries. */
export function auditPut(key: string, record: AuditRecord, expected: Expected): Put {
  return {
    ...{ kind: 'audit', key, expected, value: record, tenant: record.tenant },
    indexes: record.readers.map(userIndex),
  };
}
