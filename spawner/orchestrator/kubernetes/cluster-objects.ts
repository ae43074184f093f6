import { PodgateError } from '../../../core/errors.ts';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import { isRecord, type JsonRecord, listAt, parseJson, recordAt, textAt } from './api/json.ts';
import type { KubeApi, KubeRequest, KubeResponse } from './api/kube-api.ts';
import { type Refusal, refusalOf } from './api/refusal.ts';
import {
  type Collection,
  collectionPath,
  objectName,
  type ObjectVersion,
  type OwnedObject,
  parseOwned,
  parsePod,
  type PodView,
  secretName,
  uidSelector,
} from './objects.ts';

export type Created =
  | { readonly kind: 'created' }
  /** Something of this name is there already: read it. */
  | { readonly kind: 'exists' }
  | { readonly kind: 'refused'; readonly refusal: Refusal };

/** 'changed': it is no longer what was read; look again. */
export type Deleted = 'accepted' | 'gone' | 'changed';

/** 'changed': as of a deletion. */
export type Patched =
  { readonly kind: 'patched' | 'gone' | 'changed' } | { readonly kind: 'refused'; readonly refusal: Refusal };

export type Found =
  | { readonly kind: 'ours'; readonly object: OwnedObject }
  /** Something that is not Podgate's. */
  | { readonly kind: 'strange' }
  | { readonly kind: 'none' };

/** The objects of one namespace, each call one request. Throws PodgateError 'orchestrator.unavailable'. */
export interface ClusterObjects {
  create(collection: Collection, manifest: object, signal: AbortSignal): Promise<Created>;
  read(collection: Collection, name: string, signal: AbortSignal): Promise<Found>;
  /** Regardless of its owner; null: there is none. */
  readRaw(collection: Collection, name: string, signal: AbortSignal): Promise<JsonRecord | null>;
  /** The Pod of this uid, or null. */
  readPod(ref: WorkloadRef, signal: AbortSignal): Promise<PodView | null>;
  /** All of a kind that carry this uid. */
  list(
    collection: 'services' | 'networkpolicies' | 'persistentvolumeclaims',
    uid: string,
    signal: AbortSignal,
  ): Promise<readonly OwnedObject[]>;
  /** The Secret of this uid, or null. Nobody lists Secrets: its name has the uid. */
  readSecret(ref: WorkloadRef, signal: AbortSignal): Promise<OwnedObject | null>;
  /**
   * Exactly this object in exactly this state, or nothing. `graceSeconds` 0: at once, without waiting for the node of a
   * Pod to confirm its end.
   */
  delete(collection: Collection, object: ObjectVersion, signal: AbortSignal, graceSeconds?: 0): Promise<Deleted>;
  /** Exactly this object in exactly this state gets this merge patch, or nothing; `isTrial`: only whether it could. */
  patch(
    collection: Collection,
    object: ObjectVersion,
    change: object,
    options: { readonly isTrial: boolean },
    signal: AbortSignal,
  ): Promise<Patched>;
  /** Why a kubelet evicted this Pod, in its words; null when it did not, or a Role of an earlier release hides it. */
  evictionOf(pod: OwnedObject, signal: AbortSignal): Promise<string | null>;
  /** Every object of a kind, page by page. */
  all(collection: 'pods', selector: string, page: number, signal: AbortSignal): Promise<readonly JsonRecord[]>;
}

