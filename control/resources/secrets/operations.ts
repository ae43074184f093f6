import { z } from 'zod';

import type { SecretRecord } from '../../../core/secret.ts';
import { checkedBody } from '../../http/checked-body.ts';
import { preconditionOf } from '../../http/if-match.ts';
import { listParameters } from '../../http/list-query.ts';
import type { AuthenticatedCall, JsonReply, Operation } from '../../http/operation.ts';
import { listDescription, replyList } from '../../objects/list-operation.ts';
import { permissionOperations } from '../../objects/permission-operations.ts';
import { NewSecret, SecretAnswer, SecretValueAnswer, UpdateSecret } from './schema.ts';
import type { SecretService } from './secret-service.ts';

/** Of a secret as it is returned. */
const ENTRY_BYTES = 4 * 1024;
const SECRET_LIST = listDescription(
  'secret_id',
  ['creation_ts', 'update_ts'],
  [
    { name: 'scope', description: 'Only secrets of this scope.', schema: SecretAnswer.shape.scope },
    { name: 'pod_id', description: 'Only secrets of this pod.' },
  ],
);

const idOf = ({ params }: AuthenticatedCall): string => params['secret_id'] ?? '';

/** Everything under /pods/secrets. No response but that of get_secret_value has a value. */
export function secretOperations(secrets: SecretService): readonly Operation[] {
  const reply = (message: string, record: SecretRecord): JsonReply => ({
    kind: 'json',
    message,
    result: secretAnswer(record),
    generation: record.generation,
  });
  async function* answers(call: AuthenticatedCall, afterId?: string): AsyncGenerator<z.output<typeof SecretAnswer>> {
    for await (const record of secrets.list(call.caller, { all: call.isAdminView, afterId }))
      yield secretAnswer(record);
  }
  const shared = { tag: 'Secrets' } as const;
  return [
    {
      ...shared,
      access: 'token',
      operationId: 'list_secrets',
      headers: ['X-Pods-Admin'],
      methods: ['get'],
      path: '/pods/secrets',
      summary: 'The secrets on which you have READ or more, without their values.',
      query: listParameters(SECRET_LIST),
      result: z.array(SecretAnswer),
      handle: (call) =>
        replyList(call, {
          description: SECRET_LIST,
          message: 'Secrets retrieved successfully.',
          entryBytes: ENTRY_BYTES,
          isInOrder: true,
          entries: (afterId) => answers(call, afterId),
        }),
    },
    {
      ...shared,
      access: 'token',
      operationId: 'create_secret',
      methods: ['post'],
      path: '/pods/secrets',
      summary: 'Stores a value encrypted. You become its ADMIN. Pods name it in secret_map: ${secret:secret_id}.',
      body: NewSecret,
      result: SecretAnswer,
      handle: async ({ caller, body }) =>
        reply('Secret created successfully.', await secrets.create(caller, checkedBody(NewSecret, body))),
    },
    {
      ...shared,
      access: 'token',
      operationId: 'get_secret',
      methods: ['get'],
      path: '/pods/secrets/{secret_id}',
      summary: 'A secret without its value. READ.',
      result: SecretAnswer,
      handle: async (call) => reply('Secret retrieved successfully.', await secrets.get(call.caller, idOf(call))),
    },
    {
      ...shared,
      access: 'token',
      operationId: 'get_secret_value',
      methods: ['get'],
      path: '/pods/secrets/{secret_id}/value',
      summary: 'The value of a secret that is readable. USER.',
      result: SecretValueAnswer,
      handle: async (call) => ({
        kind: 'json',
        message: 'Secret value retrieved successfully.',
        result: {
          secret_id: idOf(call),
          secret_value: await secrets.value(call.caller, idOf(call)),
        } satisfies z.output<typeof SecretValueAnswer>,
      }),
    },
    {
      ...shared,
      access: 'token',
      operationId: 'update_secret',
      headers: ['If-Match'],
      methods: ['put'],
      path: '/pods/secrets/{secret_id}',
      summary:
        'Changes the description, or the value of a secret that is writable. USER. Pods get it at their next start.',
      body: UpdateSecret,
      result: SecretAnswer,
      handle: async (call) => {
        const written = checkedBody(UpdateSecret, call.body);
        const changed = await secrets.update(call.caller, idOf(call), written, preconditionOf(call.ifMatch));
        if (changed.isChanged) return reply('Secret updated successfully.', changed.record);
        const same = 'Incoming data made no changes to secret. Is incoming data equal to current data?';
        return { ...reply(same, changed.record), outcome: 'error' };
      },
    },
    {
      ...shared,
      access: 'token',
      operationId: 'delete_secret',
      headers: ['If-Match'],
      methods: ['delete'],
      path: '/pods/secrets/{secret_id}',
      summary: 'Deletes a secret. ADMIN. Pods that use it do not start any more.',
      result: z.string(),
      handle: async (call) => {
        await secrets.delete(call.caller, idOf(call), preconditionOf(call.ifMatch));
        return { kind: 'json', message: 'Secret successfully deleted.', result: idOf(call) };
      },
    },
    ...permissionOperations('secret', secrets.permissions, '/pods'),
  ];
}

function secretAnswer(record: SecretRecord): z.output<typeof SecretAnswer> {
  return {
    secret_id: record.secretId,
    scope: record.scope,
    pod_id: record.podId,
    description: record.description,
    readable: record.readable,
    writable: record.writable,
    sk_secret_name: `pods_${record.tenant}_user_${record.createdBy}_${record.secretId}`,
    creation_ts: new Date(record.createdAtMs).toISOString(),
    update_ts: new Date(record.updatedAtMs).toISOString(),
    added_by: record.createdBy,
  };
}
