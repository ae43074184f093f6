import { z } from 'zod';

import { type AuditEntry, auditKey, type AuditRecord } from '../../../core/audit.ts';
import type { Clock } from '../../../core/clock.ts';
import { listPages } from '../../../core/list-all.ts';
import { userIndex } from '../../../core/permissions.ts';
import type { Store } from '../../../core/store.ts';
import { listParameters } from '../../http/list-query.ts';
import type { AuthenticatedCall, Operation } from '../../http/operation.ts';
import { readObject } from '../access.ts';
import { listDescription, replyList } from '../list-operation.ts';
import type { ObjectKind, ObjectRecord } from '../object-kind.ts';
import { currentEntries } from './audit-writes.ts';

/** Records that are read at a time. */
const PAGE = 50;
/** Of an entry, as it is returned. */
const ENTRY_BYTES = 8 * 1024;

const AuditChangeAnswer = z.object({
  field: z.string(),
  before: z.unknown().describe('Null: there was none.'),
  after: z.unknown().describe('Null: there is none any more.'),
});
export const AuditAnswer = z.object({
  id: z.string(),
  time: z.iso.datetime(),
  operation: z.string().describe('By its name here; empty for what Podgate does by itself.'),
  user: z.string(),
  service: z.string().nullable().describe('The service that acted on behalf of the user.'),
  request_id: z.string().describe('As in the X-Request-Id of the response, and in the log.'),
  address: z.string().describe('Of the client.'),
  object_kind: z.string(),
  object_id: z.string(),
  object_uid: z.string().describe('Another object of the same id has another one.'),
  changes: z.array(AuditChangeAnswer).describe('Secret values are not shown, long ones are cut.'),
});

const AUDIT_LIST = listDescription(
  'id',
  ['operation', 'user', 'object_id'],
  [
    { name: 'user', description: 'Only what this user did.' },
    { name: 'operation', description: 'Only calls of this operation.' },
    {
      name: 'object_kind',
      description: 'Only objects of this kind: pod, volume, snapshot, secret, template or image.',
    },
    { name: 'object_id', description: 'Only objects with this id.' },
  ],
);

export interface AuditParts {
  readonly store: Pick<Store, 'get' | 'list'>;
  readonly clock: Pick<Clock, 'now'>;
}

/** The audit log of everything that a user may read. */
export function auditOperation({ store, clock }: AuditParts): Operation {
  async function* entries(call: AuthenticatedCall): AsyncGenerator<object> {
    const { tenant, username } = call.caller;
    const of = call.isAdminView ? { tenant } : { tenant, index: userIndex(username) };
    for await (const page of listPages(store, 'audit', { ...of, pageSize: PAGE })) {
      for (const { value } of page) yield* answersOf(value, clock.now());
    }
  }
  return {
    access: 'token',
    operationId: 'list_audit',
    methods: ['get'],
    path: '/audit',
    tag: 'Audit',
    summary:
      'What was changed of the objects whose ADMIN you are, and of deleted ones that you created; with X-Pods-Admin, of ' +
      'all objects of the tenant. The newest first unless order=asc.',
    query: listParameters(AUDIT_LIST),
    headers: ['X-Pods-Admin'],
    result: z.array(AuditAnswer),
    handle: (call) => {
      const query = new URLSearchParams(call.query);
      if (!query.has('order')) query.set('order', 'desc');
      return replyList(
        { ...call, query },
        {
          description: AUDIT_LIST,
          message: 'Audit log retrieved successfully.',
          entryBytes: ENTRY_BYTES,
          // They come object by object.
          isInOrder: false,
          entries: () => entries(call),
        },
      );
    },
  };
}

/** The audit log of one object. */
export function objectAuditOperation<R extends ObjectRecord>(
  kind: ObjectKind<R>,
  { store, clock }: AuditParts,
  prefix: string,
): Operation {
  const { noun } = kind;
  return {
    access: 'token',
    operationId: `get_${noun}_audit`,
    methods: ['get'],
    path: `${prefix}/{${noun}_id}/audit`,
    tag: 'Audit',
    summary: `The last changes of a ${noun}: who, when, from where and what. ADMIN. The newest first.`,
    result: z.array(AuditAnswer),
    handle: async (call) => {
      const id = call.params[`${noun}_id`] ?? '';
      const { value } = await readObject(kind, {
        caller: call.caller,
        id,
        needed: 'ADMIN',
        act: 'Reading the audit log',
      });
      const stored = await store.get('audit', auditKey(value.tenant, value.uid));
      const result = stored === null ? [] : answersOf(stored.value, clock.now()).toReversed();
      return { kind: 'json', message: 'Audit log retrieved successfully.', result };
    },
  };
}

/** Oldest first. */
function answersOf({ entries }: AuditRecord, nowMs: number): readonly z.output<typeof AuditAnswer>[] {
  return currentEntries(entries, nowMs).map(answerOf);
}

function answerOf(entry: AuditEntry): z.output<typeof AuditAnswer> {
  const { id, atMs, operation, user, service, requestId, address, changes } = entry;
  return {
    ...{ id, time: new Date(atMs).toISOString(), operation, user, service },
    ...{ request_id: requestId, address },
    ...{ object_kind: entry.objectKind, object_id: entry.objectId, object_uid: entry.objectUid },
    changes: [...changes],
  };
}
