import { mkdir, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pause } from '../../../core/abort.ts';
import { coalesce } from '../../../core/coalesce.ts';
import { EGRESS_PORT } from '../../../core/egress.ts';
import { UNREADABLE_ENVIRONMENT } from '../../../core/environment.ts';
import { errorText, PodgateError } from '../../../core/errors.ts';
import type { Orchestrator } from '../../../core/orchestrator.ts';
import type { UseInside } from '../../../core/use-inside.ts';
import type { PodNetworks } from '../../../core/pod-network.ts';
import type { LogsOptions, PrintedOptions, PrintedPart } from '../../../core/workload-logs.ts';
import type { WorkloadRef } from '../../../core/workload-ref.ts';
import type {
  AnnotatedWorkload,
  EnsureResult,
  Observation,
  RemoveOptions,
  WorkloadEvent,
  WorkloadObservation,
  WorkloadSpec,
} from '../../../core/workloads.ts';
import type { ExecOptions, ExecResult, TerminalOptions, TerminalResult } from '../../../core/shell.ts';
import { limitShell } from '../exec/limited-shell.ts';
import { NOT_RUNNING } from '../exec/refuse-command.ts';
import type { DataSnapshots } from '../../../core/data-snapshots.ts';
import { DataSources } from './copies/data-sources.ts';
import { snapshotData } from './copies/snapshot-data.ts';
import { createBootClock } from './boot-clock.ts';
import { openCgroups } from './cgroups.ts';
import { DiskWatch } from './disk-watch.ts';
import { execBeside } from './exec-beside.ts';
import { terminalBeside } from './terminal-beside.ts';
import { lookAtLeftBehind } from './first-look.ts';
import { measureDisk } from './measure-disk.ts';
import { ProcessMetrics } from './metrics/process-metrics.ts';
import { planMounts } from './mount-plan.ts';
import { MOUNTS_MAX } from './mount-script.ts';
import { chooseOsUser, createUsersInUse, makeDirectories, recordOf } from './new-workload.ts';
import type { ProcessLimits, ProcessOrchestratorOptions } from './options.ts';
import { isPlainName, type Paths, pathsBelow } from './paths.ts';
import { allocatePorts, DEFAULT_PORT_RANGE } from './ports.ts';
import { createProcessTable } from './process-table.ts';
import type { Recipe } from './recipes/recipe.ts';
import { createRecipes, podPath, reachableNode } from './recipes/recipes.ts';
import { removeTree } from './remove-tree.ts';
import { exists } from './runtime-files.ts';
import { type Protection, protectionOf, unlimitedText } from './separation.ts';
import { readListeners } from './listeners.ts';
import { Watchers } from '../watchers.ts';
import { Workload, type WorkloadParts } from './workload.ts';
import type { WorkloadRecord } from './workload-record.ts';

const DEFAULT_LIMITS: ProcessLimits = {
  outputMaxBytes: 10 * 1024 * 1024,
  listenersCheckMs: 500,
  diskCheckMs: 1_000,
  restartDelayMs: 1_000,
  portRange: DEFAULT_PORT_RANGE,
  firstLookMs: 10_000,
  stopAllGraceMs: 3_000,
};
/** What HTTP clients look for; curl reads http_proxy in lower case alone, and Node only where it is told to. */
const PROXY = `http://127.0.0.1:${EGRESS_PORT}`;
const NO_PROXY = 'localhost,.localhost,127.0.0.1,::1,[::1]';
const PROXY_VARIABLES = {
  HTTPS_PROXY: PROXY,
  https_proxy: PROXY,
  HTTP_PROXY: PROXY,
  http_proxy: PROXY,
  NO_PROXY,
  no_proxy: NO_PROXY,
  NODE_USE_ENV_PROXY: '1',
};
const NO_MOUNTS =
  'Pods cannot mount named volumes on this machine, which gives pods no mount namespaces of their own (unshare, mount, pivot_root and setpriv of util-linux, as root or with user namespaces).';
const FIRST_LOOK_RETRY_MS = 1_000;

