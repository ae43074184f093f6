import { PodgateError } from '../../core/errors.ts';
import { isForAll, tenantOfGrantee } from '../../core/permissions.ts';
import type { PermissionLevel } from '../../core/pod.ts';
import type { Caller } from '../auth/authenticator.ts';
import { type Generation, type Precondition, stateTag } from '../http/if-match.ts';
import { grantOf, readObject } from './access.ts';
import { changeObject, type ChangeParts, type ObjectChange } from './change.ts';
import type { ObjectKind, ObjectRecord } from './object-kind.ts';
import { requireGeneration } from './require-generation.ts';

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
    precondition: Precondition,
  ): Promise<Permissions>;
  /** Throws 'api.not-found' when the user has none, 'api.invalid' when no ADMIN would be left. */
  delete(caller: Caller, id: string, user: string, precondition: Precondition): Promise<Permissions>;
}

export function createObjectPermissions<R extends ObjectRecord>(
  kind: ObjectKind<R>,
  parts: ChangeParts,
): ObjectPermissions {
  async function change(
    request: {
      readonly caller: Caller;
      readonly id: string;
      readonly act: string;
      readonly precondition: Precondition;
    },
    decide: (before: Permissions) => { readonly permissions: Permissions; readonly log: string } | null,
  ): Promise<Permissions> {
    const { record } = await changeObject(kind, parts, {
      ...{ caller: request.caller, id: request.id, act: request.act, needed: 'ADMIN' },
      decide: (before): ObjectChange<R> => {
        requireGeneration(
          request.precondition,
          permissionsTag(before.permissions),
          `The list of permissions of ${kind.noun} ${request.id}`,
        );
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
    set: (caller, id, { user, level }, precondition) =>
      change({ caller, id, act: 'Setting permissions', precondition }, (before) => {
        requireGrantable(kind.noun, caller.tenant, user, level);
        if (grantOf(before, user) === level) return null;
        return {
          permissions: { ...before, [user]: level },
          log: `'${caller.username}' set permission for '${user}' to ${level}`,
        };
      }),
    delete: (caller, id, user, precondition) =>
      change({ caller, id, act: 'Deleting permissions', precondition }, (before) => {
        if (grantOf(before, user) === null) {
          throw new PodgateError('api.not-found', {
            publicMessages: [`User ${JSON.stringify(user.slice(0, 128))} has no permission on ${kind.noun} ${id}.`],
          });
        }
        const permissions = Object.fromEntries(Object.entries(before).filter(([name]) => name !== user));
        return { permissions, log: `'${caller.username}' deleted permission for '${user}'` };
      }),
  };
}

/** Permissions are no part of the generation of their object. */
export function permissionsTag(permissions: Permissions): Generation {
  return stateTag(Object.entries(permissions).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function requireAdmin(noun: string, permissions: Permissions): void {
  if (Object.values(permissions).includes('ADMIN')) return;
  throw new PodgateError('api.invalid', {
    publicMessages: [`level: at least one user must stay ADMIN of the ${noun}`],
  });
}

/** What all users of a tenant get is READ, of their own tenant's objects: no caller finds those of another. */
function requireGrantable(noun: string, tenant: string, grantee: string, level: PermissionLevel): void {
  const problems: string[] = [];
  const named = tenantOfGrantee(grantee);
  if (named !== null && named !== tenant) {
    problems.push(`user: a ${noun} can be shared within its own tenant only, by * or tenant.${tenant}`);
  }
  if (isForAll(grantee) && level !== 'READ') {
    problems.push('level: must be READ for all users of a tenant');
  }
  if (problems.length > 0) throw new PodgateError('api.invalid', { publicMessages: problems });
}
