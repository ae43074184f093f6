/** What one call changed of one object. */
export interface AuditEntry {
  /** In the order of time. */
  readonly id: string;
  readonly atMs: number;
  /** By its name in the API. */
  readonly operation: string;
  readonly user: string;
  /** The service that acted for this user, or null. */
  readonly service: string | null;
  readonly requestId: string;
  /** Of the client. */
  readonly address: string;
  readonly objectKind: string;
  readonly objectId: string;
  readonly objectUid: string;
  readonly changes: readonly AuditChange[];
}

/** Null: there was, or is, none. Values that are secret or long are not there as they are. */
export interface AuditChange {
  readonly field: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** The last changes of an object, or of all deleted objects that one user had created. */
export interface AuditRecord {
  /** Of the object; of what is deleted, its own. */
  readonly uid: string;
  readonly tenant: string;
  /** Who may read it, beside administrators. */
  readonly readers: readonly string[];
  /** Oldest first. */
  readonly entries: readonly AuditEntry[];
}

export function auditKey(tenant: string, uid: string): string {
  return `${tenant}/object/${uid}`;
}

/** Of what is left of a user's deleted objects. */
export function deletedAuditKey(tenant: string, username: string): string {
  return `${tenant}/deleted/${username}`;
}
