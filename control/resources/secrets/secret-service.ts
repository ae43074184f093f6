import type { z } from 'zod';

import { PodgateError } from '../../../core/errors.ts';
import { podKey } from '../../../core/ids.ts';
import type { Logger } from '../../../core/logger.ts';
import { usageOfObject } from '../../../core/quota.ts';
import { secretContext, type SecretRecord } from '../../../core/secret.ts';
import { secretPut } from '../../../core/secret-put.ts';
import type { Store } from '../../../core/store.ts';
import type { Vault } from '../../../core/vault.ts';
import type { Caller } from '../../auth/authenticator.ts';
import type { CamelFields } from '../../http/camel-fields.ts';
import type { Precondition } from '../../http/if-match.ts';
import { readObject } from '../../objects/access.ts';
import { changeObject, type ChangedObject, type ChangeParts } from '../../objects/change.ts';
import { HiddenValue } from '../../objects/audit/audit-changes.ts';
import { createWithinQuota } from '../../objects/create-within-quota.ts';
import { deleteObject } from '../../objects/delete.ts';
import { listVisible } from '../../objects/list-visible.ts';
import type { ObjectKind } from '../../objects/object-kind.ts';
import { createObjectPermissions, type ObjectPermissions } from '../../objects/permissions.ts';
import { requireGeneration } from '../../objects/require-generation.ts';
import type { NewSecret, UpdateSecret } from './schema.ts';

export type WrittenSecret = CamelFields<z.output<typeof NewSecret>>;
export type WrittenSecretUpdate = CamelFields<Partial<z.output<typeof UpdateSecret>>>;

export interface SecretParts extends Omit<ChangeParts, 'store'> {
  readonly store: Store;
  readonly vault: Vault;
  readonly log: Logger;
  readonly newUid: () => string;
}

/**
 * What users do with secrets. All throw PodgateError: 'api.not-found', 'api.forbidden' below the level named,
 * 'api.conflict'. Levels: get READ; value and update USER; delete and permissions ADMIN (reading them: USER).
 */
export interface SecretService {
  create(caller: Caller, written: WrittenSecret): Promise<SecretRecord>;
  /**
   * Those on which the caller has READ or more; `all`: every one of the tenant. In the order of ids, from behind `afterId`
   * on.
   */
  list(
    caller: Caller,
    options: { readonly all: boolean; readonly afterId?: string | undefined },
  ): AsyncIterable<SecretRecord>;
  get(caller: Caller, secretId: string): Promise<SecretRecord>;
  /** Throws 'api.forbidden' for one that is not readable. */
  value(caller: Caller, secretId: string): Promise<string>;
  /** Throws 'api.forbidden' when a value is given for one that is not writable. */
  update(
    caller: Caller,
    secretId: string,
    written: WrittenSecretUpdate,
    precondition: Precondition,
  ): Promise<ChangedObject<SecretRecord>>;
  delete(caller: Caller, secretId: string, precondition: Precondition): Promise<void>;
  readonly permissions: ObjectPermissions;
}

