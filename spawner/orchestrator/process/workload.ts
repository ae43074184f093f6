import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { isAborted, pause } from '../../../core/abort.ts';
import type { Clock } from '../../../core/clock.ts';
import { untilAborted } from '../../../core/abort.ts';
import { errorText } from '../../../core/errors.ts';
import type { Logger } from '../../../core/logger.ts';
import type { WorkloadObservation, WorkloadPhase } from '../../../core/orchestrator.ts';
import type { Credentials } from '../../../core/pod.ts';
import type { Readiness } from '../../../core/template.ts';
import { type Belonging, membersOf, type ProcessName } from './belonging.ts';
import type { BootClock } from './boot-clock.ts';
import { endProcesses } from './end-processes.ts';
import type { ProcessLimits } from './options.ts';
import { OutputLog } from './output-log.ts';
import type { Paths } from './paths.ts';
import { arePortsFree, portVariables } from './ports.ts';
import { MARKER_VARIABLE, type ProcessTable } from './process-table.ts';
import { findLeader, findProgram, type ProgramPlace, type Running, startProgram } from './program.ts';
import { readinessFor, watchPorts } from './readiness.ts';
import type { Recipe, RecipeContext } from './recipes/recipe.ts';
import { removeTree } from './remove-tree.ts';
import { planAfterExit } from './restart-policy.ts';
import type { Exit } from './shim.ts';
import { ownsPort } from './socket-owner.ts';
import { type WorkloadRecord, writeWorkloadRecord } from './workload-record.ts';

/** What a program leaves behind when it ends gets this long to end as well. */
const LEFTOVER_GRACE_MS = 300;
const END_RETRY_MS = 1_000;
const HOST = '127.0.0.1';

/** What all workloads of an orchestrator share. */
export interface WorkloadParts {
  readonly installation: string;
  readonly paths: Paths;
  readonly table: ProcessTable;
  readonly clock: Clock;
  readonly bootClock: BootClock;
  readonly log: Logger;
  readonly limits: ProcessLimits;
  /** PATH, LANG, TZ. */
  readonly environment: () => Promise<Readonly<Record<string, string>>>;
  /** In place of those it had, one per stanza. */
  readonly newPorts: (former: Readonly<Record<string, number>>) => Promise<Record<string, number>>;
  /** Something about it is not as before. */
  readonly changed: (workload: Workload) => void;
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
export class Workload {
  readonly output: OutputLog;
  readonly #parts: WorkloadParts;
  readonly #recipe: Recipe | null;
  readonly #readiness: Readiness | null;
  readonly #hasVolume: boolean;
  readonly #log: Logger;
  readonly #ending = new AbortController();
  #record: WorkloadRecord;
  #writes: Promise<void> = Promise.resolve();
  #life: Promise<void> = Promise.resolve();
  #end: Promise<void> | null = null;
  #leader: ProcessName | null = null;
  #watchAnew: AbortController | null = null;

  constructor(options: WorkloadOptions) {
    this.#parts = options.parts;
    this.#recipe = options.recipe;
    this.#readiness = options.readiness;
    this.#hasVolume = options.hasVolume;
    this.#record = options.record;
    const { tenant, podId, uid } = options.record.workload;
    this.#log = options.parts.log.child({ tenant, podId, uid });
    this.output = new OutputLog(options.parts.paths.workload(uid), options.parts.limits.outputMaxBytes);
  }

  get record(): WorkloadRecord {
    return this.#record;
  }

  get isStopping(): boolean {
    return this.#record.state === 'stopping';
  }

  /** Lives from its preparation on, until it completes, is ended or `signal` aborts (then its program goes on). */
  begin(credentials: Credentials | null, signal: AbortSignal): void {
    this.#life = this.#live({ credentials, adopted: null }, AbortSignal.any([signal, this.#ending.signal]));
  }

