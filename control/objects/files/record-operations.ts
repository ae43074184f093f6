import { z } from 'zod';

import type { RecordTypes, Store } from '../../../core/store.ts';
import { filesRefOf, type VolumeFiles, type VolumeRecord } from '../../../core/volume.ts';
import type { PermissionLevel } from '../../../core/pod.ts';
import { preconditionOf } from '../../http/if-match.ts';
import { type ListFilter, listParameters } from '../../http/list-query.ts';
import type { AuthenticatedCall, JsonReply, Operation } from '../../http/operation.ts';
import { readObject } from '../access.ts';
import { type ChangedObject, changeObject, type ChangeParts } from '../change.ts';
import { listDescription, replyList } from '../list-operation.ts';
import { listVisible } from '../list-visible.ts';
import type { ObjectKind } from '../object-kind.ts';
import { permissionOperations } from '../permission-operations.ts';
import { createObjectPermissions } from '../permissions.ts';
import { requireGeneration } from '../require-generation.ts';
import { fileOperations } from './file-operations.ts';
import { type FilesKind, purgeFilesRecord, requireShownFiles } from './files-record.ts';

type SizeLimits = Pick<VolumeRecord, 'sizeLimit' | 'greatestSizeLimit'>;

/** Of a record as it is returned. */
const ENTRY_BYTES = 4 * 1024;

export interface FilesRecordParts<K extends FilesKind> extends Omit<ChangeParts, 'store'> {
  /** Also their noun, in paths and sentences. */
  readonly name: K;
  readonly kind: ObjectKind<RecordTypes[K]>;
  readonly store: Store;
  readonly files: VolumeFiles;
  /** Of what `answer` makes. */
  readonly result: z.ZodType;
  readonly answer: (record: RecordTypes[K]) => Promise<object>;
  /** Beyond the times. */
  readonly sorts?: readonly string[];
  readonly filters?: readonly ListFilter[];
  /** What the summary of the deletion adds. */
  readonly deletionNote?: string;
  /** Between the mark of the deletion and the removal of the files. */
  readonly stopWork?: (key: string) => Promise<void>;
}

/** What the API has alike for all records with files behind them. */
export interface FilesRecordOperations<K extends FilesKind> {
  reply(record: RecordTypes[K], message: string): Promise<JsonReply>;
  read(call: AuthenticatedCall, needed: PermissionLevel, act: string): Promise<RecordTypes[K]>;
  /** Throws what changeObject throws. `decide` on a fresh record: null = it is as wished already. */
  change(
    call: AuthenticatedCall,
    access: { readonly needed: PermissionLevel; readonly act: string },
    decide: (before: RecordTypes[K]) => Partial<RecordTypes[K]> | null,
  ): Promise<ChangedObject<RecordTypes[K]>>;
  update(
    call: AuthenticatedCall,
    change: (before: RecordTypes[K]) => Partial<RecordTypes[K]> | null,
  ): Promise<JsonReply>;
  readonly list: Operation;
  readonly get: Operation;
  readonly remove: Operation;
  /** Of their files and permissions. */
  readonly others: readonly Operation[];
}

