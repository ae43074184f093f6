import type { PodgateError } from '../../core/errors.ts';
import type { PermissionLevel } from '../../core/pod.ts';
import type { QuotaOwner, Usage } from '../../core/quota.ts';
import type { AuditedFields } from './audit/audit-changes.ts';
import type { Enqueue, Expected, Put } from '../../core/store.ts';

/** What records have in common that users own and share: pods, secrets, templates. */
export interface ObjectRecord extends QuotaOwner {
  readonly uid: string;
  readonly permissions: Readonly<Record<string, PermissionLevel>>;
  /** Not null: it is on its way out, and nobody sees it. */
  readonly deleting: object | null;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

export interface StoredObject<R> {
  readonly key: string;
  readonly revision: number;
  readonly value: R;
}

/** One kind of them: all that access, changes and permissions need to know. */
export interface ObjectKind<R extends ObjectRecord> {
  /** In sentences: `pod`. */
  readonly noun: string;
  readonly keyOf: (tenant: string, id: string) => string;
  readonly idOf: (record: R) => string;
  readonly get: (key: string) => Promise<StoredObject<R> | null>;
  readonly put: (record: R, expected: Expected) => Put;
  /** Its entry in the queue. Absent: there is nothing to be done about objects of this kind. */
  readonly enqueue?: (record: R) => Enqueue;
  readonly usageOf: (record: R) => Usage;
  /** Adds a line to its log of actions; never fails. */
  readonly note: (record: R, line: string) => Promise<void>;
  /** What the audit log says of a record: nothing that is secret. */
  readonly audited: (record: R) => AuditedFields;
  /** 'api.not-found'. */
  readonly notFound: (id: string) => PodgateError;
}