export function createSecretService(parts: SecretParts): SecretService {
  const { store, vault, clock, log } = parts;
  const kind = secretObjects(store, log);
  const noteUse = (caller: Caller, secret: SecretRecord, what: string): void =>
    log.info({ tenant: secret.tenant, secretId: secret.secretId, user: caller.username }, what);
  return {
    async create(caller, written) {
      const { scope = 'user', podId = null } = written;
      if (scope === 'pod' && podId === null) throw invalid('pod_id: is required with scope pod');
      if (scope === 'user' && podId !== null) throw invalid('pod_id: is for scope pod; leave it out');
      const nowMs = clock.now();
      const uid = parts.newUid();
      const record: SecretRecord = {
        uid,
        tenant: caller.tenant,
        secretId: written.secretId,
        createdBy: caller.username,
        scope,
        podId,
        description: written.description ?? '',
        readable: written.readable ?? true,
        writable: written.writable ?? true,
        sealed: vault.seal(written.secretValue, secretContext({ uid })),
        generation: 1,
        permissions: { [caller.username]: 'ADMIN' },
        deleting: null,
        createdAtMs: nowMs,
        updatedAtMs: nowMs,
      };
      await createWithinQuota(kind, parts, caller, record);
      noteUse(caller, record, 'a secret was created');
      return record;
    },

    list: (caller, { all, afterId }) =>
      listVisible(store, 'secret', caller, {
        all,
        ...(afterId === undefined ? {} : { after: kind.keyOf(caller.tenant, afterId) }),
      }),

    async get(caller, id) {
      return (await readObject(kind, { caller, id, needed: 'READ', act: 'Reading' })).value;
    },

    async value(caller, id) {
      const { value } = await readObject(kind, { caller, id, needed: 'USER', act: 'Reading the value' });
      if (!value.readable) {
        throw new PodgateError('api.forbidden', {
          publicMessages: [`Secret ${id} is not readable: pods get its value, the API does not show it.`],
        });
      }
      const opened = vault.open(value.sealed, secretContext(value));
      noteUse(caller, value, 'the value of a secret was read');
      return opened;
    },

    async update(caller, id, { description, secretValue }, precondition) {
      return await changeObject(kind, parts, {
        caller,
        id,
        needed: 'USER',
        act: 'Updating',
        decide: (record) => {
          requireGeneration(precondition, record.generation, `Secret ${id}`);
          const change = changeOf(vault, record, description ?? record.description, secretValue ?? null);
          if (change === null) return { change };
          const fields = Object.keys(change).map((field) => (field === 'sealed' ? 'secret_value' : field));
          return {
            change: { ...change, generation: record.generation + 1 },
            log: `'${caller.username}' updated secret, updated_fields: ${fields.join(', ')}`,
          };
        },
      });
    },

    async delete(caller, id, precondition) {
      const deleted = await deleteObject(kind, parts, 'secret', {
        ...{ caller, id, needed: 'ADMIN', act: 'Deleting' },
        allow: (record) => requireGeneration(precondition, record.generation, `Secret ${id}`),
      });
      noteUse(caller, deleted, 'a secret was deleted');
    },

    permissions: createObjectPermissions(kind, parts),
  };
}

/** Null: nothing changes. A value that is written again keeps its sealed text. */
function changeOf(
  vault: Vault,
  record: SecretRecord,
  description: string,
  value: string | null,
): Partial<SecretRecord> | null {
  const change: { -readonly [K in 'description' | 'sealed']?: string } = {};
  if (description !== record.description) change.description = description;
  if (value !== null) {
    if (!record.writable) {
      throw new PodgateError('api.forbidden', {
        publicMessages: [`Secret ${record.secretId} is not writable: its value cannot be replaced.`],
      });
    }
    if (!isSealedValue(vault, record, value)) change.sealed = vault.seal(value, secretContext(record));
  }
  return Object.keys(change).length === 0 ? null : change;
}

function isSealedValue(vault: Vault, record: SecretRecord, value: string): boolean {
  try {
    return vault.open(record.sealed, secretContext(record)) === value;
  } catch {
    // No key opens it any more: writing it anew repairs that.
    return false;
  }
}

/** Secrets as objects. */
export function secretObjects(store: Pick<Store, 'get'>, log: Logger): ObjectKind<SecretRecord> {
  return {
    noun: 'secret',
    keyOf: podKey,
    idOf: ({ secretId }) => secretId,
    get: (key) => store.get('secret', key),
    put: secretPut,
    usageOf: usageOfObject,
    audited: ({ description, scope, podId, readable, writable, sealed }) => ({
      ...{ description, scope, pod_id: podId, readable, writable },
      secret_value: new HiddenValue(sealed),
    }),
    note: ({ tenant, secretId }, line) => {
      log.info({ tenant, secretId }, line);
      return Promise.resolve();
    },
    notFound: (id) =>
      new PodgateError('api.not-found', {
        publicMessages: [`There is no secret ${JSON.stringify(id.slice(0, 128))}.`],
      }),
  };
}

function invalid(problem: string): PodgateError {
  return new PodgateError('api.invalid', { publicMessages: [problem] });
}
