import { unresolvedReferences } from '../../../core/resolve-secrets.ts';
import type { PodConnectionsReport } from '../../../core/pod-connections-reader.ts';
import type { Credentials, PodRecord } from '../../../core/pod.ts';
import type { QuotaStanding } from '../../../core/quota.ts';
import type { Caller } from '../../auth/authenticator.ts';
import { type ObjectPermissions, createObjectPermissions } from '../../objects/permissions.ts';
import type { ObjectKind } from '../../objects/object-kind.ts';
import { type ChangedPod, podObjects } from './pod-objects.ts';
import { clonePod, type CloneRequest, readSnapshotPod } from './clone/clone-pod.ts';
import { createPod } from './create-pod.ts';
import { deletePod } from './delete-pod.ts';
import { KeyedMutex } from '../../objects/keyed-mutex.ts';
import { createExecPlaces, createTerminalPlaces } from './exec/exec-places.ts';
import { type CommandsRequest, runCommands, type RunCommands } from './exec/run-commands.ts';
import { openTerminal, type OpenedTerminal } from './exec/run-terminal.ts';
import { createPodFiles, type PodFiles } from './files/pod-files.ts';
import { FollowedLogs, type FollowRequest } from './logs/followed-logs.ts';
import { createTrafficRate, type PodMetricsReport, readMetrics, readMetricsOf } from './metrics/read-metrics.ts';
import { noteSaved, readDefinition } from './pod-definition.ts';
import type { PodParts } from './pod-parts.ts';
import {
  getPod,
  lastActions,
  type ListOptions,
  listPods,
  type LogsRequest,
  type PodLogs,
  readConnections,
  readCredentials,
  readEnvironment,
  readLogs,
  readResolvedEnvironment,
} from './read-pods.ts';
import type { Precondition } from '../../http/if-match.ts';
import { type ShownUse, shownUse } from './sleep/shown-use.ts';
import { type UpdatedPod, updatePod } from './update-pod.ts';
import { type Waited, waitRoutable } from './wait-routable.ts';
import { restartPod, startPod, stopPod } from './start-stop.ts';
import type { WrittenPod } from './written-pod.ts';

/**
 * What users do with pods, apart from any wire. All throw PodgateError: 'api.not-found' for a pod that is not there (or
 * on its way out), 'api.forbidden' below the level named, 'api.conflict' after too many collisions, and
 * 'store.unavailable'. Levels: list and create none; get, metrics and logs READ; update, credentials, connections and
 * reading permissions USER; everything else ADMIN.
 */
export interface PodService {
  create(caller: Caller, written: WrittenPod): Promise<PodRecord>;
  /** A pod that begins with a copy of another one's data. USER on that one. */
  clone(caller: Caller, request: CloneRequest): Promise<PodRecord>;
  /** What a snapshot of the data of a pod needs to know of it. USER. */
  snapshotPod: (caller: Caller, podId: string) => ReturnType<typeof readSnapshotPod>;
  readonly objects: ObjectKind<PodRecord>;
  /** In pages; each is read when it is asked for. */
  list(caller: Caller, options?: ListOptions): AsyncIterable<readonly PodRecord[]>;
  get(caller: Caller, podId: string): Promise<PodRecord>;
  update(caller: Caller, podId: string, written: WrittenPod, precondition: Precondition): Promise<UpdatedPod>;
  delete(
    caller: Caller,
    podId: string,
    options: { readonly keepVolume: boolean; readonly precondition: Precondition },
  ): Promise<void>;
  start(caller: Caller, podId: string): Promise<ChangedPod>;
  stop(caller: Caller, podId: string): Promise<ChangedPod>;
  restart(caller: Caller, podId: string, options: { readonly takesNewestTag: boolean }): Promise<ChangedPod>;
  logs(caller: Caller, request: LogsRequest): Promise<PodLogs>;
  /** Texts of server-sent events: see FollowedLogs. */
  followLogs(caller: Caller, request: FollowRequest): AsyncIterable<string>;
  credentials(caller: Caller, podId: string): Promise<Credentials>;
  readonly permissions: ObjectPermissions;
  connections(caller: Caller, podId: string): Promise<PodConnectionsReport>;
  metrics(caller: Caller, podId: string, signal: AbortSignal): Promise<PodMetricsReport>;
  /** Of those among them that the caller may read; the others are left out. */
  metricsOf(caller: Caller, podIds: readonly string[], signal: AbortSignal): Promise<PodMetricsReport>;
  /** As the definition of a tag; `noteSaved` says where it went. ADMIN. */
  definition(caller: Caller, podId: string): Promise<Readonly<Record<string, unknown>>>;
  noteSaved(caller: Caller, podId: string, reference: string): Promise<void>;
  runCommands(caller: Caller, request: CommandsRequest): Promise<RunCommands>;
  openTerminal(caller: Caller, podId: string): Promise<OpenedTerminal>;
  readonly files: PodFiles;
  /** Null: it never sleeps. For records a call above has answered. */
  use(record: PodRecord): Promise<ShownUse | null>;
  /** The last lines of action_logs, oldest first. For records a call above has answered. */
  actions(record: PodRecord, last: number): Promise<readonly string[]>;
  /** What the caller's own pods use, and may use, by the quota of a user. */
  quota(caller: Caller): Promise<QuotaStanding>;
  /** With values for USER and above, otherwise masked. For records a call above has answered. */
  environment(caller: Caller, record: PodRecord): Readonly<Record<string, string>>;
  /** What in the pod's secret map stands for nothing any more, each with the reason. */
  unresolved(record: PodRecord): Promise<readonly string[]>;
  /** As the pod gets them at its next start, with the values of secrets. ADMIN. `hosts`: by stanza. */
  resolvedEnvironment(
    caller: Caller,
    record: PodRecord,
    hosts: Readonly<Record<string, string>>,
  ): Promise<Readonly<Record<string, string>>>;
  waitRoutable(record: PodRecord, timeoutMs: number, signal: AbortSignal): Promise<Waited>;
}