  /** Goes on with what an earlier control child has started, as it is now. Resolves when that is known. */
  async adopt(signal: AbortSignal): Promise<void> {
    if (this.#record.state === 'completed') return;
    const both = AbortSignal.any([signal, this.#ending.signal]);
    const adopted = await findProgram(this.#place(), both);
    this.#leader = adopted?.leader ?? null;
    if (adopted === null && this.#record.ready !== null) await this.#update({ ready: null });
    this.#life = this.#live({ credentials: null, adopted }, both);
    // One that has ended meanwhile is noted so before anybody is told of it.
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
          return port === undefined ? [] : [[stanza, { address: HOST, port, service: null }]];
        }),
      ),
      storeId: workload.annotations.storeId,
      commit: workload.annotations.commit,
    };
  }

  #phase(): WorkloadPhase {
    const { state, ready, isCrashing } = this.#record;
    if (state === 'stopping') return 'stopping';
    if (state === 'completed') return 'completed';
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
    const { paths, table, ended } = this.#parts;
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
        await this.#writes;
        // Read after everything before it: a delete may have come while the program was ending.
        if (this.#record.data === 'delete') await removeTree(paths.volume(uid));
        await removeTree(paths.workload(uid));
        break;
      } catch (error) {
        this.#log.warn({ error: errorText(error) }, 'a workload could not be ended; it is tried again');
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
      const failure = await this.#runOnce(adopted, start.credentials, signal);
      adopted = null;
      if (failure === null) return;
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
      const running = adopted ?? (await this.#start(credentials, signal));
      const exit = await this.#accompany(running, signal);
      return isAborted(signal) ? null : (exit ?? { kind: 'not-started', reason: 'ended while nobody saw how' });
    } catch (error) {
      if (isAborted(signal)) return null;
      this.#log.warn({ error: errorText(error) }, 'the program of a pod could not be started');
      // The error names paths of this machine: users are told that it happened, operators what.
      return { kind: 'not-started', reason: "could not be started, for a reason that is in Podgate's own log" };
    }
  }

  /** For what must not end a workload's life: a full disk has room again some day. */
  async #tryTo(work: () => Promise<void>): Promise<void> {
    await work().catch((error: unknown) => {
      this.#log.warn({ error: errorText(error) }, 'a workload could not be kept in order; it goes on');
    });
  }

