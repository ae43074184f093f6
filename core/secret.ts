import type { PermissionLevel } from './pod.ts';

/** A value that users keep here and put into pods by name. `sealed` is opened by the Vault: see secretContext. */
export interface SecretRecord {
  readonly uid: string;
  readonly tenant: string;
  readonly secretId: string;
  readonly createdBy: string;
  /** user: for every pod of those who may use it; pod: for that one pod alone. */
  readonly scope: 'user' | 'pod';
  /** Null: the scope is `user`. */
  readonly podId: string | null;
  readonly description: string;
  /** The API gives the value back. */
  readonly readable: boolean;
  /** The value can be replaced. */
  readonly writable: boolean;
  readonly sealed: string;
  /** Grows with every change. It is the ETag. */
  readonly generation: number;
  readonly permissions: Readonly<Record<string, PermissionLevel>>;
  readonly deleting: null;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

export function secretContext({ uid }: Pick<SecretRecord, 'uid'>): string {
  return `secret/${uid}`;
}

/** May this user use the value, by a permission of their own? */
export function maySecretBeUsed({ permissions }: Pick<SecretRecord, 'permissions'>, username: string): boolean {
  const level = Object.hasOwn(permissions, username) ? permissions[username] : undefined;
  return level === 'USER' || level === 'ADMIN';
}
