import { z } from 'zod';

import { PodgateError } from '../../core/errors.ts';
import { PERMISSION_LEVELS } from '../../core/pod.ts';
import { granteeProblem } from '../auth/user-name.ts';
import { ruled } from '../http/bounded.ts';
import { checkFields } from '../http/field-checks.ts';
import { preconditionOf } from '../http/if-match.ts';
import type { AuthenticatedCall, JsonReply, Operation } from '../http/operation.ts';
import type { ObjectRecord } from './object-kind.ts';
import { type ObjectPermissions, permissionsTag } from './permissions.ts';

export const SetPermission = z
  .strictObject({
    user: z
      .string()
      .check(ruled(granteeProblem))
      .describe('A user name, or for READ alone: * or tenant.<id> for all users of the tenant.'),
    level: z.enum(PERMISSION_LEVELS),
  })
  .meta({ examples: [{ user: 'bob', level: 'READ' }] });

const PermissionsAnswer = z.object({
  permissions: z.array(z.string()).describe('user:LEVEL, with the levels READ, USER and ADMIN.'),
});

/**
 * Who may do what with the objects of a kind. `noun`: `pod`, in paths (`/pods/{pod_id}`) and sentences. `under`: what their
 * paths begin with; that of secrets is `/pods`.
 */
export function permissionOperations(noun: string, permissions: ObjectPermissions, under = ''): readonly Operation[] {
  const path = `${under}/${noun}s/{${noun}_id}/permissions`;
  const title = `${noun.charAt(0).toUpperCase()}${noun.slice(1)}`;
  const idOf = ({ params }: AuthenticatedCall): string => params[`${noun}_id`] ?? '';
  const reply = (message: string, given: ObjectRecord['permissions']): JsonReply => ({
    kind: 'json',
    message: `${title} ${message} successfully.`,
    generation: permissionsTag(given),
    result: {
      permissions: Object.entries(given).map(([user, level]) => `${user}:${level}`),
    } satisfies z.output<typeof PermissionsAnswer>,
  });
  const shared = { tag: 'Permissions', result: PermissionsAnswer } as const;
  return [
    {
      ...shared,
      access: 'token',
      operationId: `get_${noun}_permissions`,
      methods: ['get'],
      path,
      summary: `The permissions of a ${noun}. USER.`,
      handle: async (call) => reply('permissions retrieved', await permissions.read(call.caller, idOf(call))),
    },
    {
      ...shared,
      access: 'token',
      operationId: `set_${noun}_permission`,
      headers: ['If-Match'],
      methods: ['post'],
      path,
      summary: 'Gives a user a level. ADMIN. At least one user stays ADMIN.',
      body: SetPermission,
      handle: async (call) => {
        const { values, problems } = checkFields(SetPermission, call.body);
        const { user, level } = values;
        if (problems.length > 0 || user === undefined || level === undefined) {
          throw new PodgateError('api.invalid', { publicMessages: problems });
        }
        const precondition = preconditionOf(call.ifMatch);
        const given = await permissions.set(call.caller, idOf(call), { user, level }, precondition);
        return reply('permissions updated', given);
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: `delete_${noun}_permission`,
      headers: ['If-Match'],
      methods: ['delete'],
      path: `${path}/{user}`,
      summary: 'Takes away what a user has been given. ADMIN. At least one user stays ADMIN.',
      handle: async (call) => {
        const user = call.params['user'] ?? '';
        const precondition = preconditionOf(call.ifMatch);
        return reply('permission deleted', await permissions.delete(call.caller, idOf(call), user, precondition));
      },
    },
  ];
}
