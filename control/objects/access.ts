import { PodgateError } from '../../core/errors.ts';
import { granteesOf } from '../../core/permissions.ts';
import { PERMISSION_LEVELS, type PermissionLevel } from '../../core/pod.ts';
import type { Caller } from '../auth/authenticator.ts';
import type { ObjectKind, ObjectRecord, StoredObject } from './object-kind.ts';

type Shared = Pick<ObjectRecord, 'permissions' | 'tenant'>;

/** The level a user of the object's tenant has on it, by name or as one of all; null = none. */
export function levelOf({ permissions, tenant }: Shared, username: string): PermissionLevel | null {
  const levels = granteesOf(tenant, username).map((grantee) => grantOf(permissions, grantee));
  return PERMISSION_LEVELS.findLast((level) => levels.includes(level)) ?? null;
}

/** The level that has been given to exactly this grantee, or null. */
export function grantOf(permissions: ObjectRecord['permissions'], grantee: string): PermissionLevel | null {
  return Object.hasOwn(permissions, grantee) ? (permissions[grantee] ?? null) : null;
}

/** May this caller do what needs that level? Administrators may do everything. */
export function hasLevel(caller: Caller, record: Shared, needed: PermissionLevel): boolean {
  if (caller.isAdministrator) return true;
  const level = levelOf(record, caller.username);
  return level !== null && isAtLeast(level, needed);
}

/** READ < USER < ADMIN. */
function isAtLeast(level: PermissionLevel, needed: PermissionLevel): boolean {
  return PERMISSION_LEVELS.indexOf(level) >= PERMISSION_LEVELS.indexOf(needed);
}

/**
 * Throws PodgateError 'api.forbidden' unless the caller has the level, or is an administrator. `what` is the object in a
 * sentence: `pod mypod`.
 */
export function requireLevel(
  caller: Caller,
  record: Shared,
  needed: PermissionLevel,
  { act, what }: { readonly act: string; readonly what: string },
): void {
  if (hasLevel(caller, record, needed)) return;
  const level = levelOf(record, caller.username);
  const has = level === null ? 'no permission' : level;
  throw new PodgateError('api.forbidden', { publicMessages: [`${act} needs ${needed} on ${what}; you have ${has}.`] });
}

/** Whom an object is read for, and what for. */
export interface AccessRequest {
  readonly caller: Caller;
  readonly id: string;
  readonly needed: PermissionLevel;
  /** Begins the sentence of a refusal: "Updating". */
  readonly act: string;
}

/**
 * The record as this caller may see it. Throws 'api.not-found' when there is none (one being deleted is none),
 * 'api.forbidden' when the level is too low.
 */
export async function readObject<R extends ObjectRecord>(
  kind: ObjectKind<R>,
  { caller, id, needed, act }: AccessRequest,
): Promise<StoredObject<R>> {
  const stored = await kind.get(kind.keyOf(caller.tenant, id));
  if (stored === null || stored.value.deleting !== null) throw kind.notFound(id);
  requireLevel(caller, stored.value, needed, { act, what: `${kind.noun} ${id}` });
  return stored;
}
