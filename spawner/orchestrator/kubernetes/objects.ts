import { workloadName } from '../../../core/ids.ts';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import type { WorkloadIdentity } from '../../../core/pod.ts';
import { isRecord, type JsonRecord, listAt, numberAt, parseJson, recordAt, textAt, timeAt } from './api/json.ts';

/** What the objects of a workload are called, how they say whose they are, and how that is read back. */

export const MANAGED_BY = 'app.kubernetes.io/managed-by';
export const LABEL = {
  site: 'podgate.io/site',
  store: 'podgate.io/store',
  tenant: 'podgate.io/tenant',
  podId: 'podgate.io/pod-id',
  uid: 'podgate.io/uid',
  generation: 'podgate.io/generation',
  run: 'podgate.io/run',
  /** Of a volume claim: which of the pod's volumes. */
  volume: 'podgate.io/volume',
  /** Of a claim of a volume or snapshot, and of the pod that serves its files: which of the two. */
  files: 'podgate.io/files',
  filesUid: 'podgate.io/files-uid',
  filesName: 'podgate.io/files-name',
  /** Of a pod with a local_only stanza: other pods of its tenant may connect to it. */
  local: 'podgate.io/local-service',
} as const;
export const ANNOTATION = {
  commit: 'podgate.io/commit',
  record: 'podgate.io/record',
  credential: 'podgate.io/credential',
  /** Of a claim: the name in full, which a label has no room for. */
  filesName: 'podgate.io/files-name',
  /** Ports by stanza, as JSON. */
  stanzas: 'podgate.io/stanzas',
} as const;

/** Selects everything of one installation. */
export function siteSelector(site: string): string {
  return `${MANAGED_BY}=podgate,${LABEL.site}=${site}`;
}

/** Selects everything of one pod. */
export function uidSelector(site: string, uid: string): string {
  return `${siteSelector(site)},${LABEL.uid}=${uid}`;
}

/** Pod, Service and NetworkPolicy: one of each at a time, so that two runs can never be there together. */
export function objectName(site: string, pod: { readonly tenant: string; readonly podId: string }): string {
  return workloadName({ site, tenant: pod.tenant, podId: pod.podId });
}

/** With the uid: what it holds is never another pod's. */
export function secretName(site: string, ref: WorkloadRef): string {
  return `${objectName(site, ref)}-${ref.uid}`;
}

/** `volume` '' is that of persistent_volume. */
export function claimName(site: string, ref: WorkloadRef, volume: string): string {
  return volume === '' ? `${objectName(site, ref)}-${ref.uid}` : `${objectName(site, ref)}-${ref.uid}-${volume}`;
}

export type Collection = 'pods' | 'services' | 'secrets' | 'persistentvolumeclaims' | 'networkpolicies';

export function collectionPath(namespace: string, collection: Collection): string {
  const group = collection === 'networkpolicies' ? '/apis/networking.k8s.io/v1' : '/api/v1';
  return `${group}/namespaces/${namespace}/${collection}`;
}

/** A deletion names the object's own uid and its version, so that it never hits a later one. */
export interface ObjectVersion {
  readonly name: string;
  readonly objectUid: string;
  readonly resourceVersion: string;
}

/** What every object of a workload says of itself. */
export interface OwnedObject extends WorkloadIdentity, ObjectVersion {
  readonly tenant: string;
  readonly podId: string;
  readonly storeId: string;
  readonly commit: number;
  readonly createdAtMs: number;
  readonly isDeleting: boolean;
}

export function versionOf(object: JsonRecord): ObjectVersion {
  const metadata = recordAt(object, 'metadata');
  return {
    name: textAt(metadata, 'name'),
    objectUid: textAt(metadata, 'uid'),
    resourceVersion: textAt(metadata, 'resourceVersion'),
  };
}

export function isDeleting(object: JsonRecord): boolean {
  return textAt(recordAt(object, 'metadata'), 'deletionTimestamp') !== '';
}

