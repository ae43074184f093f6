import { PodgateError } from '../../core/errors.ts';
import { podKey, RESERVED_POD_IDS } from '../../core/ids.ts';
import { PERMISSION_LEVELS, type PermissionLevel, type PodRecord } from '../../core/pod.ts';
import type { Store, Stored } from '../../core/store.ts';
import type { Caller } from '../auth/authenticator.ts';

/** The level a user has been given on a pod, or null. */
export function levelOf(record: PodRecord, username: string): PermissionLevel | null {
  return Object.hasOwn(record.permissions, username) ? (record.permissions[username] ?? null) : null;
}

/** May this caller do what needs that level? Administrators may do everything. */
export function hasLevel(caller: Caller, record: PodRecord, needed: PermissionLevel): boolean {
  if (caller.isAdministrator) return true;
  const level = levelOf(record, caller.username);
  return level !== null && isAtLeast(level, needed);
}

/** READ < USER < ADMIN. */
function isAtLeast(level: PermissionLevel, needed: PermissionLevel): boolean {
  return PERMISSION_LEVELS.indexOf(level) >= PERMISSION_LEVELS.indexOf(needed);
}

/** Throws PodgateError 'api.forbidden' unless the caller has the level, or is an administrator. */
export function requireLevel(caller: Caller, record: PodRecord, needed: PermissionLevel, act: string): void {
  if (hasLevel(caller, record, needed)) return;
  const level = levelOf(record, caller.username);
  const has = level === null ? 'no permission' : level;
  throw new PodgateError('api.forbidden', {
    publicMessages: [`${act} needs ${needed} on pod ${record.podId}; you have ${has}.`],
  });
}

/**
 * The record of a pod as this caller may see it. Throws 'api.not-found' when there is none (one being deleted is none),
 * 'api.forbidden' when the level is too low.
 */
export async function readPod(
  store: Store,
  caller: Caller,
  podId: string,
  needed: PermissionLevel,
  act: string,
): Promise<Stored<'pod'>> {
  const stored = await store.get('pod', podKey(caller.tenant, podId));
  if (stored === null || stored.value.deleting !== null) throw podNotFound(podId);
  requireLevel(caller, stored.value, needed, act);
  return stored;
}

/** 'api.not-found', for a reserved id with the reason. */
export function podNotFound(podId: string): PodgateError {
  const shown = JSON.stringify(podId.slice(0, 64));
  const sentence = RESERVED_POD_IDS.has(podId)
    ? `${shown} is a reserved word, not a pod; this release has nothing at this path.`
    : `There is no pod ${shown}.`;
  return new PodgateError('api.not-found', { publicMessages: [sentence] });
}