export function createPodService(parts: PodParts): PodService {
  const mutex = new KeyedMutex();
  const execPlaces = createExecPlaces();
  const terminalPlaces = createTerminalPlaces();
  const followed = new FollowedLogs(parts);
  const trafficRate = createTrafficRate();
  return {
    create: (caller, written) => createPod(parts, mutex, caller, written),
    clone: (caller, request) => clonePod(parts, mutex, caller, request),
    snapshotPod: (caller, podId) => readSnapshotPod(parts, caller, podId),
    objects: podObjects(parts),
    list: (caller, options) => listPods(parts, caller, options),
    get: (caller, podId) => getPod(parts, caller, podId),
    update: (caller, podId, written, precondition) => updatePod(parts, mutex, caller, podId, written, precondition),
    delete: (caller, podId, options) => deletePod(parts, mutex, caller, podId, options),
    start: (caller, podId) => startPod(parts, mutex, caller, podId),
    stop: (caller, podId) => stopPod(parts, mutex, caller, podId),
    restart: (caller, podId, options) => restartPod(parts, mutex, caller, podId, options),
    logs: (caller, request) => readLogs(parts, mutex, caller, request),
    followLogs: (caller, request) => followed.open(caller, request),
    credentials: (caller, podId) => readCredentials(parts, caller, podId),
    permissions: createObjectPermissions(podObjects(parts), {
      ...{ store: parts.store, clock: parts.clock, admission: parts.admission },
      mutex,
    }),
    definition: (caller, podId) => readDefinition(parts, caller, podId),
    noteSaved: (caller, podId, reference) => noteSaved(parts, caller, podId, reference),
    connections: (caller, podId) => readConnections(parts, caller, podId),
    metrics: (caller, podId, signal) => readMetrics(parts, trafficRate, caller, podId, signal),
    metricsOf: (caller, podIds, signal) => readMetricsOf(parts, trafficRate, caller, podIds, signal),
    runCommands: (caller, request) => runCommands(parts, execPlaces, caller, request),
    openTerminal: (caller, podId) => openTerminal(parts, terminalPlaces, caller, podId),
    files: createPodFiles(parts, execPlaces),
    use: (record) => shownUse({ connections: parts.connections, nowMs: parts.clock.now() }, record),
    actions: (record, last) => lastActions(parts, record, last),
    quota: ({ tenant, username }) => parts.admission.standing({ tenant, createdBy: username }),
    environment: (caller, record) => readEnvironment(parts, caller, record),
    unresolved: (record) => unresolvedReferences(parts, record, record.spec),
    resolvedEnvironment: (caller, record, hosts) => readResolvedEnvironment(parts, caller, record, hosts),
    waitRoutable: (record, timeoutMs, signal) => waitRoutable(parts, record, timeoutMs, signal),
  };
}