export function createClusterObjects(parts: {
  readonly api: KubeApi;
  readonly namespace: string;
  readonly site: string;
  readonly serverTime: (serverTimeMs: number | null) => void;
}): ClusterObjects {
  const { namespace, site } = parts;
  const pathOf = (collection: Collection): string => collectionPath(namespace, collection);

  async function request(wanted: KubeRequest, signal: AbortSignal): Promise<KubeResponse> {
    const response = await parts.api.request(wanted, signal);
    parts.serverTime(response.serverTimeMs);
    return response;
  }

  async function readObject(collection: Collection, name: string, signal: AbortSignal): Promise<JsonRecord | null> {
    const path = `${pathOf(collection)}/${name}`;
    const response = await request({ method: 'GET', path }, signal);
    if (response.status === 404) return null;
    return bodyOf(response, `reading ${path}`);
  }

  async function listPage(collection: Collection, query: Readonly<Record<string, string>>, signal: AbortSignal) {
    const path = pathOf(collection);
    return bodyOf(await request({ method: 'GET', path, query }, signal), `listing ${path}`);
  }

  return {
    async create(collection, manifest, signal) {
      const response = await request({ method: 'POST', path: pathOf(collection), body: manifest }, signal);
      if (response.status >= 200 && response.status < 300) return { kind: 'created' };
      const refusal = refusalOf(response);
      return refusal.reason === 'AlreadyExists' ? { kind: 'exists' } : { kind: 'refused', refusal };
    },
    async read(collection, name, signal) {
      const object = await readObject(collection, name, signal);
      if (object === null) return { kind: 'none' };
      const owned = parseOwned(object);
      return owned === null ? { kind: 'strange' } : { kind: 'ours', object: owned };
    },
    readRaw: readObject,
    async readPod(ref, signal) {
      const object = await readObject('pods', objectName(site, ref), signal);
      const pod = object === null ? null : parsePod(object);
      return pod?.uid === ref.uid ? pod : null;
    },
    async list(collection, uid, signal) {
      const body = await listPage(collection, { labelSelector: uidSelector(site, uid) }, signal);
      return listAt(body, 'items').flatMap((item) => parseOwned(item) ?? []);
    },
    async readSecret(ref, signal) {
      const object = await readObject('secrets', secretName(site, ref), signal);
      const owned = object === null ? null : parseOwned(object);
      return owned?.uid === ref.uid ? owned : null;
    },
    async delete(collection, { name, objectUid, resourceVersion }, signal, graceSeconds) {
      const path = `${pathOf(collection)}/${name}`;
      const body = {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        preconditions: { uid: objectUid, resourceVersion },
        ...(graceSeconds === undefined ? {} : { gracePeriodSeconds: graceSeconds }),
      };
      const response = await request({ method: 'DELETE', path, body }, signal);
      if (response.status === 404) return 'gone';
      if (response.status === 409) return 'changed';
      bodyOf(response, `deleting ${path}`);
      return 'accepted';
    },
    async patch(collection, { name, objectUid, resourceVersion }, change, { isTrial }, signal) {
      const response = await request(
        {
          method: 'PATCH',
          path: `${pathOf(collection)}/${name}`,
          query: isTrial ? { dryRun: 'All' } : {},
          body: { ...change, metadata: { uid: objectUid, resourceVersion } },
        },
        signal,
      );
      if (response.status >= 200 && response.status < 300) return { kind: 'patched' };
      if (response.status === 404) return { kind: 'gone' };
      if (response.status === 409) return { kind: 'changed' };
      return { kind: 'refused', refusal: refusalOf(response) };
    },
    async evictionOf({ objectUid }, signal) {
      const path = `/api/v1/namespaces/${namespace}/events`;
      const query = { fieldSelector: `involvedObject.uid=${objectUid},reason=Evicted`, limit: '1' };
      const response = await request({ method: 'GET', path, query }, signal);
      if (response.status === 403) return null;
      const [event] = listAt(bodyOf(response, `listing ${path}`), 'items');
      return event === undefined ? null : textAt(event, 'message');
    },
    async all(collection, selector, page, signal) {
      const items: JsonRecord[] = [];
      let next = '';
      do {
        const query = { labelSelector: selector, limit: String(page), ...(next === '' ? {} : { continue: next }) };
        const body = await listPage(collection, query, signal);
        items.push(...listAt(body, 'items'));
        next = textAt(recordAt(body, 'metadata'), 'continue');
      } while (next !== '');
      return items;
    },
  };
}

/** What is refused here is refused to Podgate, not to a user: nobody knows anything then. */
function bodyOf(response: KubeResponse, what: string): JsonRecord {
  const body = parseJson(response.text);
  if (response.status >= 200 && response.status < 300 && isRecord(body)) return body;
  throw new PodgateError('orchestrator.unavailable', {
    detail: `${what}: the API server responded with ${response.status}: ${refusalOf(response).message}`,
  });
}
