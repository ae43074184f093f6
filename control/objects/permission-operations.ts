import { z } from 'zod';

import { PodgateError } from '../../core/errors.ts';
import type { PodRecord } from '../../core/pod.ts';
import type { PodService } from '../resources/pods/pod-service.ts';
import { checkFields } from '../http/field-checks.ts';
import type { Operation } from '../http/operation.ts';
import { podIdOf } from '../resources/pods/operations.ts';
import type { PodSchemas } from '../resources/pods/schema.ts';

const PermissionsAnswer = z.object({
  permissions: z.array(z.string()).describe('user:LEVEL, with the levels READ, USER and ADMIN.'),
});

/** Who may do what with a pod. */
export function permissionOperations(pods: PodService, schemas: PodSchemas): readonly Operation[] {
  return [
    {
      operationId: 'get_pod_permissions',
      methods: ['get'],
      path: '/pods/{pod_id}/permissions',
      tag: 'Permissions',
      summary: 'The permissions of a pod. USER.',
      result: PermissionsAnswer,
      access: 'token',
      handle: async (call) => ({
        kind: 'json',
        message: 'Pod permissions retrieved successfully.',
        result: permissionsAnswer(await pods.permissions(call.caller, podIdOf(call))),
      }),
    },
    {
      operationId: 'set_pod_permission',
      methods: ['post'],
      path: '/pods/{pod_id}/permissions',
      tag: 'Permissions',
      summary: 'Gives a user a level. ADMIN. At least one user stays ADMIN.',
      body: schemas.SetPermission,
      result: PermissionsAnswer,
      access: 'token',
      handle: async (call) => {
        const { values, problems } = checkFields(schemas.SetPermission, call.body);
        const { user, level } = values;
        if (problems.length > 0 || user === undefined || level === undefined) {
          throw new PodgateError('api.invalid', { publicMessages: problems });
        }
        return {
          kind: 'json',
          message: 'Pod permissions updated successfully.',
          result: permissionsAnswer(await pods.setPermission(call.caller, podIdOf(call), { user, level })),
        };
      },
    },
    {
      operationId: 'delete_pod_permission',
      methods: ['delete'],
      path: '/pods/{pod_id}/permissions/{user}',
      tag: 'Permissions',
      summary: 'Takes away what a user has been given. ADMIN. At least one user stays ADMIN.',
      result: PermissionsAnswer,
      access: 'token',
      handle: async (call) => ({
        kind: 'json',
        message: 'Pod permission deleted successfully.',
        result: permissionsAnswer(await pods.deletePermission(call.caller, podIdOf(call), call.params['user'] ?? '')),
      }),
    },
  ];
}

function permissionsAnswer({ permissions }: PodRecord): z.output<typeof PermissionsAnswer> {
  return { permissions: Object.entries(permissions).map(([user, level]) => `${user}:${level}`) };
}
