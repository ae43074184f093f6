import { PodgateError } from '../../core/errors.ts';
import type { PermissionLevel, PodRecord } from '../../core/pod.ts';
import type { Caller } from '../auth/authenticator.ts';
import { changePod } from './change.ts';
import type { KeyedMutex } from './keyed-mutex.ts';
import { levelOf, readPod } from './access.ts';
import type { PodParts } from '../resources/pods/pod-parts.ts';

/** Each is an index entry of the record. */
const PERMISSIONS_MAX = 500;

export async function readPermissions(parts: PodParts, caller: Caller, podId: string): Promise<PodRecord> {
  return (await readPod(parts.store, caller, podId, 'USER', 'Reading permissions')).value;
}

/** Gives a user a level, in place of the one they had. Throws 'api.invalid' when no ADMIN would be left. */
export async function setPermission(
  parts: PodParts,
  mutex: KeyedMutex,
  caller: Caller,
  podId: string,
  permission: { readonly user: string; readonly level: PermissionLevel },
): Promise<PodRecord> {
  const { user, level } = permission;
  const { record } = await changePod(parts, mutex, {
    caller,
    podId,
    needed: 'ADMIN',
    act: 'Setting permissions',
    decide: (before) => {
      if (levelOf(before, user) === level) return { change: null };
      const permissions = { ...before.permissions, [user]: level };
      requireAdmin(permissions);
      if (Object.keys(permissions).length > PERMISSIONS_MAX) {
        throw new PodgateError('api.invalid', {
          publicMessages: [`user: a pod has permissions for at most ${PERMISSIONS_MAX} users`],
        });
      }
      return { change: { permissions }, log: `'${caller.username}' set permission for '${user}' to ${level}` };
    },
  });
  return record;
}

/** Throws 'api.not-found' when the user has none, 'api.invalid' when no ADMIN would be left. */
export async function deletePermission(
  parts: PodParts,
  mutex: KeyedMutex,
  caller: Caller,
  podId: string,
  user: string,
): Promise<PodRecord> {
  const { record } = await changePod(parts, mutex, {
    caller,
    podId,
    needed: 'ADMIN',
    act: 'Deleting permissions',
    decide: (before) => {
      if (levelOf(before, user) === null) {
        throw new PodgateError('api.not-found', {
          publicMessages: [`User ${JSON.stringify(user.slice(0, 128))} has no permission on pod ${podId}.`],
        });
      }
      const permissions = Object.fromEntries(Object.entries(before.permissions).filter(([name]) => name !== user));
      requireAdmin(permissions);
      return { change: { permissions }, log: `'${caller.username}' deleted permission for '${user}'` };
    },
  });
  return record;
}

function requireAdmin(permissions: PodRecord['permissions']): void {
  if (Object.values(permissions).includes('ADMIN')) return;
  throw new PodgateError('api.invalid', { publicMessages: ['level: at least one user must stay ADMIN of the pod'] });
}