/** Null for what is not ours: labels tell, never names. */
export function parseOwned(object: JsonRecord): OwnedObject | null {
  const metadata = recordAt(object, 'metadata');
  const labels = recordAt(metadata, 'labels');
  const annotations = recordAt(metadata, 'annotations');
  const uid = textAt(labels, LABEL.uid);
  const tenant = textAt(labels, LABEL.tenant);
  const podId = textAt(labels, LABEL.podId);
  if (textAt(labels, MANAGED_BY) !== 'podgate' || uid === '' || tenant === '' || podId === '') return null;
  return {
    tenant,
    podId,
    uid,
    generation: wholeNumber(textAt(labels, LABEL.generation)),
    run: wholeNumber(textAt(labels, LABEL.run)),
    ...versionOf(object),
    storeId: textAt(labels, LABEL.store),
    commit: wholeNumber(textAt(annotations, ANNOTATION.commit)),
    createdAtMs: timeAt(metadata, 'creationTimestamp') ?? 0,
    isDeleting: isDeleting(object),
  };
}

/** -1, which no workload has, for what is no number: such an object is nobody's present one. */
function wholeNumber(text: string): number {
  return /^\d{1,15}$/.test(text) ? Number(text) : -1;
}

export type PodPhase = 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown';

export interface ContainerEnd {
  readonly exitCode: number | null;
  readonly signal: number | null;
  /** Such as OOMKilled, Error, Completed. */
  readonly reason: string;
  readonly message: string;
  readonly startedAtMs: number | null;
  readonly finishedAtMs: number | null;
}

/** What is known of the one container of a pod. */
export interface ContainerView {
  readonly state:
    | { readonly kind: 'waiting'; readonly reason: string; readonly message: string }
    | { readonly kind: 'running'; readonly startedAtMs: number | null }
    | ({ readonly kind: 'terminated' } & ContainerEnd);
  readonly lastEnd: ContainerEnd | null;
  readonly restarts: number;
  readonly isReady: boolean;
  /** False until the startup probe has succeeded once since the container, or its kubelet, started. */
  readonly isStarted: boolean;
  readonly image: string;
}

/** The part of a Pod that its status is made from. */
export interface PodState {
  readonly isDeleting: boolean;
  readonly phase: PodPhase;
  readonly reason: string;
  readonly message: string;
  readonly isScheduled: boolean;
  /** '' before it is scheduled. */
  readonly node: string;
  /** Why it is not, in the scheduler's words. */
  readonly unscheduled: string;
  /** The condition Ready: that of the container, but False also when the node has stopped reporting. */
  readonly isReady: boolean;
  /** When that changed last. */
  readonly readyChangedMs: number | null;
  /** What interrupted it from outside, such as an eviction. */
  readonly disruption: { readonly reason: string; readonly message: string } | null;
  /** Its program may end well and stay ended. */
  readonly mayComplete: boolean;
  /** It mounts data that another Pod could mount: two at a time may ruin it. */
  readonly hasData: boolean;
  /** When its deletion should be over by, on the API server's clock; null while nobody deletes it. */
  readonly deleteByMs: number | null;
  readonly address: string;
  readonly startedAtMs: number | null;
  readonly container: ContainerView | null;
  /** What runs before it, if anything does: it prepares named volumes. */
  readonly preparation: ContainerView | null;
  /** Ports by stanza. */
  readonly stanzas: Readonly<Record<string, number>>;
}

export interface PodView extends OwnedObject, PodState {}

export function parsePod(object: JsonRecord): PodView | null {
  const owned = parseOwned(object);
  return owned === null ? null : { ...owned, ...podState(object) };
}

