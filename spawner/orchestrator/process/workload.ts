import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { isAborted, pause } from '../../../core/abort.ts';
import type { Clock } from '../../../core/clock.ts';
import type { DataOrigin } from '../../../core/data-origin.ts';
import { errorText, PodgateError } from '../../../core/errors.ts';
import type { OpenEnvironment } from '../../../core/environment.ts';
import type { Logger } from '../../../core/logger.ts';
import type { DialGuard, NetworkNamespace, PodNetwork } from '../../../core/pod-network.ts';
import type { WorkloadObservation, WorkloadPhase } from '../../../core/workloads.ts';
import type { Credentials } from '../../../core/pod.ts';
import { expandSecretVariables } from '../../../core/resolve-secrets.ts';
import type { Readiness } from '../../../core/template.ts';
import { type UseInside, useInsideOf } from '../../../core/use-inside.ts';
import type { MountedFiles } from '../../../core/volume.ts';
import type { Cgroups } from './cgroups.ts';
import type { DataSource, DataSources } from './copies/data-sources.ts';
import type { Belonging, ProcessName } from './belonging.ts';
import type { BootClock } from './boot-clock.ts';
import type { DiskVerdict } from './disk-plan.ts';
import type { DiskUser, SharedVolume } from './disk-watch.ts';
import type { ExecPlace } from './exec-beside.ts';
import { endProcesses } from './end-processes.ts';
import { decidingListeners, type Listener } from './listeners.ts';
import { LocalPorts } from './local-ports.ts';
import type { ProcessLimits } from './options.ts';
import { OutputLog } from './output-log.ts';
import type { Paths } from './paths.ts';
import { arePortsFree, portVariables } from './ports.ts';
import { MARKER_VARIABLE, type ProcessTable } from './process-table.ts';
import { findLeader, findProgram, type ProgramPlace, type Running, startProgram } from './program.ts';
import type { Connect } from './probes.ts';
import { ReadyWatch, type WatchedWorkload } from './ready-watch.ts';
import type { Recipe, RecipeContext } from './recipes/recipe.ts';
import { removeTree } from './remove-tree.ts';
import { planAfterExit } from './restart-policy.ts';
import type { HiddenFiles, Walls } from './room.ts';
import type { Exit } from './shim.ts';
import { type OpenedMounts, openMounts } from './volumes/open-mounts.ts';
import type { VolumeMounts } from './volumes/volume-mounts.ts';
import { type WorkloadRecord, writeWorkloadRecord } from './workload-record.ts';

/** What a program leaves behind when it ends gets this long to end as well. */
const LEFTOVER_GRACE_MS = 300;
/** A program that is ended because it fills the disk fills it meanwhile. */
const RULED_OUT_GRACE_MS = 3_000;
const RULED_OUT = { kind: 'not-started', reason: '' } as const;
const END_RETRY_MS = 1_000;
/** What all workloads of an orchestrator share. */
export interface WorkloadParts {
  readonly installation: string;
  readonly paths: Paths;
  readonly table: ProcessTable;
  readonly clock: Clock;
  readonly bootClock: BootClock;
  readonly log: Logger;
  readonly limits: ProcessLimits;
  readonly walls: Walls;
  readonly doorPort: number | null;
  readonly cgroups: Cgroups;
  readonly hide: Omit<HiddenFiles, 'kept'>;
  /** Directories of Podgate, where pods mount nothing. */
  readonly keptDirectories: readonly string[];
  readonly volumes: VolumeMounts;
  readonly sources: DataSources;
  readonly runtimeRoot: string;
  readonly connect: Connect;
  /** PATH, LANG, TZ. */
  readonly environment: () => Promise<Readonly<Record<string, string>>>;
  readonly openEnvironment: OpenEnvironment;
  /** In place of those it had, one per stanza. */
  readonly newPorts: (former: Readonly<Record<string, number>>) => Promise<Record<string, number>>;
  /** Something about it is not as before. */
  readonly changed: (workload: Workload) => void;
  /** It has another network namespace, or none any more. */
  readonly networkChanged: () => void;
  /** Nothing of it is left (but its volume, unless that was to be deleted). */
  readonly ended: (workload: Workload) => void;
}

