import type { ErrorCode } from './errors.ts';
import { podHost } from './ids.ts';
import type { DialGuard, NetworkAddress } from './pod-network.ts';
import type { Observation, WorkloadPhase } from './workloads.ts';
import type { PodRecord, PodStatus, Stanza, StanzaOptions } from './pod.ts';
import { isSameLogin, type RouteLogin, routeLoginOf } from './pod-login.ts';

/** Where a route's bytes go. Pools of kept connections are keyed by `uid`: a re-used address never mixes pods. */
export interface Backend extends DialGuard {
  readonly uid: string;
  readonly address: string;
  readonly port: number;
  /** Dialled instead while the watch that gave `address` is not fresh (see StanzaAddress). */
  readonly service: NetworkAddress | null;
}

/** Do bytes for one arrive where bytes for the other do? */
export function isSameBackend(a: Backend, b: Backend): boolean {
  const isSamePlace = a.address === b.address && a.port === b.port && a.namespace?.inode === b.namespace?.inode;
  return isSamePlace && a.uid === b.uid;
}

/** One host name -> one stanza of one pod. All the gateway knows. */
export interface Route extends StanzaOptions {
  readonly host: string;
  readonly tenant: string;
  readonly podId: string;
  /**
   * The user who created the pod: connections to it count against this user of the tenant. Absent in what a control plane of an
   * earlier release sends to a gateway elsewhere.
   */
  readonly createdBy?: string;
  readonly uid: string;
  readonly stanza: string;
  readonly protocol: 'http' | 'tcp' | 'postgres';
  readonly status: PodStatus;
  /** Null unless RUNNING and taking connections, and while the pod goes to sleep. */
  readonly backend: Backend | null;
  readonly ipAllowList: readonly string[];
  /** Of a pod that may sleep and whose desired state is ON: how clients wait for it. */
  readonly sleep?: RouteSleep;
  /** Of an http stanza that only users of its tenant may use. Absent: no login is needed. */
  readonly login?: RouteLogin;
}

export interface RouteSleep {
  readonly holdMs: number;
  readonly probePaths: readonly string[];
  /** Postgres users whose connections wake it. Not there: that is not known. */
  readonly users?: readonly string[];
}

export interface RoutedStanza {
  readonly name: string;
  readonly stanza: Stanza & Pick<Route, 'protocol'>;
}

/**
 * The stanzas that have a route: those of the applied spec (what runs), of the wanted one before the first start; networking
 * policy acts at once.
 */
export function routedStanzas({ applied, spec: wanted }: PodRecord): readonly RoutedStanza[] {
  return Object.entries((applied?.spec ?? wanted).networking).flatMap(([name, running]) => {
    const { protocol, port } = running;
    if (protocol === 'local_only') return [];
    return [{ name, stanza: { ...(wanted.networking[name] ?? running), protocol, port } }];
  });
}

/** Where the pods of a tenant are reached. */
export interface RoutePlace {
  readonly baseHost: string;
  readonly site: string;
}

/**
 * The routes of a pod: published for every record that is not being deleted, whatever its status, so that a stopped pod
 * answers with a sentence. A backend appears only for an observation of exactly the applied identity that takes
 * connections.
 */
export function routesOf(
  record: PodRecord,
  observation: Observation | null,
  { baseHost, site }: RoutePlace,
): readonly Route[] {
  if (record.deleting !== null) return [];
  return routedStanzas(record).map(({ name, stanza }) => ({
    host: podHost(record.podId, name, baseHost),
    tenant: record.tenant,
    podId: record.podId,
    createdBy: record.createdBy,
    uid: record.uid,
    stanza: name,
    protocol: stanza.protocol,
    status: record.status,
    backend: backendOf(record, observation, name),
    ipAllowList: stanza.ipAllowList,
    ...stanzaOptionsOf(stanza),
    ...sleepOf(record),
    ...routeLoginOf(stanza, record, site),
  }));
}

