import type { z } from 'zod';

import { compareAndSet } from '../../../core/compare-and-set.ts';
import { PodgateError } from '../../../core/errors.ts';
import { imagePut } from '../../../core/image-put.ts';
import { imageKey, type ImageRecord, isImageOfTenant, isWithinTenant } from '../../../core/image-record.ts';
import { listAll } from '../../../core/list-all.ts';
import type { Logger } from '../../../core/logger.ts';
import { addUsage, NO_USAGE, usageOfObject } from '../../../core/quota.ts';
import type { Store, Stored } from '../../../core/store.ts';
import type { Caller } from '../../auth/authenticator.ts';
import { auditChanges, type AuditedFields } from '../../objects/audit/audit-changes.ts';
import { type AuditWrites, auditWrites } from '../../objects/audit/audit-writes.ts';
import { admissionLane, ATTEMPTS_MAX, type ChangeParts, tooManyConflicts } from '../../objects/change.ts';
import { requireGeneration } from '../../objects/require-generation.ts';
import { type Generation, type Precondition, stateTag } from '../../http/if-match.ts';
import type { NewImage, UpdateImage } from './schema.ts';

export interface ImageParts extends Pick<ChangeParts, 'clock' | 'admission' | 'mutex'> {
  readonly store: Store;
  readonly log: Logger;
  readonly newUid: () => string;
  /** Of the configuration: for every tenant. */
  readonly imageAllowList: readonly string[];
  /** The tenant whose administrators decide for the others as well; null: none. */
  readonly siteAdminTenant: string | null;
}

type Written = z.output<typeof NewImage>;
type WrittenUpdate = z.output<typeof UpdateImage>;

/** One of the configuration has no record. */
export type ListedImage = ImageRecord | { readonly image: string };

/**
 * The allow list of images. Everyone sees what counts for their tenant; administrators change it for their own tenant,
 * those of the site's tenant for all. All throw PodgateError: 'api.not-found', 'api.forbidden', 'api.conflict'.
 */
export interface ImageService {
  list(caller: Caller): AsyncIterable<ListedImage>;
  get(caller: Caller, image: string): Promise<ListedImage>;
  /** All or none. `skipDuplicates`: those that are there already are left as they are, and not returned. */
  add(
    caller: Caller,
    written: readonly Written[],
    options: { readonly skipDuplicates: boolean },
  ): Promise<readonly ImageRecord[]>;
  update(
    caller: Caller,
    image: string,
    written: WrittenUpdate,
    precondition: Precondition,
  ): Promise<{ record: ImageRecord; isChanged: boolean }>;
  delete(caller: Caller, image: string, precondition: Precondition): Promise<void>;
}