export interface WorkloadOptions {
  readonly parts: WorkloadParts;
  readonly recipe: Recipe | null;
  readonly readiness: Readiness | null;
  readonly hasVolume: boolean;
  readonly record: WorkloadRecord;
}

/** One workload: prepares it, starts its program, sees when it is ready, starts it again when it fails, ends it. */
export class Workload implements DiskUser {
  readonly output: OutputLog;
  readonly #parts: WorkloadParts;
  readonly #recipe: Recipe | null;
  readonly #readyWatch: ReadyWatch;
  readonly #hasVolume: boolean;
  readonly #log: Logger;
  readonly #ending = new AbortController();
  #record: WorkloadRecord;
  #writes: Promise<void> = Promise.resolve();
  #life: Promise<void> = Promise.resolve();
  #end: Promise<void> | null = null;
  #leader: ProcessName | null = null;
  /** Of the running program; null: that of Podgate itself. */
  #namespace: NetworkNamespace | null = null;
  readonly #localPorts: LocalPorts;
  /** What its user was last told about the disk; '' = nothing. */
  #diskNote = '';
  /** Why its program is being ended for good. */
  #ruledOut: string | null = null;
  #isEndingProgram = false;
  /** Null: not known since this process began. */
  #volumeGroups: readonly number[] | null = null;
  /** In memory alone: what was begun by an earlier control child has none. */
  #credentials: Credentials | null = null;

  constructor(options: WorkloadOptions) {
    this.#parts = options.parts;
    this.#recipe = options.recipe;
    this.#hasVolume = options.hasVolume;
    this.#record = options.record;
    const { tenant, podId, uid } = options.record.workload;
    this.#log = options.parts.log.child({ tenant, podId, uid });
    this.#localPorts = new LocalPorts(this.#log);
    this.#readyWatch = new ReadyWatch(options.parts, options.readiness, this.#watched(), this.#log);
    this.output = new OutputLog(options.parts.paths.log(uid), options.parts.limits.outputMaxBytes);
  }