export function filesRecordOperations<K extends FilesKind>(parts: FilesRecordParts<K>): FilesRecordOperations<K> {
  const { name, kind, store, files, result, answer } = parts;
  const title = `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
  const path = `/pods/${name}s`;
  const shared = { tag: `${title}s`, result };
  const idOf = ({ params }: AuthenticatedCall): string => params[`${name}_id`] ?? '';

  const reply = async (record: RecordTypes[K], message: string): Promise<JsonReply> => ({
    kind: 'json',
    message,
    result: await answer(record),
    generation: record.generation,
  });
  const read = async (call: AuthenticatedCall, needed: PermissionLevel, act: string): Promise<RecordTypes[K]> =>
    (await readObject(kind, { caller: call.caller, id: idOf(call), needed, act })).value;
  const change = async (
    call: AuthenticatedCall,
    access: { readonly needed: PermissionLevel; readonly act: string },
    decide: (before: RecordTypes[K]) => Partial<RecordTypes[K]> | null,
  ) => {
    const precondition = preconditionOf(call.ifMatch);
    return await changeObject(kind, parts, {
      ...access,
      caller: call.caller,
      id: idOf(call),
      decide: (before) => {
        requireGeneration(precondition, before.generation, `${title} ${idOf(call)}`);
        const change = decide(before);
        return { change: change === null ? null : { ...change, ...greatestSizeLimit(before, change) } };
      },
    });
  };
  async function* answers(call: AuthenticatedCall, afterId: string | undefined): AsyncGenerator<object> {
    const after = afterId === undefined ? {} : { after: kind.keyOf(call.caller.tenant, afterId) };
    for await (const record of listVisible(store, name, call.caller, { all: call.isAdminView, ...after })) {
      yield await answer(record);
    }
  }
  const description = listDescription(
    `${name}_id`,
    ['creation_ts', 'update_ts', ...(parts.sorts ?? [])],
    parts.filters ?? [],
  );

  return {
    reply,
    read,
    change,
    async update(call, decide) {
      const { record, isChanged } = await change(call, { needed: 'USER', act: 'Updating' }, decide);
      if (isChanged) return await reply(record, `${title} updated successfully.`);
      const message = `Incoming data made no changes to ${name}. Is incoming data equal to current data?`;
      return { ...(await reply(record, message)), outcome: 'error' };
    },
    list: {
      ...shared,
      access: 'token',
      operationId: `list_${name}s`,
      methods: ['get'],
      path,
      summary: `The ${name}s on which you have READ or more; with X-Pods-Admin, all of the tenant.`,
      query: listParameters(description),
      headers: ['X-Pods-Admin'],
      result: z.array(result),
      handle: (call) =>
        replyList(call, {
          description,
          message: `${title}s retrieved successfully.`,
          entryBytes: ENTRY_BYTES,
          isInOrder: true,
          entries: (afterId) => answers(call, afterId),
        }),
    },
    get: {
      ...shared,
      access: 'token',
      operationId: `get_${name}`,
      methods: ['get'],
      path: `${path}/{${name}_id}`,
      summary: `A ${name}. READ.`,
      handle: async (call) => await reply(await read(call, 'READ', 'Reading'), `${title} retrieved successfully.`),
    },
    remove: {
      ...shared,
      access: 'token',
      operationId: `delete_${name}`,
      methods: ['delete'],
      path: `${path}/{${name}_id}`,
      summary: `Deletes a ${name} with its files. ADMIN.${parts.deletionNote ?? ''}`,
      headers: ['If-Match'],
      result: z.string(),
      handle: async (call) => {
        // Records with files have this field alike; a Partial of their union does not say so.
        const mark = (): Partial<RecordTypes[K]> => ({ deleting: {} }) as Partial<RecordTypes[K]>;
        const { record } = await change(call, { needed: 'ADMIN', act: 'Deleting' }, mark);
        const key = kind.keyOf(record.tenant, kind.idOf(record));
        await parts.stopWork?.(key);
        await purgeFilesRecord(parts, name, key);
        return { kind: 'json', message: `${title} successfully deleted.`, result: '' };
      },
    },
    others: [
      ...fileOperations({
        noun: name,
        files,
        refOf: async (call, needed, act) => {
          const record = await read(call, needed, act);
          requireShownFiles(record);
          return filesRefOf(record);
        },
      }),
      ...permissionOperations(name, createObjectPermissions(kind, parts), '/pods'),
    ],
  };
}

/** A limit that is lowered counts as before: what was written, is being written or is mounted goes by the former one. */
function greatestSizeLimit(
  before: SizeLimits,
  { sizeLimit = before.sizeLimit }: Partial<SizeLimits>,
): Pick<SizeLimits, 'greatestSizeLimit'> {
  const greatest = Math.max(before.sizeLimit, before.greatestSizeLimit ?? 0);
  return sizeLimit < greatest ? { greatestSizeLimit: greatest } : {};
}