export interface ProcessOrchestrator extends Orchestrator {
  readonly podNetworks: PodNetworks;
  readonly protection: Protection;
  /** Why pods cannot mount named volumes on this machine, for users; null: they can. */
  readonly mountProblem: string | null;
  /**
   * Ends every workload and keeps its data; nothing new is accepted from now on, and nothing is reported any more.
   * Resolves when all are gone or the signal aborts.
   */
  stopAll(signal: AbortSignal): Promise<void>;
}

/**
 * Runs pods as child processes of this machine, for laptops and tests. They outlive this process: the next one of the
 * same supervisor (`instance`) goes on with them, one of another supervisor ends them and keeps their data.
 */
export function createProcessOrchestrator(options: ProcessOrchestratorOptions): ProcessOrchestrator {
  const { clock, log, templates, installation, instance, runtimeRoot, nodePath, asRoot } = options;
  const limits: ProcessLimits = { ...DEFAULT_LIMITS, ...options.limits };
  const table = createProcessTable(process.platform);
  const usersInUse = createUsersInUse(table);
  const cgroups = openCgroups(installation, asRoot, log);
  const bootClock = createBootClock();
  const watchers = new Watchers();
  const recipes = createRecipes({
    runtimeRoot,
    asRoot,
    nodePath,
    postgresPackage: options.postgresPackage,
    neo4j: { ...options.neo4j, path: options.environment.path },
  });

  /** At most one per uid and one per name. */
  const byUid = new Map<string, Workload>();
  const byName = new Map<string, Workload>();
  /** Being made, by name. */
  const making = new Map<string, { readonly workload: WorkloadSpec; readonly result: Promise<EnsureResult> }>();
  const networkFollowers = new Set<() => void>();
  const deletingVolumes = new Map<string, Promise<void>>();
  const takenPorts = new Set<number>();
  /** Users and ports are chosen one at a time. */
  let choosing: Promise<unknown> = Promise.resolve();
  let path: string | null = null;
  let isStoppingAll = false;
  let life: AbortSignal | null = null;
  let known: Paths | null = null;
  let sources: DataSources | null = null;
  const firstLook = Promise.withResolvers<Paths>();
  /** Settles when the first look is done or given up. */
  let looking: Promise<void> = Promise.resolve();

  function partsFor(paths: Paths): WorkloadParts {
    return {
      installation,
      paths,
      table,
      clock,
      bootClock,
      log,
      limits,
      walls: options.walls,
      doorPort: options.hasEgress ? EGRESS_PORT : null,
      hide: options.hide,
      keptDirectories: keptDirectories(paths),
      volumes: options.volumes,
      sources: sourcesBelow(paths),
      runtimeRoot,
      cgroups,
      connect: options.connect,
      environment: podEnvironment,
      openEnvironment: options.openEnvironment,
      newPorts: (former) =>
        inTurn(() => {
          releasePorts(former);
          return takePorts(Object.keys(former));
        }),
      networkChanged: () => {
        for (const changed of networkFollowers) changed();
      },
      changed: (workload) => watchers.changed(workload.record.workload),
      ended: (workload) => {
        const { uid } = workload.record.workload;
        const name = nameOf(workload.record.workload);
        if (byUid.get(uid) === workload) byUid.delete(uid);
        if (byName.get(name) === workload) byName.delete(name);
        releasePorts(workload.record.ports);
        for (const { ref } of workload.record.workload.mounts ?? []) options.volumes.detach(ref, uid);
        watchers.changed(workload.record.workload);
      },
    };
  }

  function sourcesBelow(paths: Paths): DataSources {
    sources ??= new DataSources({
      paths,
      limitMiB: options.disk.volumeMiB,
      find: (ref) => {
        if (making.has(nameOf(ref)) || deletingVolumes.has(ref.uid)) return 'changing';
        return byUid.get(ref.uid) ?? null;
      },
      pathOf: (ref) => options.volumes.pathOf(ref),
    });
    return sources;
  }

  async function podEnvironment(): Promise<Record<string, string>> {
    const { lang, timeZone } = options.environment;
    path ??= await podPath(
      options.environment.path,
      dirname(await reachableNode({ nodePath, runtimeRoot, asRoot })),
      asRoot,
    );
    return {
      PATH: path,
      ...(lang === null ? {} : { LANG: lang }),
      ...(timeZone === null ? {} : { TZ: timeZone }),
      ...(options.hasEgress && options.walls.hasNamespaces ? PROXY_VARIABLES : {}),
    };
  }

  function inTurn<T>(choose: () => Promise<T>): Promise<T> {
    const turn = choosing.then(choose);
    choosing = turn.catch(() => undefined);
    return turn;
  }

  async function takePorts(stanzas: readonly string[]): Promise<Record<string, number>> {
    const ports = await allocatePorts(stanzas, limits.portRange, takenPorts);
    for (const port of Object.values(ports)) takenPorts.add(port);
    return ports;
  }

  function releasePorts(ports: Readonly<Record<string, number>>): void {
    for (const port of Object.values(ports)) takenPorts.delete(port);
  }

  function register(record: WorkloadRecord, paths: Paths): Workload {
    const { spec } = record.workload;
    const recipe = recipeOf(spec);
    // An earlier release may have made it, with a home that goes with its stop.
    const hasFormerHome = recipe?.keepsHome === true && record.homeIsVolume !== true;
    const workload = new Workload({
      parts: partsFor(paths),
      recipe,
      readiness: templates.find(spec.template)?.readiness ?? null,
      hasVolume: hasFormerHome ? spec.persistentVolume : hasVolume(record.workload),
      record,
    });
    byUid.set(record.workload.uid, workload);
    byName.set(nameOf(record.workload), workload);
    for (const { ref, isReadOnly } of record.workload.mounts ?? []) {
      if (!isReadOnly) options.volumes.attach(ref, record.workload.uid);
    }
    for (const port of Object.values(record.ports)) takenPorts.add(port);
    return workload;
  }

  function recipeOf(spec: WorkloadSpec['spec']): Recipe | null {
    const template = templates.find(spec.template);
    return template === null ? null : (recipes.get(template.name) ?? null);
  }

  function hasVolume({ spec }: Pick<WorkloadSpec, 'spec'>): boolean {
    return spec.persistentVolume || (templates.find(spec.template)?.dataPath ?? null) !== null;
  }

  /** Until the workloads left behind are known, report nothing and do nothing. */
  async function ready(signal: AbortSignal): Promise<{ readonly paths: Paths; readonly life: AbortSignal }> {
    const unavailable = (detail: string) => new PodgateError('orchestrator.unavailable', { detail });
    if (isStoppingAll) throw unavailable('all pods are being stopped');
    const paths = known ?? (await untilKnown(signal, unavailable));
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- both change while it waits
    if (isStoppingAll || life === null) throw unavailable('all pods are being stopped');
    return { paths, life };
  }

  function untilKnown(signal: AbortSignal, unavailable: (detail: string) => PodgateError): Promise<Paths> {
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(limits.firstLookMs)]);
    return untilAborted(firstLook.promise, deadline, () =>
      unavailable('the workloads on this machine are not known yet'),
    );
  }

  async function ensure(workload: WorkloadSpec, signal: AbortSignal): Promise<EnsureResult> {
    const { paths, life: lifeSignal } = await ready(signal);
    const name = nameOf(workload);
    const inMaking = making.get(name);
    if (inMaking !== undefined) {
      if (isSameIdentity(inMaking.workload, workload)) return inMaking.result;
      return { kind: 'wait', reason: 'another workload of this pod is being created' };
    }
    for (const present of new Set([byUid.get(workload.uid), byName.get(name)])) {
      if (present === undefined) continue;
      if (!present.isStopping && isSameIdentity(present.record.workload, workload)) return { kind: 'ensured' };
      if (isNewer(present.record.workload, workload)) {
        return { kind: 'wait', reason: 'a newer workload of this pod is running' };
      }
      if (!present.isStopping) await guarded(() => present.end('keep'));
      return { kind: 'wait', reason: 'an older workload of this pod is being stopped' };
    }
    if (deletingVolumes.has(workload.uid)) return { kind: 'wait', reason: 'its data is being deleted' };
    if (sourcesBelow(paths).interrupt(workload.uid)) return { kind: 'wait', reason: 'its data is being copied' };
    const result = make(workload, paths, lifeSignal).finally(() => making.delete(name));
    making.set(name, { workload, result });
    return result;
  }

  async function make(workload: WorkloadSpec, paths: Paths, lifeSignal: AbortSignal): Promise<EnsureResult> {
    const refusal = await refusalOf(workload);
    if (refusal !== null) return { kind: 'failed', reason: refusal, retryable: false };
    try {
      const volumeBytesBefore = await bytesOfVolume(paths, workload.uid, lifeSignal);
      const record = await inTurn(async () => {
        const records = [...byUid.values()].map((each) => each.record);
        const made = recordOf(workload, {
          instance,
          osUser: asRoot ? await chooseOsUser(paths, workload.uid, usersInUse, records) : null,
          ports: await takePorts(Object.keys(workload.spec.networking)),
          madeAt: { bootId: bootClock.bootId, bootMs: bootClock.nowMs(), wallMs: clock.now() },
          ...(recipeOf(workload.spec)?.keepsHome === true ? { homeIsVolume: true } : {}),
          volumeBytesBefore,
        });
        try {
          await makeDirectories(paths, made, hasVolume(workload));
        } catch (error) {
          releasePorts(made.ports);
          throw error;
        }
        return made;
      });
      register(record, paths).begin(workload.credentials, lifeSignal);
    } catch (error) {
      log.warn({ podId: workload.podId, uid: workload.uid, error: errorText(error) }, 'failed to create a workload');
      await removeTree(paths.workload(workload.uid));
      return {
        kind: 'failed',
        reason: 'The workload could not be created on this machine; see the log for the reason.',
        retryable: true,
      };
    }
    watchers.changed(workload);
    const unlimited = unlimitedText(cgroups);
    return { kind: 'ensured', ...(unlimited === '' ? {} : { note: unlimited }) };
  }

  /** What an earlier run has left there. */
  async function bytesOfVolume(paths: Paths, uid: string, lifeSignal: AbortSignal): Promise<number> {
    const volume = paths.volume(uid);
    if (options.disk.volumeMiB === null || !(await exists(volume))) return 0;
    return (await measureDisk([volume], options.walls, lifeSignal))?.[0]?.bytes ?? 0;
  }

  async function refusalOf(workload: WorkloadSpec): Promise<string | null> {
    if (!isPlainName(workload.uid)) return 'The uid of this pod cannot name a directory.';
    const recipe = recipeOf(workload.spec);
    if (recipe === null) {
      return (
        `This installation runs pods as processes, which cannot run "${workload.spec.writtenTemplate}". ` +
        `Choose one of ${[...recipes.keys()].join(', ')}.`
      );
    }
    try {
      options.openEnvironment(workload.uid, workload.spec.environmentVariables);
    } catch {
      return UNREADABLE_ENVIRONMENT;
    }
    return (await mountRefusalOf(workload)) ?? (await recipe.refuse(workload));
  }

  function keptDirectories({ workloads }: Paths): readonly string[] {
    return [dirname(workloads), runtimeRoot, ...options.hide.directories];
  }

  async function mountRefusalOf({ mounts = [] }: WorkloadSpec): Promise<string | null> {
    if (mounts.length === 0 || known === null) return null;
    if (!options.walls.canMount) return NO_MOUNTS;
    if (mounts.length > MOUNTS_MAX) return `A pod mounts at most ${MOUNTS_MAX} named volumes here.`;
    const targets = mounts.map(({ mountPath }) => mountPath);
    const plan = await planMounts(targets, keptDirectories(known));
    return plan.kind === 'refused' ? plan.reason : null;
  }

  async function remove(ref: WorkloadRef, how: RemoveOptions, signal: AbortSignal) {
    const { paths } = await ready(signal);
    await making.get(nameOf(ref))?.result.catch(() => undefined);
    const workload = byUid.get(ref.uid);
    if (workload !== undefined) {
      if (workload.record.workload.run <= how.run) await guarded(() => workload.end(how.data));
      return;
    }
    if (how.data === 'keep' || !isPlainName(ref.uid) || deletingVolumes.has(ref.uid)) return;
    sourcesBelow(paths).interrupt(ref.uid);
    const deleting = removeTree(paths.volume(ref.uid))
      .catch((error: unknown) => log.warn({ uid: ref.uid, error: errorText(error) }, 'failed to delete data'))
      .finally(() => {
        deletingVolumes.delete(ref.uid);
        watchers.changed(ref);
      });
    deletingVolumes.set(ref.uid, deleting);
  }

  async function observe(ref: WorkloadRef, signal: AbortSignal): Promise<Observation> {
    const { paths } = await ready(signal);
    await making.get(nameOf(ref))?.result.catch(() => undefined);
    const workload = byUid.get(ref.uid);
    if (workload !== undefined) return workload.observation();
    return { kind: 'absent', data: isPlainName(ref.uid) && (await exists(paths.volume(ref.uid))) };
  }

  /** Whether there is data is for those to ask who decide about it: that takes a look at the disk. */
  function glimpse(ref: WorkloadRef): Observation {
    if (known === null) return { kind: 'unknown', reason: 'the workloads on this machine are not known yet' };
    return byUid.get(ref.uid)?.observation() ?? { kind: 'absent', data: false };
  }

  async function list(signal: AbortSignal): Promise<readonly WorkloadObservation[]> {
    await ready(signal);
    return [...byUid.values()].map((workload) => workload.observation());
  }

  async function records(signal: AbortSignal): Promise<readonly AnnotatedWorkload[]> {
    await ready(signal);
    return [...byUid.values()].map(({ record }) => {
      const { tenant, podId, uid, annotations } = record.workload;
      // Written by releases that kept no credential, too.
      return { tenant, podId, uid, ...annotations, credential: annotations.credential ?? null };
    });
  }

  async function* watch(signal: AbortSignal): AsyncGenerator<WorkloadEvent> {
    await untilAborted(firstLook.promise, signal, () => new Error('aborted')).catch(() => undefined);
    if (signal.aborted) return;
    yield* watchers.watch(
      [...byUid.values()].map((workload) => workload.record.workload),
      signal,
    );
  }

  async function logs(ref: WorkloadRef, { tailBytes, isPrevious = false }: LogsOptions, signal: AbortSignal) {
    // All that a run has printed is in one log, whatever was started again.
    if (isPrevious) return '';
    await ready(signal);
    return guarded(async () => byUid.get(ref.uid)?.output.tail(Math.min(tailBytes, limits.outputMaxBytes)) ?? '');
  }

  async function after(ref: WorkloadRef, how: PrintedOptions, signal: AbortSignal): Promise<PrintedPart> {
    await ready(signal);
    return guarded(async () => byUid.get(ref.uid)?.output.after(how) ?? { text: '', mark: how.mark, isAll: true });
  }

  async function exec(ref: WorkloadRef, how: ExecOptions, signal: AbortSignal): Promise<ExecResult> {
    await ready(signal);
    const place = await guarded(async () => (await byUid.get(ref.uid)?.execPlace()) ?? null);
    return place === null ? { kind: 'refused', reason: NOT_RUNNING } : execBeside(place, how, signal);
  }

  async function terminal(ref: WorkloadRef, how: TerminalOptions, signal: AbortSignal): Promise<TerminalResult> {
    await ready(signal);
    const place = await guarded(async () => (await byUid.get(ref.uid)?.execPlace()) ?? null);
    return place === null ? { kind: 'refused', reason: NOT_RUNNING } : terminalBeside(place, how, signal);
  }

  async function useInside(ref: WorkloadRef, signal: AbortSignal): Promise<UseInside> {
    await ready(signal);
    const workload = byUid.get(ref.uid);
    if (workload === undefined) return { kind: 'unknown', why: 'its workload is gone' };
    return guarded(() => workload.useInside(signal));
  }

  const takeSnapshot: DataSnapshots['take'] = async (request, signal) => {
    const { paths, life: lifeSignal } = await ready(signal);
    const copier = recipes.get(request.template)?.copier;
    if (copier === undefined) throw new Error(`the data of ${request.template} cannot be copied`);
    const parts = { sources: sourcesBelow(paths), files: options.volumes, copier };
    await snapshotData(parts, request, AbortSignal.any([signal, lifeSignal]));
  };

  async function run(signal: AbortSignal): Promise<void> {
    life = signal;
    looking = look(signal);
    await looking;
    const disk = new DiskWatch({
      root: options.root,
      limits: options.disk,
      hasUserNamespaces: options.walls.hasUserNamespaces,
      log,
    });
    const diskWatched = disk.run(() => [...byUid.values()].filter(({ isLive }) => isLive), limits.diskCheckMs, signal);
    while (!signal.aborted) {
      // Read once for all pods: on a busy machine the tables are long.
      const isShared = [...byUid.values()].some((workload) => workload.sharesNetwork);
      const listeners = isShared ? await readListeners('self') : null;
      if (listeners !== null) for (const workload of byUid.values()) workload.listenersSeen(listeners);
      await pause(coalesce(limits.listenersCheckMs), signal);
    }
    await diskWatched;
  }

  async function look(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && known === null) {
      try {
        await lookOnce(signal);
      } catch (error) {
        log.error({ error: errorText(error) }, 'failed to find the workloads on this machine; retrying');
        await pause(FIRST_LOOK_RETRY_MS, signal);
      }
    }
  }

  async function lookOnce(signal: AbortSignal): Promise<void> {
    // Other users pass through it, and list none of it.
    await mkdir(options.root, { recursive: true, mode: 0o711 });
    // Pods see it, and may do so before anything is in it.
    await mkdir(runtimeRoot, { recursive: true, mode: 0o755 });
    const paths = pathsBelow(await realpath(options.root));
    const { adopt, end } = await lookAtLeftBehind({ paths, table, installation, instance });
    for (const record of adopt) await register(record, paths).adopt(signal);
    for (const record of end) {
      log.info({ podId: record.workload.podId, uid: record.workload.uid }, 'stopping processes left by an earlier run');
      await register(record, paths).end(record.data);
    }
    cgroups.removeOthers(new Set(byUid.keys()));
    known = paths;
    firstLook.resolve(paths);
  }

  async function stopAll(signal: AbortSignal): Promise<void> {
    isStoppingAll = true;
    const all = async () => {
      // What it finds is to be ended as well.
      await looking;
      await Promise.all([...making.values()].map(({ result }) => result.catch(() => undefined)));
      await Promise.all(
        [...byUid.values()].map(async (workload) => {
          await workload.end('keep', limits.stopAllGraceMs).catch(() => undefined);
          await workload.ended();
        }),
      );
    };
    await untilAborted(all(), signal, () => new Error('some pods did not stop in time'));
    cgroups.close();
  }

  const podNetworks: PodNetworks = {
    all: () => [...byUid.values()].flatMap(({ network }) => network ?? []),
    follow: (changed) => {
      networkFollowers.add(changed);
      return () => networkFollowers.delete(changed);
    },
  };

  const protection = protectionOf(options.walls, asRoot, cgroups.limits);
  return {
    podNetworks,
    protection,
    mountProblem: options.walls.canMount ? null : NO_MOUNTS,
    ensure,
    remove,
    observe,
    glimpse,
    list,
    records,
    watch,
    logs,
    output: { after },
    clones: new Set([...recipes].flatMap(([name, recipe]) => (recipe.copier === undefined ? [] : [name]))),
    snapshots: { take: takeSnapshot },
    shell: limitShell({ exec, terminal }),
    metrics: new ProcessMetrics({ cgroups, clock, leaderOf: (uid) => byUid.get(uid)?.leader ?? null }),
    useInside,
    run,
    stopAll,
  };
}

function nameOf(pod: { readonly tenant: string; readonly podId: string }): string {
  return `${pod.tenant}/${pod.podId}`;
}

/** By its run, or by the commit of the store that both were made from: then the request is stale. */
function isNewer(present: Pick<WorkloadSpec, 'uid' | 'run' | 'annotations'>, wanted: WorkloadSpec): boolean {
  if (present.uid === wanted.uid && present.run > wanted.run) return true;
  const { storeId, commit } = present.annotations;
  return storeId === wanted.annotations.storeId && commit > wanted.annotations.commit;
}

interface Identity {
  readonly uid: string;
  readonly generation: number;
  readonly run: number;
}

function isSameIdentity(a: Identity, b: Identity): boolean {
  return a.uid === b.uid && a.generation === b.generation && a.run === b.run;
}

/** Disks fail in many ways; to the callers they are all one. */
async function guarded<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new PodgateError('orchestrator.unavailable', { detail: errorText(cause), cause });
  }
}

function untilAborted<T>(promise: Promise<T>, signal: AbortSignal, reason: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(reason());
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