/** Of any Pod, whether Podgate made it or not. */
export function podState(object: JsonRecord): PodState {
  const status = recordAt(object, 'status');
  const condition = (type: string): JsonRecord =>
    listAt(status, 'conditions').find((each) => textAt(each, 'type') === type) ?? {};
  const scheduled = condition('PodScheduled');
  const ready = condition('Ready');
  const disrupted = condition('DisruptionTarget');
  const [container] = listAt(status, 'containerStatuses');
  const [preparation] = listAt(status, 'initContainerStatuses');
  return {
    isDeleting: isDeleting(object),
    phase: podPhase(textAt(status, 'phase')),
    reason: textAt(status, 'reason'),
    message: textAt(status, 'message'),
    isScheduled: textAt(scheduled, 'status') === 'True' || textAt(recordAt(object, 'spec'), 'nodeName') !== '',
    node: textAt(recordAt(object, 'spec'), 'nodeName'),
    unscheduled: textAt(scheduled, 'status') === 'False' ? textAt(scheduled, 'message') : '',
    isReady: textAt(ready, 'status') === 'True',
    readyChangedMs: timeAt(ready, 'lastTransitionTime'),
    disruption:
      textAt(disrupted, 'status') === 'True'
        ? { reason: textAt(disrupted, 'reason'), message: textAt(disrupted, 'message') }
        : null,
    mayComplete: textAt(recordAt(object, 'spec'), 'restartPolicy') !== 'Always',
    hasData: listAt(recordAt(object, 'spec'), 'volumes').some((volume) => isRecord(volume['persistentVolumeClaim'])),
    deleteByMs: timeAt(recordAt(object, 'metadata'), 'deletionTimestamp'),
    address: textAt(status, 'podIP'),
    startedAtMs: timeAt(status, 'startTime'),
    container: container === undefined ? null : parseContainer(container),
    preparation: preparation === undefined ? null : parseContainer(preparation),
    stanzas: parseStanzas(object),
  };
}

function podPhase(text: string): PodPhase {
  switch (text) {
    case 'Running':
    case 'Succeeded':
    case 'Failed':
    case 'Unknown':
      return text;
    default:
      return 'Pending';
  }
}

function parseContainer(status: JsonRecord): ContainerView {
  const state = recordAt(status, 'state');
  const waiting = recordAt(state, 'waiting');
  const lastState = recordAt(status, 'lastState');
  return {
    state: isRecord(state['terminated'])
      ? { kind: 'terminated', ...parseEnd(state['terminated']) }
      : isRecord(state['running'])
        ? { kind: 'running', startedAtMs: timeAt(state['running'], 'startedAt') }
        : { kind: 'waiting', reason: textAt(waiting, 'reason'), message: textAt(waiting, 'message') },
    lastEnd: isRecord(lastState['terminated']) ? parseEnd(lastState['terminated']) : null,
    restarts: numberAt(status, 'restartCount') ?? 0,
    isReady: status['ready'] === true,
    isStarted: status['started'] !== false,
    image: textAt(status, 'image'),
  };
}

function parseEnd(terminated: JsonRecord): ContainerEnd {
  return {
    exitCode: numberAt(terminated, 'exitCode'),
    signal: numberAt(terminated, 'signal'),
    reason: textAt(terminated, 'reason'),
    message: textAt(terminated, 'message'),
    startedAtMs: timeAt(terminated, 'startedAt'),
    finishedAtMs: timeAt(terminated, 'finishedAt'),
  };
}

/** The address of a workload that outlives its pods' addresses. */
export interface ServiceView extends OwnedObject {
  /** '' for one without an address of its own. */
  readonly clusterAddress: string;
}

export function parseService(object: JsonRecord): ServiceView | null {
  const owned = parseOwned(object);
  if (owned === null) return null;
  const address = textAt(recordAt(object, 'spec'), 'clusterIP');
  return { ...owned, clusterAddress: address === 'None' ? '' : address };
}

function parseStanzas(object: JsonRecord): Readonly<Record<string, number>> {
  const annotations = recordAt(recordAt(object, 'metadata'), 'annotations');
  const parsed = parseJson(textAt(annotations, ANNOTATION.stanzas));
  if (!isRecord(parsed)) return {};
  return Object.fromEntries(
    Object.entries(parsed).flatMap(([stanza, port]) => (typeof port === 'number' ? [[stanza, port]] : [])),
  );
}
