import { PodgateError } from '../../core/errors.ts';
import type { PermissionLevel } from '../../core/pod.ts';
import type { Caller } from '../auth/authenticator.ts';
import { levelOf, readObject } from './access.ts';
import { changeObject, type ChangeParts, type ObjectChange } from './change.ts';
import type { ObjectKind, ObjectRecord } from './object-kind.ts';

/** Each is an index entry of the record. */
const PERMISSIONS_MAX = 500;

type Permissions = ObjectRecord['permissions'];

/** Who may use an object. Reading needs USER, changing ADMIN. */
export interface ObjectPermissions {
  read(caller: Caller, id: string): Promise<Permissions>;
  /** Gives a user a level, in place of the one they had. Throws 'api.invalid' when no ADMIN would be left. */
  set(
    caller: Caller,
    id: string,
    permission: { readonly user: string; readonly level: PermissionLevel },
  ): Promise<Permissions>;
  /** Throws 'api.not-found' when the user has none, 'api.invalid' when no ADMIN would be left. */
  delete(caller: Caller, id: string, user: string): Promise<Permissions>;
}

export function createObjectPermissions<R extends ObjectRecord>(
  kind: ObjectKind<R>,
  parts: ChangeParts,
): ObjectPermissions {
  async function change(
    request: { readonly caller: Caller; readonly id: string; readonly act: string },
    decide: (before: Permissions) => { readonly permissions: Permissions; readonly log: string } | null,
  ): Promise<Permissions> {
    const { record } = await changeObject(kind, parts, {
      ...request,
      needed: 'ADMIN',
      decide: (before): ObjectChange<R> => {
        const decided = decide(before.permissions);
        if (decided === null) return { change: null };
        const { permissions, log } = decided;
        requireAdmin(kind.noun, permissions);
        if (Object.keys(permissions).length > PERMISSIONS_MAX) {
          throw new PodgateError('api.invalid', {
            publicMessages: [`user: a ${kind.noun} has permissions for at most ${PERMISSIONS_MAX} users`],
          });
        }
        const changed: Partial<ObjectRecord> = { permissions };
        return { change: changed as Partial<R>, log };
      },
    });
    return record.permissions;
  }

  return {
    async read(caller, id) {
      const request = { caller, id, needed: 'USER', act: 'Reading permissions' } as const;
      return (await readObject(kind, request)).value.permissions;
    },
    set: (caller, id, { user, level }) =>
      change({ caller, id, act: 'Setting permissions' }, (before) =>
        levelOf({ permissions: before }, user) === level
          ? null
          : {
              permissions: { ...before, [user]: level },
              log: `'${caller.username}' set permission for '${user}' to ${level}`,
            },
      ),
    delete: (caller, id, user) =>
      change({ caller, id, act: 'Deleting permissions' }, (before) => {
        if (levelOf({ permissions: before }, user) === null) {
          throw new PodgateError('api.not-found', {
            publicMessages: [`User ${JSON.stringify(user.slice(0, 128))} has no permission on ${kind.noun} ${id}.`],
          });
        }
        const permissions = Object.fromEntries(Object.entries(before).filter(([name]) => name !== user));
        return { permissions, log: `'${caller.username}' deleted permission for '${user}'` };
      }),
  };
}

function requireAdmin(noun: string, permissions: Permissions): void {
  if (Object.values(permissions).includes('ADMIN')) return;
  throw new PodgateError('api.invalid', {
    publicMessages: [`level: at least one user must stay ADMIN of the ${noun}`],
  });
}