  /** Prepares what is not prepared, then starts the program. */
  async #start(credentials: Credentials | null, signal: AbortSignal): Promise<Running> {
    const recipe = this.#recipe;
    if (recipe === null) throw new Error(`nothing here can run ${this.#record.workload.spec.template}`);
    if (this.#record.state === 'preparing') {
      await recipe.prepare(await this.#context(), credentials, signal);
      signal.throwIfAborted();
      await this.#update({ state: 'prepared' });
    }
    // Another program may have taken one while this was down.
    if (!(await arePortsFree(Object.values(this.#record.ports)))) {
      const ports = await this.#parts.newPorts(this.#record.ports);
      await this.#update({ ports });
    }
    const context = await this.#context();
    const launch = await recipe.launch(context, signal);
    signal.throwIfAborted();
    // On disk before it runs: whoever comes after us finds it.
    await this.#update({ startedAtMs: this.#parts.clock.now(), ready: null });
    signal.throwIfAborted();
    const running = await startProgram(this.#place(), {
      command: launch.command,
      cwd: context.home,
      environment: {
        ...context.environment,
        ...this.#record.workload.spec.environmentVariables,
        // After the user's: what the template itself needs stays as it is.
        ...launch.environment,
        ...portVariables(this.#record.ports),
      },
    });
    this.#leader = running.leader;
    return running;
  }

  /** From the start of the program to its end: watches its ports meanwhile. */
  async #accompany(running: Running, signal: AbortSignal): Promise<Exit | null> {
    const over = new AbortController();
    const watching = this.#watchReadiness(AbortSignal.any([signal, over.signal]));
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

  async #watchReadiness(signal: AbortSignal): Promise<void> {
    const { ports } = this.#record;
    const stanzas = Object.keys(ports);
    const readiness = this.#readiness === null ? null : readinessFor(this.#readiness, stanzas);
    if (readiness === null) {
      // It has no port: there is nothing to be asked.
      await this.#answers(null, null);
      return;
    }
    while (!isAborted(signal)) {
      const round = new AbortController();
      this.#watchAnew = round;
      const both = AbortSignal.any([signal, round.signal]);
      await this.#watchUntilAllAnswer(readiness, both);
      await untilAborted(both);
    }
  }

  async #watchUntilAllAnswer(readiness: Readiness, signal: AbortSignal): Promise<void> {
    const { ports } = this.#record;
    const known = new Set(this.#record.ready?.stanzas ?? []);
    await watchPorts({
      ports: Object.entries(ports).flatMap(([stanza, port]) => (known.has(stanza) ? [] : [{ stanza, port }])),
      readiness,
      isOwned: (port) => this.#ownsPort(port),
      answers: (stanza) => {
        void this.#answers(stanza, readiness.stanza).catch((error: unknown) => {
          this.#log.warn({ error: errorText(error) }, 'the record of a workload could not be written');
        });
      },
      strange: (port) => {
        const message = `port ${port} is answered by a program that is not the pod's`;
        if (this.#record.message === message) return;
        void this.#update({ message }).catch(() => undefined);
      },
      signal,
    });
  }

  /**
   * Who listens on which port, as it is now. A pod that gives up its socket without ending leaves the port to whoever is
   * next, maybe another pod that waits for it: then nobody is sent there any more.
   */
  listenersSeen(users: ReadonlyMap<number, readonly number[]>): void {
    const { osUser, ready, ports } = this.#record;
    if (osUser === null || ready === null || this.isStopping) return;
    const isTaken = ready.stanzas.some((stanza) => users.get(ports[stanza] ?? 0)?.some((uid) => uid !== osUser.uid));
    if (!isTaken) return;
    this.#log.warn({ ports }, 'a port of a pod was taken by another program');
    this.#update({ ready: null }).catch(() => undefined);
    this.#watchAnew?.abort();
  }

  async #answers(stanza: string | null, readyStanza: string | null): Promise<void> {
    const before = this.#record.ready;
    const stanzas = [...(before?.stanzas ?? []), ...(stanza === null ? [] : [stanza])];
    const isReady = before?.isReady === true || stanza === readyStanza;
    await this.#update({
      ready: {
        stanzas,
        isReady,
        sinceBootMs: before?.isReady === true ? before.sinceBootMs : this.#parts.bootClock.nowMs(),
      },
      ...(isReady ? { isCrashing: false, message: '' } : {}),
    });
  }

  async #ownsPort(port: number): Promise<boolean> {
    const { table } = this.#parts;
    const osUid = this.#record.osUser?.uid ?? null;
    const members = async () => membersOf(await table.all(), this.#belonging(), table.markerOf, process.pid);
    return (await ownsPort(port, osUid, members)) ?? true;
  }

  async #endLeftovers(): Promise<void> {
    await endProcesses({
      table: this.#parts.table,
      belonging: this.#belonging(),
      stopSignal: 'SIGTERM',
      graceMs: LEFTOVER_GRACE_MS,
    });
    this.#leader = null;
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
    return {
      table: this.#parts.table,
      outputPath: this.output.path,
      statusPath: this.#parts.paths.status(this.#record.workload.uid),
      osUser: this.#record.osUser,
      marker: this.#marker(),
    };
  }

  #marker(): string {
    const { uid, generation, run } = this.#record.workload;
    return `${this.#parts.installation}/${uid}/${generation}/${run}`;
  }

  async #context(): Promise<RecipeContext> {
    const { paths } = this.#parts;
    const { workload, osUser, ports } = this.#record;
    const home = paths.home(workload.uid);
    return {
      workload,
      home,
      config: paths.config(workload.uid),
      volume: this.#hasVolume ? paths.volume(workload.uid) : null,
      ports,
      osUser,
      staging: paths.staging,
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
