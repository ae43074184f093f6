import type { PermissionLevel } from './pod.ts';

/** What an object's permissions may name beside users: everyone of its tenant, as `*` or by the id of the tenant. */
const EVERYONE = '*';
const TENANT_PREFIX = 'tenant.';

/** By grantee: a user name, `*` or `tenant.<id>`. */
export type Permissions = Readonly<Record<string, PermissionLevel>>;

export function isEveryone(grantee: string): boolean {
  return grantee === EVERYONE;
}

/** The id of the tenant that `tenant.<id>` names; null for any other grantee. */
export function tenantOfGrantee(grantee: string): string | null {
  return grantee.startsWith(TENANT_PREFIX) ? grantee.slice(TENANT_PREFIX.length) : null;
}

/** Does this grantee stand for all users of some tenant? */
export function isForAll(grantee: string): boolean {
  return isEveryone(grantee) || tenantOfGrantee(grantee) !== null;
}

/** Under which names a user of the tenant may have been given a permission. */
export function granteesOf(tenant: string, username: string): readonly string[] {
  return [username, EVERYONE, `${TENANT_PREFIX}${tenant}`];
}

/** Index entry under which a user finds what they have been given a permission on by name. */
export function userIndex(username: string): string {
  return `user:${username}`;
}

/** Index entry under which every user of a tenant finds what has been shared with all of them. */
export const EVERYONE_INDEX = userIndex(EVERYONE);

/** The index entries of an object of that tenant with these permissions, each once. */
export function permissionIndexes(permissions: Permissions, tenant: string): readonly string[] {
  const entries = Object.keys(permissions).map((grantee) =>
    isEveryone(grantee) || tenantOfGrantee(grantee) === tenant ? EVERYONE_INDEX : userIndex(grantee),
  );
  return [...new Set(entries)];
}
