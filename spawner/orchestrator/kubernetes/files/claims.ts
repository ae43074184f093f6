import type { V1PersistentVolumeClaim } from '@kubernetes/client-node';
import { pause } from '../../../../core/abort.ts';
import { PodgateError } from '../../../../core/errors.ts';
import type { FilesRef } from '../../../../core/volume.ts';
import { type JsonRecord, recordAt, textAt } from '../api/json.ts';
import { quantityOf } from '../api/quantity.ts';
import { createFailure, type Refusal } from '../api/refusal.ts';
import type { ClusterObjects, Patched } from '../cluster-objects.ts';
import { ANNOTATION, isDeleting, LABEL, MANAGED_BY, versionOf } from '../objects.ts';
import type { KubernetesSettings } from '../options.ts';
import { growthFailure } from './growth-failure.ts';

/** The claim changes while it is bound, and what we change names its version. */
const CHANGE_TRIES = 10;
const CHANGE_RETRY_MS = 200;
const LABEL_MAX_LENGTH = 63;
const MIB = 2 ** 20;

/** Of a volume or snapshot: its name has the uid, so that it is never another's. */
export function filesClaimName(site: string, { kind, uid }: Pick<FilesRef, 'kind' | 'uid'>): string {
  return `${kind}-${site}-${uid}`;
}

/** Of claims, and of the pods that serve their files. They have no label of a pod: nothing of a pod's removal hits them. */
export function filesLabels(site: string, { kind, uid, tenant, id }: FilesRef): Record<string, string> {
  return {
    [MANAGED_BY]: 'podgate',
    'app.kubernetes.io/name': 'podgate-files',
    [LABEL.site]: site,
    [LABEL.tenant]: tenant,
    [LABEL.files]: kind,
    [LABEL.filesUid]: uid,
    [LABEL.filesName]: id.slice(0, LABEL_MAX_LENGTH),
  };
}

/** Pure. */
export function filesClaimManifest(
  { site, namedVolumes, storageClass }: Pick<KubernetesSettings, 'site' | 'namedVolumes' | 'storageClass'>,
  ref: FilesRef,
  sizeLimitMiB: number,
): V1PersistentVolumeClaim {
  const className = namedVolumes.storageClass ?? storageClass;
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: {
      name: filesClaimName(site, ref),
      labels: filesLabels(site, ref),
      annotations: { [ANNOTATION.filesName]: ref.id },
    },
    spec: {
      accessModes: [namedVolumes.accessMode],
      ...(className === null ? {} : { storageClassName: className }),
      resources: { requests: { storage: `${sizeLimitMiB}Mi` } },
    },
  };
}

export type ClaimEnsured =
  | { readonly kind: 'ensured' }
  | { readonly kind: 'refused'; readonly refusal: Refusal }
  /** The last of it is being removed. */
  | { readonly kind: 'deleting' };

/** The claims of volumes and snapshots. */
export class FilesClaims {
  readonly #objects: ClusterObjects;
  readonly #settings: KubernetesSettings;

  constructor(objects: ClusterObjects, settings: KubernetesSettings) {
    this.#objects = objects;
    this.#settings = settings;
  }