  #watched(): WatchedWorkload {
    return {
      record: () => this.#record,
      credentials: () => this.#credentials,
      namespace: () => this.#namespace,
      leader: () => this.#leader,
      belonging: () => this.#belonging(),
      uid: () => this.#uid(),
      hasDiskNote: () => this.#diskNote !== '',
      letIn: () => this.#letIn(),
      say: (message) => {
        this.#say(message);
      },
      update: (change) => this.#update(change),
    };
  }

  get record(): WorkloadRecord {
    return this.#record;
  }

  get isStopping(): boolean {
    return this.#record.state === 'stopping';
  }

  /** Lives from its preparation on, until it completes, is ended or `signal` aborts (then its program goes on). */
  begin(credentials: Credentials | null, signal: AbortSignal): void {
    this.#credentials = credentials;
    this.#life = this.#live({ credentials, adopted: null }, AbortSignal.any([signal, this.#ending.signal]));
  }

  /** Goes on with what an earlier control child has started, as it is now. Resolves when that is known. */
  async adopt(signal: AbortSignal): Promise<void> {
    if (this.#record.state === 'completed' || this.#record.state === 'failed') return;
    const both = AbortSignal.any([signal, this.#ending.signal]);
    const adopted = await findProgram(this.#place(), both);
    this.#leader = adopted?.leader ?? null;
    this.#setNamespace(adopted?.namespace ?? null);
    if (adopted === null && this.#record.ready !== null) await this.#update({ ready: null });
    this.#life = this.#live({ credentials: null, adopted }, both);
    // If it has ended meanwhile, record that before reporting it.
    await nextTurn();
  }

  observation(): WorkloadObservation {
    const { workload, madeAt, startedAtMs, restarts, exitCode, signal, message, ready, ports } = this.#record;
    const { bootClock } = this.#parts;
    const stanzas = this.isStopping ? [] : (ready?.stanzas ?? []);
    return {
      kind: 'workload',
      tenant: workload.tenant,
      podId: workload.podId,
      uid: workload.uid,
      generation: workload.generation,
      run: workload.run,
      phase: this.#phase(),
      message,
      ageMs: madeAt.bootId === bootClock.bootId ? Math.max(0, bootClock.nowMs() - madeAt.bootMs) : 0,
      startTime: startedAtMs === null ? null : new Date(startedAtMs).toISOString(),
      exitCode,
      signal,
      restarts,
      addresses: Object.fromEntries(
        stanzas.flatMap((stanza) => {
          const port = ports[stanza];
          if (port === undefined) return [];
          return [[stanza, { address: this.#addressOf(port), port, service: null, ...this.#guard() }]];
        }),
      ),
      storeId: workload.annotations.storeId,
      commit: workload.annotations.commit,
    };
  }

  #addressOf(port: number): string {
    const { ports, ready } = this.#record;
    const stanza = Object.keys(ports).find((each) => ports[each] === port) ?? '';
    return ready?.addresses?.[stanza] ?? '127.0.0.1';
  }

  get network(): PodNetwork | null {
    const { tenant, podId, uid, createdBy } = this.#record.workload;
    if (this.#namespace === null) return null;
    return { ...this.#namespace, tenant, podId, uid, ...(createdBy === undefined ? {} : { createdBy }) };
  }

  /** Its ports are ports of this machine, which other programs may take. */
  get sharesNetwork(): boolean {
    return this.#namespace === null;
  }

  /** Of the process group of its program; null: nothing runs. */
  get leader(): ProcessName | null {
    return this.#leader;
  }

  get home(): string {
    return this.#parts.paths.home(this.#record.workload.uid);
  }

  get #workingDirectory(): string {
    const { paths } = this.#parts;
    const { workload, homeIsVolume } = this.#record;
    return homeIsVolume === true ? paths.volume(workload.uid) : paths.home(workload.uid);
  }

  get volume(): string | null {
    return this.#hasVolume ? this.#parts.paths.volume(this.#record.workload.uid) : null;
  }

  get shared(): readonly SharedVolume[] {
    return this.#mounts.flatMap(({ ref, name, isReadOnly, sizeLimitMiB }) =>
      isReadOnly ? [] : [{ name, path: this.#parts.volumes.pathOf(ref), limitMiB: sizeLimitMiB }],
    );
  }

  get #mounts(): readonly MountedFiles[] {
    return this.#record.workload.mounts ?? [];
  }

  get volumeBytesBefore(): number {
    return this.#record.volumeBytesBefore ?? 0;
  }

  /** Its program runs, or is about to. */
  get isLive(): boolean {
    return this.#record.state === 'preparing' || this.#record.state === 'prepared';
  }

  diskJudged(verdict: DiskVerdict): void {
    if (!this.isLive) return;
    if (verdict.kind === 'beyond') {
      if (this.#ruledOut === null) this.#log.warn({ reason: verdict.text }, 'a pod is stopped');
      this.#ruledOut = verdict.text;
      // Again, when a start was under way.
      if (this.#isEndingProgram) return;
      this.#isEndingProgram = true;
      void this.#tryTo(() => this.#endProgram()).finally(() => {
        this.#isEndingProgram = false;
      });
      return;
    }
    const isShown = this.#diskNote !== '' && this.#record.message === this.#diskNote;
    this.#diskNote = verdict.kind === 'near' ? verdict.text : '';
    if (this.#diskNote !== '' || isShown) this.#say(this.#diskNote);
  }

  #guard(): DialGuard {
    if (this.#namespace !== null) return { namespace: this.#namespace };
    const ownerUid = this.#uid();
    return ownerUid === null ? {} : { ownerUid };
  }

  /** The user its program runs as; null where the system does not say who owns a socket. */
  #uid(): number | null {
    return process.platform === 'linux' ? (this.#record.osUser?.uid ?? process.getuid?.() ?? null) : null;
  }

  #phase(): WorkloadPhase {
    const { state, ready, isCrashing } = this.#record;
    if (state === 'stopping') return 'stopping';
    if (state === 'completed' || state === 'failed') return state;
    if (ready !== null && ready.isReady) return 'ready';
    if (isCrashing) return 'crashing';
    return state === 'preparing' ? 'pending' : 'starting';
  }

  /** Begins its end, or makes a begun one delete the data too. `graceMaxMs` shortens the time it gets. */
  async end(data: 'keep' | 'delete', graceMaxMs = Infinity): Promise<void> {
    let written: Promise<void> | null = null;
    if (!this.isStopping) written = this.#update({ state: 'stopping', ready: null, data, message: '' });
    else if (data === 'delete' && this.#record.data !== 'delete') written = this.#update({ data });
    // In the same step: from here on its life changes nothing any more.
    this.#ending.abort();
    this.#end ??= this.#goDown(graceMaxMs);
    await written;
  }

  /** Resolves when nothing of it is left. */
  async ended(): Promise<void> {
    await this.#end;
  }

  async #goDown(graceMaxMs: number): Promise<void> {
    const { paths, table, cgroups, ended } = this.#parts;
    const { uid } = this.#record.workload;
    await this.#life;
    for (;;) {
      try {
        this.#leader ??= await findLeader(this.#place());
        await endProcesses({
          table,
          belonging: this.#belonging(),
          stopSignal: this.#recipe?.stopSignal ?? 'SIGTERM',
          graceMs: Math.min(this.#recipe?.graceMs ?? 3_000, graceMaxMs),
        });
        this.#setNamespace(null);
        cgroups.remove(uid);
        await this.#writes;
        // Read after everything before it: a delete may have come while the program was ending.
        if (this.#record.data === 'delete') await removeTree(paths.volume(uid));
        await removeTree(paths.workload(uid));
        break;
      } catch (error) {
        this.#log.warn({ error: errorText(error) }, 'failed to stop a workload; retrying');
        await sleep(END_RETRY_MS);
      }
    }
    ended(this);
  }

  async #live(
    start: { readonly credentials: Credentials | null; readonly adopted: Running | null },
    signal: AbortSignal,
  ): Promise<void> {
    let { adopted } = start;
    for (;;) {
      const failure = this.#ruledOut === null ? await this.#runOnce(adopted, start.credentials, signal) : RULED_OUT;
      adopted = null;
      if (failure === null) return;
      const ruledOut = this.#ruledOut;
      if (ruledOut !== null) {
        await this.#tryTo(() => this.#endLeftovers());
        const failed = { state: 'failed', ready: null, isCrashing: false, message: ruledOut } as const;
        if (!signal.aborted) await this.#tryTo(() => this.#update(failed));
        return;
      }
      const { ready } = this.#record;
      const next = planAfterExit({
        failure,
        mayComplete: this.#recipe?.mayComplete ?? false,
        failuresBefore: this.#record.failures,
        readyForMs: ready?.isReady === true ? this.#parts.bootClock.nowMs() - ready.sinceBootMs : null,
        firstDelayMs: this.#parts.limits.restartDelayMs,
      });
      const ended = {
        ready: null,
        exitCode: failure.kind === 'code' ? failure.code : null,
        signal: failure.kind === 'signal' ? failure.signal : null,
      };
      if (next.kind === 'completed') {
        await this.#tryTo(() => this.#endLeftovers());
        if (!signal.aborted)
          await this.#tryTo(() => this.#update({ ...ended, state: 'completed', isCrashing: false, message: '' }));
        return;
      }
      const { failures, isCrashing, message } = next;
      // At once: nobody should be sent to a program that has ended.
      await this.#tryTo(() => this.#update({ ...ended, failures, isCrashing, message }));
      await this.#tryTo(() => this.#endLeftovers());
      await pause(next.delayMs, signal);
      if (signal.aborted) return;
      await this.#tryTo(() => this.#update({ restarts: this.#record.restarts + 1 }));
    }
  }

  /** One start of the program and its end; null when the signal has aborted. */
  async #runOnce(
    adopted: Running | null,
    credentials: Credentials | null,
    signal: AbortSignal,
  ): Promise<Exit | { readonly kind: 'not-started'; readonly reason: string } | null> {
    try {
      const { cgroups } = this.#parts;
      const { uid, spec } = this.#record.workload;
      const killsBefore = cgroups.memoryKills(uid);
      const running = adopted ?? (await this.#start(credentials, signal));
      const exit = await this.#accompany(running, signal);
      if (isAborted(signal)) return null;
      if (exit === null) return { kind: 'not-started', reason: 'exited while it was not being observed' };
      const isOutOfMemory = cgroups.memoryKills(uid) > killsBefore && !(exit.kind === 'code' && exit.code === 0);
      return isOutOfMemory ? { ...exit, outOfMemoryMiB: spec.resources.memLimit } : exit;
    } catch (error) {
      if (isAborted(signal)) return null;
      this.#log.warn({ error: errorText(error) }, 'failed to start the program of a pod');
      // About its volumes, or about what it is a clone of: written for users.
      const { origin } = this.#record.workload;
      if (error instanceof PodgateError && (this.#mounts.length > 0 || origin !== undefined)) {
        return { kind: 'not-started', reason: `could not be started: ${error.publicMessages.join(' ')}` };
      }
      // The error names paths of this machine: users are told that it happened, operators what.
      return { kind: 'not-started', reason: "could not be started; see Podgate's log for the reason" };
    }
  }

  /** For what must not end a workload's life: a full disk has room again some day. */
  async #tryTo(work: () => Promise<void>): Promise<void> {
    await work().catch((error: unknown) => {
      this.#log.warn({ error: errorText(error) }, 'reconciling a workload failed; will retry');
    });
  }

  /** Prepares what is not prepared, then starts the program. */
  async #start(credentials: Credentials | null, signal: AbortSignal): Promise<Running> {
    const recipe = this.#recipe;
    const { walls } = this.#parts;
    if (recipe === null) throw new Error(`this installation cannot run ${this.#record.workload.spec.template}`);
    await this.#untilProvided(recipe, signal);
    if (this.#record.state === 'preparing') {
      await recipe.prepare(await this.#context(), credentials, signal);
      signal.throwIfAborted();
      await this.#update({ state: 'prepared' });
    }
    // Another program may have taken one while this was down.
    if (!walls.hasNamespaces && !(await arePortsFree(Object.values(this.#record.ports)))) {
      const ports = await this.#parts.newPorts(this.#record.ports);
      await this.#update({ ports });
    }
    const context = await this.#context();
    const launch = await recipe.launch(context, signal);
    signal.throwIfAborted();
    // On disk before it runs, so that the next process finds it.
    await this.#update({
      startedAtMs: this.#parts.clock.now(),
      ready: null,
      launchEnvironment: launch.environment,
    });
    signal.throwIfAborted();
    const { workload } = this.#record;
    const environment = this.#programEnvironment(context);
    const mounts = await this.#openMounts();
    let running: Running;
    try {
      running = await startProgram(this.#place(), {
        command: launch.command.map((word) => expandSecretVariables(word, environment)),
        readOnly: launch.readOnly ?? [],
        memLimitMiB: workload.spec.resources.memLimit,
        mounts,
        cwd: context.home,
        groups: this.#parts.cgroups.make(workload.uid, workload.spec.resources),
        environment,
      });
    } finally {
      await mounts?.close();
    }
    this.#volumeGroups = mounts?.groups ?? null;
    this.#leader = running.leader;
    this.#setNamespace(running.namespace);
    return running;
  }

  async #openMounts(): Promise<OpenedMounts | null> {
    const { volumes, keptDirectories } = this.#parts;
    if (this.#mounts.length === 0) return null;
    return await openMounts(volumes, this.#mounts, { home: this.#workingDirectory, kept: keptDirectories });
  }

  /** Shows what it waits for; a crash loop stays one when there is nothing to wait for. */
  async #untilProvided(recipe: Recipe, signal: AbortSignal): Promise<void> {
    let hasWaited = false;
    await recipe.provide?.(({ message, isProblem }) => {
      hasWaited = true;
      void this.#tryTo(() => this.#update({ message, isCrashing: isProblem }));
    }, signal);
    signal.throwIfAborted();
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-condition -- set by the recipe
    if (hasWaited) await this.#update({ message: '', isCrashing: false });
  }

  #programEnvironment({ environment, workload }: RecipeContext): Readonly<Record<string, string>> {
    const { launchEnvironment, ports } = this.#record;
    return {
      ...environment,
      ...this.#parts.openEnvironment(workload.uid, workload.spec.environmentVariables),
      // After the user's: what the template itself needs stays as it is.
      ...launchEnvironment,
      ...portVariables(ports),
    };
  }

  /** For a command beside its program; null while that does not run. */
  async execPlace(): Promise<ExecPlace | null> {
    const leader = this.#leader;
    if (leader === null || !this.isLive || this.#ruledOut !== null) return null;
    const { uid } = this.#record.workload;
    return {
      ...this.#place(),
      leader,
      groups: this.#parts.cgroups.groupsOf(uid),
      cwd: this.#workingDirectory,
      environment: this.#programEnvironment(await this.#context()),
      volumeGroups: this.#mounts.length === 0 ? null : await this.#groupsOfVolumes(),
      ending: this.#ending.signal,
    };
  }

  /** What uses its program beside gateways. */
  async useInside(signal: AbortSignal): Promise<UseInside> {
    if (this.#recipe?.useInside === undefined) return { kind: 'idle' };
    if (this.#leader === null || !this.isLive) return { kind: 'unknown', why: 'its program does not run' };
    return useInsideOf(await this.#recipe.useInside(await this.#context(), signal));
  }

  /** A program of an earlier control child has them as well. */
  async #groupsOfVolumes(): Promise<readonly number[]> {
    if (this.#volumeGroups === null) {
      const mounts = await this.#openMounts();
      await mounts?.close();
      this.#volumeGroups = mounts?.groups ?? [];
    }
    return this.#volumeGroups;
  }

  /** From the start of the program to its end: watches its ports meanwhile. */
  async #accompany(running: Running, signal: AbortSignal): Promise<Exit | null> {
    const over = new AbortController();
    const watching = this.#readyWatch.run(AbortSignal.any([signal, over.signal]));
    const aborted = new Promise<never>((_, reject) => {
      const onAbort = () => reject(new Error('aborted'));
      if (signal.aborted) onAbort();
      else AbortSignal.any([signal, over.signal]).addEventListener('abort', onAbort, { once: true });
    });
    aborted.catch(() => undefined);
    try {
      return await Promise.race([running.exit, aborted]);
    } finally {
      over.abort();
      await watching;
    }
  }

  async #letIn(): Promise<boolean> {
    try {
      await this.#recipe?.letIn?.(await this.#context());
      return true;
    } catch (error) {
      this.#log.warn({ error: errorText(error) }, 'failed to make a running workload ready; will retry');
      return false;
    }
  }

  #say(message: string): void {
    if (this.#record.message === message || this.#record.isCrashing) return;
    void this.#update({ message }).catch(() => undefined);
  }

  /**
   * The current listeners of this machine. A pod that closes its socket without ending leaves the port to the next
   * process that takes it, maybe another pod that waits for it: from then on no client is sent there.
   */
  listenersSeen(listeners: readonly Listener[]): void {
    const { ready, ports } = this.#record;
    const uid = this.#uid();
    if (!this.sharesNetwork || ready === null || uid === null || this.isStopping) return;
    const isTaken = ready.stanzas.some((stanza) => {
      const place = { address: ready.addresses?.[stanza] ?? '127.0.0.1', port: ports[stanza] ?? 0 };
      return decidingListeners(listeners, place).some((each) => each.uid !== uid);
    });
    if (!isTaken) return;
    this.#log.warn({ ports }, 'a port of a pod was taken by another program');
    this.#update({ ready: null }).catch(() => undefined);
    this.#readyWatch.startAgain();
  }

  /** Asks first, as for a stop. Its life sees the end. */
  async #endProgram(): Promise<void> {
    await endProcesses({
      table: this.#parts.table,
      belonging: this.#belonging(),
      stopSignal: this.#recipe?.stopSignal ?? 'SIGTERM',
      graceMs: Math.min(this.#recipe?.graceMs ?? RULED_OUT_GRACE_MS, RULED_OUT_GRACE_MS),
    });
  }

  async #endLeftovers(): Promise<void> {
    await endProcesses({
      table: this.#parts.table,
      belonging: this.#belonging(),
      stopSignal: 'SIGTERM',
      graceMs: LEFTOVER_GRACE_MS,
    });
    this.#leader = null;
    this.#setNamespace(null);
  }

  #setNamespace(namespace: NetworkNamespace | null): void {
    if (this.#namespace === namespace) return;
    this.#namespace = namespace;
    if (namespace === null) this.#localPorts.close();
    else {
      this.#localPorts.open(Object.values(this.#record.ports), (port) =>
        this.#parts.connect({ address: this.#addressOf(port), port, namespace }),
      );
    }
    this.#parts.networkChanged();
  }

  #belonging(): Belonging {
    const { workload, osUser } = this.#record;
    const volume = this.#parts.paths.volume(workload.uid);
    const recipe = this.#recipe;
    return {
      markerPrefix: `${this.#parts.installation}/${workload.uid}/`,
      osUid: osUser?.uid ?? null,
      leader: this.#leader,
      known: new Map(),
      recognises:
        osUser === null && recipe?.recognises !== undefined ? (pid) => recipe.recognises?.(pid, volume) ?? false : null,
    };
  }

  #place(): ProgramPlace {
    const { table, walls, paths, hide, runtimeRoot } = this.#parts;
    const { uid } = this.#record.workload;
    const home = this.#workingDirectory;
    const others = [paths.home(uid), ...(this.#hasVolume ? [paths.volume(uid)] : [])].filter((path) => path !== home);
    return {
      table,
      walls,
      hide: { ...hide, kept: [home, paths.config(uid), ...others, runtimeRoot] },
      logDirectory: this.output.directory,
      logFileMaxBytes: this.output.fileMaxBytes,
      statusPath: paths.status(uid),
      environmentPath: paths.environment(uid),
      osUser: this.#record.osUser,
      doorPort: this.#parts.doorPort,
      marker: this.#marker(),
    };
  }

  #marker(): string {
    const { uid, generation, run } = this.#record.workload;
    return `${this.#parts.installation}/${uid}/${generation}/${run}`;
  }

  #sourceOf(origin: DataOrigin): DataSource {
    const say = (message: string): void => {
      this.#say(message);
    };
    const name = 'pod' in origin ? `pod ${origin.pod.podId}` : `snapshot ${origin.snapshot.id}`;
    return { name, say, open: (signal) => this.#parts.sources.open(origin, say, signal) };
  }

  async #context(): Promise<RecipeContext> {
    const { paths } = this.#parts;
    const { workload, osUser, ports } = this.#record;
    const home = this.#workingDirectory;
    return {
      workload,
      home,
      config: paths.config(workload.uid),
      volume: this.#hasVolume ? paths.volume(workload.uid) : null,
      ports,
      osUser,
      staging: paths.staging,
      source: workload.origin === undefined ? null : this.#sourceOf(workload.origin),
      environment: { ...(await this.#parts.environment()), HOME: home, [MARKER_VARIABLE]: this.#marker() },
    };
  }

  /** Changes what is known at once and tells the watchers; resolves when it is on disk. */
  #update(change: Partial<WorkloadRecord>): Promise<void> {
    this.#record = { ...this.#record, ...change };
    this.#parts.changed(this);
    const directory = this.#parts.paths.workload(this.#record.workload.uid);
    // In order, each with what is known when its turn comes; one that failed does not stop the next.
    const write = this.#writes.then(() => writeWorkloadRecord(directory, this.#record));
    this.#writes = write.catch(() => undefined);
    return write;
  }
}