export function createImageService(parts: ImageParts): ImageService {
  const { store, clock, log, admission, mutex, imageAllowList, siteAdminTenant } = parts;

  /** The entry that counts for the caller's tenant: its own before that of the site. */
  async function find(tenant: string, image: string): Promise<Stored<'image'> | null> {
    const own = await store.get('image', imageKey(tenant, image));
    if (own !== null || siteAdminTenant === null || siteAdminTenant === tenant) return own;
    const ofSite = await store.get('image', imageKey(siteAdminTenant, image));
    return ofSite !== null && isImageOfTenant(ofSite.value, tenant) ? ofSite : null;
  }

  async function findOwn({ tenant, ...caller }: Caller, image: string, act: string): Promise<Stored<'image'>> {
    if (!caller.isAdministrator) throw administratorsOnly(act);
    const stored = await store.get('image', imageKey(tenant, image));
    if (stored !== null) return stored;
    if (imageAllowList.includes(image)) {
      throw forbidden(`Image ${image} is in the configuration; the operator can change that.`);
    }
    if ((await find(tenant, image)) !== null) {
      throw forbidden(
        `Image ${image} was added by tenant ${siteAdminTenant ?? ''}, whose administrators can change that.`,
      );
    }
    throw notFound(image);
  }

  function requireTenants({ tenant }: Caller, tenants: readonly string[]): void {
    if (tenant === siteAdminTenant || isWithinTenant(tenants, tenant)) return;
    throw forbidden(
      `tenants: administrators of ${tenant} can decide for ${tenant} alone. The setting siteAdminTenant names the tenant whose administrators decide for all.`,
    );
  }

  /** Of the change of a record, which is one of the two. Administrators alone read it. */
  const audit = async (
    caller: Caller,
    { uid, tenant, image: id, createdBy }: ImageRecord,
    { before, after }: { readonly before: ImageRecord | null; readonly after: ImageRecord | null },
  ): Promise<AuditWrites> => {
    const changes = auditChanges(
      before === null ? null : auditedImage(before),
      after === null ? null : auditedImage(after),
    );
    return await auditWrites(
      store,
      { kind: 'image', id, uid, tenant, createdBy, readers: [] },
      { caller, atMs: clock.now(), changes, isDeletion: after === null },
    );
  };
  const note = ({ tenant, username }: Caller, image: string, what: string): void =>
    log.info({ tenant, image, user: username }, what);

  return {
    async *list({ tenant }) {
      yield* imageAllowList.map((image) => ({ image }));
      for (const owner of new Set([tenant, siteAdminTenant ?? tenant])) {
        for await (const { value } of listAll(store, 'image', { tenant: owner })) {
          if (owner === tenant || isImageOfTenant(value, tenant)) yield value;
        }
      }
    },

    async get({ tenant }, image) {
      const stored = await find(tenant, image);
      if (stored !== null) return stored.value;
      if (imageAllowList.includes(image)) return { image };
      throw notFound(image);
    },

    async add(caller, written, { skipDuplicates }) {
      if (!caller.isAdministrator) throw administratorsOnly('Adding images');
      const { tenant, username: createdBy } = caller;
      const seen = new Set<string>();
      for (const { image, tenants } of written) {
        requireTenants(caller, tenants);
        if (seen.has(image) && !skipDuplicates) throw taken(image);
        seen.add(image);
      }
      const nowMs = clock.now();
      const records = [...seen].map((name): ImageRecord => {
        const { image, tenants, description } = written.find((each) => each.image === name) ?? {
          ...{ image: name, tenants: [], description: '' },
        };
        return {
          ...{ uid: parts.newUid(), tenant, image, tenants, description, createdBy },
          ...{ createdAtMs: nowMs, updatedAtMs: nowMs },
        };
      });
      const attempt = async (): Promise<readonly ImageRecord[] | null> => {
        const fresh: ImageRecord[] = [];
        const done: ImageRecord[] = [];
        for (const record of records) {
          const existing = await store.get('image', imageKey(tenant, record.image));
          if (existing === null && !imageAllowList.includes(record.image)) fresh.push(record);
          // A commit may be done and its answer lost on the way: then what is there is ours.
          else if (existing?.value.uid === record.uid) done.push(record);
          else if (!skipDuplicates) throw taken(record.image);
        }
        if (fresh.length === 0) return done;
        const usage = fresh.map(usageOfObject).reduce(addUsage, NO_USAGE);
        const admitted = await admission.admit({ tenant, createdBy }, NO_USAGE, usage);
        const audited = await Promise.all(
          fresh.map((record) => audit(caller, record, { before: null, after: record })),
        );
        const result = await store.commit({
          puts: [
            ...fresh.map((record) => imagePut(record, 'absent')),
            ...admitted,
            ...audited.flatMap(({ puts }) => puts),
          ],
        });
        return result.kind === 'committed' ? fresh : null;
      };
      const added = await mutex.run(admissionLane(caller), () => compareAndSet(attempt, ATTEMPTS_MAX));
      if (added === null) throw tooManyConflicts({ noun: 'image' }, records[0]?.image ?? '');
      for (const { image } of added) note(caller, image, 'an image was added to the allow list');
      return added;
    },

    async update(caller, image, { tenants, description }, precondition) {
      if (tenants !== null && tenants !== undefined) requireTenants(caller, tenants);
      const attempt = async () => {
        const { value, revision } = await findOwn(caller, image, 'Changing images');
        requireGeneration(precondition, imageTag(value), `Image ${image}`);
        const change = { tenants: tenants ?? value.tenants, description: description ?? value.description };
        const isSame = change.description === value.description && change.tenants.join() === value.tenants.join();
        if (isSame) return { record: value, isChanged: false };
        const record = { ...value, ...change, updatedAtMs: clock.now() };
        const usage = await admission.admit(value, usageOfObject(value), usageOfObject(record));
        const { puts } = await audit(caller, value, { before: value, after: record });
        const result = await store.commit({ puts: [imagePut(record, revision), ...usage, ...puts] });
        return result.kind === 'committed' ? { record, isChanged: true } : null;
      };
      const changed = await mutex.run(admissionLane(caller), () => compareAndSet(attempt, ATTEMPTS_MAX));
      if (changed === null) throw tooManyConflicts({ noun: 'image' }, image);
      if (changed.isChanged) note(caller, image, 'an image of the allow list was changed');
      return changed;
    },

    async delete(caller, image, precondition) {
      const attempt = async (): Promise<true | null> => {
        const { key, revision, value } = await findOwn(caller, image, 'Deleting images');
        requireGeneration(precondition, imageTag(value), `Image ${image}`);
        const { puts, deletes } = await audit(caller, value, { before: value, after: null });
        const result = await store.commit({
          ...{ puts, deletes: [{ kind: 'image', key, expected: revision, uid: value.uid }, ...deletes] },
        });
        return result.kind === 'committed' ? true : null;
      };
      if ((await compareAndSet(attempt, ATTEMPTS_MAX)) === null) throw tooManyConflicts({ noun: 'image' }, image);
      note(caller, image, 'an image was deleted from the allow list');
    },
  };
}

/** Its generation: images have no number. */
export function imageTag({ uid, tenants, description }: ImageRecord): Generation {
  return stateTag([uid, tenants, description]);
}

function auditedImage({ description, tenants }: ImageRecord): AuditedFields {
  return { description, tenants };
}

function administratorsOnly(act: string): PodgateError {
  return forbidden(`${act} is for administrators.`);
}

function forbidden(sentence: string): PodgateError {
  return new PodgateError('api.forbidden', { publicMessages: [sentence] });
}

function notFound(image: string): PodgateError {
  return new PodgateError('api.not-found', {
    publicMessages: [`There is no image ${JSON.stringify(image.slice(0, 256))} on the allow list.`],
  });
}

function taken(image: string): PodgateError {
  return new PodgateError('api.conflict', { publicMessages: [`Image ${image} is on the allow list already.`] });
}