  nameOf(ref: FilesRef): string {
    return filesClaimName(this.#settings.site, ref);
  }

  /** Makes it unless it is there. Throws PodgateError 'orchestrator.unavailable' when something else has its name. */
  async ensure(ref: FilesRef, sizeLimitMiB: number, signal: AbortSignal): Promise<ClaimEnsured> {
    const present = await this.#read(ref, signal);
    if (present !== null) {
      if (isDeleting(present)) return { kind: 'deleting' };
      // A call that raised the limit may have been interrupted. One that cannot grow now is used as it is.
      if (isSmaller(present, sizeLimitMiB)) await this.#patchSize(present, sizeLimitMiB, { isTrial: false }, signal);
      return { kind: 'ensured' };
    }
    const manifest = filesClaimManifest(this.#settings, ref, sizeLimitMiB);
    const created = await this.#objects.create('persistentvolumeclaims', manifest, signal);
    if (created.kind === 'refused') return created;
    if (created.kind === 'created') return { kind: 'ensured' };
    const other = await this.#read(ref, signal);
    return other === null || isDeleting(other) ? { kind: 'deleting' } : { kind: 'ensured' };
  }

  /** Throws 'orchestrator.unavailable' with a sentence when there is none afterwards. */
  async require(ref: FilesRef, sizeLimitMiB: number, signal: AbortSignal): Promise<void> {
    const ensured = await this.ensure(ref, sizeLimitMiB, signal);
    if (ensured.kind === 'ensured') return;
    const reason =
      ensured.kind === 'deleting'
        ? `The ${ref.kind} is being deleted.`
        : createFailure(ensured.refusal, 'volume').reason.replace(/this pod/g, `this ${ref.kind}`);
    throw new PodgateError('orchestrator.unavailable', { publicMessages: [reason] });
  }

  async exists(ref: FilesRef, signal: AbortSignal): Promise<boolean> {
    const present = await this.#read(ref, signal);
    return present !== null && !isDeleting(present);
  }

  /**
   * Makes the claim as large as a limit that was raised; there need not be one. The cluster refuses where its storage class
   * does not allow that. `isTrial`: only whether it could. Throws PodgateError 'api.conflict' with a sentence.
   */
  async grow(ref: FilesRef, sizeLimitMiB: number, options: { readonly isTrial: boolean }): Promise<void> {
    const { signal } = new AbortController();
    for (let tries = 0; tries < CHANGE_TRIES; tries += 1) {
      const present = await this.#read(ref, signal);
      if (present === null || isDeleting(present) || !isSmaller(present, sizeLimitMiB)) return;
      const patched = await this.#patchSize(present, sizeLimitMiB, options, signal);
      if (patched.kind === 'refused') {
        throw growthFailure(ref, textAt(recordAt(present, 'spec'), 'storageClassName'), patched.refusal);
      }
      if (patched.kind !== 'changed') return;
      await pause(CHANGE_RETRY_MS, signal);
    }
    throw new PodgateError('orchestrator.unavailable', { detail: 'a claim keeps changing while it is enlarged' });
  }

  #patchSize(
    claim: JsonRecord,
    sizeLimitMiB: number,
    options: { readonly isTrial: boolean },
    signal: AbortSignal,
  ): Promise<Patched> {
    const change = { spec: { resources: { requests: { storage: `${sizeLimitMiB}Mi` } } } };
    return this.#objects.patch('persistentvolumeclaims', versionOf(claim), change, options, signal);
  }

  /** Exactly what was read, or it is read again. The cluster waits until no Pod mounts it. */
  async remove(ref: FilesRef, signal: AbortSignal): Promise<void> {
    for (let tries = 0; tries < CHANGE_TRIES; tries += 1) {
      const present = await this.#read(ref, signal);
      if (present === null || isDeleting(present)) return;
      if ((await this.#objects.delete('persistentvolumeclaims', versionOf(present), signal)) !== 'changed') return;
      await pause(CHANGE_RETRY_MS, signal);
    }
    throw new PodgateError('orchestrator.unavailable', { detail: 'a claim keeps changing while it is being deleted' });
  }

  async #read(ref: FilesRef, signal: AbortSignal): Promise<JsonRecord | null> {
    const name = this.nameOf(ref);
    const object = await this.#objects.readRaw('persistentvolumeclaims', name, signal);
    if (object !== null) requireOurs(object, name, { site: this.#settings.site, uid: ref.uid });
    return object;
  }
}

function isSmaller(claim: JsonRecord, sizeLimitMiB: number): boolean {
  const requests = recordAt(recordAt(recordAt(claim, 'spec'), 'resources'), 'requests');
  return (quantityOf(textAt(requests, 'storage')) ?? 0) < sizeLimitMiB * MIB;
}

/** Throws 'orchestrator.unavailable' for what only has the name. Labels tell. */
export function requireOurs(
  object: JsonRecord,
  name: string,
  { site, uid }: { readonly site: string; readonly uid: string },
): void {
  const labels = recordAt(recordAt(object, 'metadata'), 'labels');
  const isOurs =
    textAt(labels, MANAGED_BY) === 'podgate' &&
    textAt(labels, LABEL.site) === site &&
    textAt(labels, LABEL.filesUid) === uid;
  if (isOurs) return;
  throw new PodgateError('orchestrator.unavailable', {
    publicMessages: [
      `An object in the cluster that is not managed by Podgate has the name ${name}: an operator must remove it.`,
    ],
  });
}