function sleepOf({ spec: { sleep }, wish, knownUsers: users }: PodRecord): Pick<Route, 'sleep'> {
  if (sleep === undefined || wish !== 'ON') return {};
  const { holdSeconds, probePaths } = sleep;
  return { sleep: { holdMs: holdSeconds * 1000, probePaths, ...(users !== undefined && { users }) } };
}

/** Does a client that has passed all checks wait for this pod, which sleeps or starts, instead of being refused? */
export function isWaking({ sleep, backend, status }: Route): boolean {
  return sleep !== undefined && backend === null && status !== 'ERROR' && status !== 'COMPLETE';
}

/** The options of a stanza alone, without those that are not there. */
function stanzaOptionsOf(options: StanzaOptions): StanzaOptions {
  const { tls, backendProtocol, sendProxyProtocol, speaksFirst, clientCa } = options;
  return {
    ...(tls !== undefined && { tls }),
    ...(backendProtocol !== undefined && { backendProtocol }),
    ...(sendProxyProtocol !== undefined && { sendProxyProtocol }),
    ...(speaksFirst !== undefined && { speaksFirst }),
    ...(clientCa !== undefined && { clientCa }),
  };
}

function backendOf(record: PodRecord, observation: Observation | null, stanza: string): Backend | null {
  if (record.status !== 'RUNNING' || record.wish !== 'ON' || isGoingToSleep(record)) return null;
  if (observation?.kind !== 'workload' || !hasBackend(observation.phase)) return null;
  if (!isCurrentWorkload(record, observation)) return null;
  const address = observation.addresses[stanza];
  return address === undefined ? null : { uid: record.uid, ...address };
}

function isGoingToSleep({ sleep }: PodRecord): boolean {
  return sleep !== undefined && sleep !== null;
}

/** A workload that is ended from outside, such as by a node drain, accepts connections until it has ended. */
function hasBackend(phase: WorkloadPhase): boolean {
  return phase === 'ready' || phase === 'stopping' || phase === 'lost';
}

/** Is this workload made from exactly what the record says was last applied? */
export function isCurrentWorkload(
  record: PodRecord,
  workload: { readonly uid: string; readonly generation: number; readonly run: number },
): boolean {
  return (
    workload.uid === record.uid &&
    record.applied !== null &&
    workload.generation === record.applied.generation &&
    workload.run === record.applied.run
  );
}

export function routesEqual(a: Route, b: Route): boolean {
  return (
    a.host === b.host &&
    a.uid === b.uid &&
    a.tenant === b.tenant &&
    a.podId === b.podId &&
    a.createdBy === b.createdBy &&
    a.stanza === b.stanza &&
    a.protocol === b.protocol &&
    a.status === b.status &&
    a.backend?.uid === b.backend?.uid &&
    a.backend?.address === b.backend?.address &&
    a.backend?.port === b.backend?.port &&
    a.backend?.service?.address === b.backend?.service?.address &&
    a.backend?.service?.port === b.backend?.service?.port &&
    a.tls === b.tls &&
    a.backendProtocol === b.backendProtocol &&
    a.sendProxyProtocol === b.sendProxyProtocol &&
    a.speaksFirst === b.speaksFirst &&
    a.clientCa === b.clientCa &&
    isSameLogin(a.login, b.login) &&
    a.sleep?.holdMs === b.sleep?.holdMs &&
    textsEqual(a.sleep?.probePaths ?? [], b.sleep?.probePaths ?? []) &&
    textsEqual(a.sleep?.users ?? [], b.sleep?.users ?? []) &&
    textsEqual(a.ipAllowList, b.ipAllowList)
  );
}

function textsEqual(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text, index) => text === b[index]);
}

/** What a route without a usable backend says, by the status of its pod. */
export function refusalOfStatus(status: PodStatus): Extract<ErrorCode, `route.${string}`> {
  switch (status) {
    case 'STOPPED':
    case 'ERROR':
    case 'COMPLETE':
    case 'SHUTTING_DOWN':
    case 'ASLEEP':
      return 'route.stopped';
    case 'REQUESTED':
    case 'SPAWNER_SETUP':
    case 'CREATING_CONTAINER':
      return 'route.starting';
    case 'RUNNING':
      return 'route.unreachable';
  }
}
