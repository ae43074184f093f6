import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { certificateFileProblems } from '../../certs/files/certificate-files.ts';
import type { Config } from '../../config/config.ts';
import { loadConfig } from '../../config/load-config.ts';
import { pause } from '../../core/abort.ts';
import { PodgateError } from '../../core/errors.ts';
import { setGuardedInterval } from '../../core/guarded-timer.ts';
import { SupervisedChild } from './supervised-child.ts';
import type { ControlReport } from '../control-port/probe-state.ts';
import { type DataDirectory, openDataDirectory } from '../data-directory.ts';
import { descriptorLimit, descriptorShortage } from '../descriptor-limit.ts';
import { HangSupervision } from './hang-supervision.ts';
import { greetingFields, greetingOf, resolvesPodNames } from './greeting.ts';
import { type BoundSocket, type ListeningSockets, openListeningSockets } from './listening-sockets.ts';
import { createLogger } from '../logging.ts';
import { type ChildMessage, type ChildRole, EXIT_CONFIG, type Settings } from '../messages.ts';
import { readNextSettings } from './next-settings.ts';
import { enterOwnUserNamespace } from '../own-user-namespace.ts';
import { noteRestart } from './restart-note.ts';
import { lookAtSilentProcess } from './silent-process.ts';
import { PlacesOfWorkers } from './places-of-workers.ts';
import { SlotAssignments, type SlotAction } from './slot-assignments.ts';
import { outliveUncaught } from '../uncaught.ts';
import { readVersion } from '../version.ts';

/** The setting of each role. */
const HUNG_AFTER = {
  control: 'controlHungAfterMs',
  worker: 'workerHungAfterMs',
  probe: 'workerHungAfterMs',
} as const;
/** A worker that may take fewer connections for want of descriptors is worth a warning, though nobody has set a limit. */
const FEW_CONNECTIONS = 1_000;
/** The process that answers probes takes silence of ten times as long for ours. */
const TELL_PROBE_MS = 1_000;
/** All of it, pods included, is gone 5 s after Ctrl-C: children have this long before they are killed. */
const STOP_GRACE_MS = 4_500;
/** A drain no longer than this goes on beside the end of the pods; a longer one comes before it. */
const QUICK_MS = 1_000;
/** Under npm one Ctrl-C arrives twice: from the terminal and from npm. Only a later one means impatience. */
const SECOND_SIGNAL_AFTER_MS = 1_000;

/**
 * The root of the program: small, so that it has no reason to die. It holds the data directory and the listening
 * sockets, and keeps one control child and the gateway workers alive until a signal ends all of them.
 */
export async function runSupervisor(): Promise<void> {
  const startedMs = performance.now();
  // Whoever read our output is gone: no reason to stop working.
  process.stdout.on('error', () => undefined);
  process.stderr.on('error', () => undefined);
  try {
    const config = loadConfig(process.env, process.cwd());
    const problems = await certificateFileProblems(config.certificates);
    if (problems.length > 0) {
      throw new PodgateError('config.invalid', {
        publicMessages: problems.map((problem) => `PODGATE_CONFIG certificates: ${problem}.`),
      });
    }
    enterOwnUserNamespace(config);
    const directory = await openDataDirectory(config.dataDir);
    const sockets = await openListeningSockets(config).catch((error: unknown) => {
      directory.release();
      throw error;
    });
    new Supervisor(config, directory, sockets, startedMs).start();
  } catch (error) {
    if (!(error instanceof PodgateError) || error.code !== 'config.invalid') throw error;
    process.stderr.write(`podgate: cannot start:\n${error.publicMessages.map((text) => `  ${text}\n`).join('')}`);
    process.exitCode = EXIT_CONFIG;
  }
}

class Supervisor {
  readonly #directory: DataDirectory;
  readonly #sockets: ListeningSockets;
  /** Of children that start from now on. */
  #settings: Settings;
  readonly #startedMs: number;
  readonly #log;
  readonly #control: SupervisedChild;
  readonly #probe: SupervisedChild;
  readonly #workers: SupervisedChild[];
  /** Workers that go as soon as their successor accepts, or when their sessions have ended. */
  readonly #leaving = new Set<SupervisedChild>();
  #nextId: number;
  #isRestarting = false;
  /** Who waits for the worker of that number to accept, and for the control child. */
  readonly #takenOver = new Map<number, (() => void)[]>();
  #controlDecided: ((isReady: boolean) => void) | null = null;
  readonly #slots: SlotAssignments;
  readonly #places: PlacesOfWorkers;
  #controlReport: ControlReport | null = null;
  #reportedMs = -Infinity;
  #protection: string | null = null;
  #loginCode: string | null = null;
  #isControlReady = false;
  #wasControlReady = false;
  #hasGreeted = false;
  #stoppingSinceMs: number | null = null;
  #isDraining = false;
  readonly #impatience = new AbortController();
  readonly #hung: Record<ChildRole, number> = { control: 0, worker: 0, probe: 0 };
  readonly #hangs: HangSupervision;
  #watching: NodeJS.Timeout | undefined;

  constructor(config: Config, directory: DataDirectory, sockets: ListeningSockets, startedMs: number) {
    this.#directory = directory;
    this.#sockets = sockets;
    this.#startedMs = startedMs;
    this.#settings = {
      config: withPorts(config, sockets.ports),
      version: readVersion(),
      runDir: directory.runDir,
      installation: directory.installation,
      instance: randomBytes(8).toString('hex'),
      isTerminal: process.stderr.isTTY,
    };
    this.#log = createLogger('supervisor', this.#settings.isTerminal);
    this.#slots = new SlotAssignments(sockets.slots.length);
    this.#places = new PlacesOfWorkers(config.workers, this.#log);
    this.#hangs = new HangSupervision({
      hungAfterMs: (role) => this.#settings.config.supervision[HUNG_AFTER[role]],
      look: lookAtSilentProcess,
      onSilent: (child) => this.#onSilent(child),
      onRecovered: (child) => {
        if (this.#isGateway(child)) this.#act(this.#slots.recovered(child.id));
      },
      onKilled: ({ role }) => this.#hung[role]++,
      nowMs: () => performance.now(),
      log: this.#log,
    });
    this.#control = this.#keep('control', 0);
    this.#probe = this.#keep('probe', 0);
    const workers = config.roles.includes('gateway') ? config.workers : 0;
    this.#workers = Array.from({ length: workers }, (_, number) => this.#keep('worker', number));
    this.#nextId = sockets.slots.length;
  }

  #keep(role: ChildRole, number: number): SupervisedChild {
    return new SupervisedChild({
      role,
      number,
      log: this.#log,
      start: () => ({ kind: 'start', settings: this.#settings, worker: number }),
      onStarted: (child) => this.#onStarted(child),
      onMessage: (child, message) => this.#onMessage(child, message),
      onEnded: (child, code) => this.#onEnded(child, code),
    });
  }

  start(): void {
    outliveUncaught(this.#log);
    this.#reportDescriptors();
    // For commands of this machine (npx podgate): the ports, also where they were left to chance.
    const { config } = this.#settings;
    const { httpsPort, publicHttpsPort, controlPort } = config;
    const { runDir } = this.#settings;
    const [listenHost] = config.listenHosts;
    const { baseHost } = config.tenants[0];
    const endpoints = { listenHost, httpsPort, publicHttpsPort, controlPort, runDir, baseHost };
    writeFileSync(join(config.dataDir, 'endpoints.json'), JSON.stringify(endpoints), { mode: 0o600 });
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => this.#onSignal(signal));
    process.on('SIGHUP', () => {
      // Of a terminal it means that it was closed.
      if (process.stdin.isTTY || process.stderr.isTTY) this.#onSignal('SIGHUP');
      else void this.#restart('workers');
    });
    process.on('SIGUSR2', () => void this.#restart('all'));
    this.#control.start();
    this.#probe.start();
    for (const worker of this.#workers) worker.start();
    this.#watching = this.#hangs.run();
    setGuardedInterval({
      everyMs: TELL_PROBE_MS,
      work: () => this.#tellProbe(),
      name: 'state for probes',
      log: this.#log,
    });
  }

  /** Children inherit the limit. */
  #reportDescriptors(): void {
    const limit = descriptorLimit();
    const shortage = descriptorShortage(this.#settings.config, limit);
    if (shortage === null) return;
    const { wanted, granted, needed, isConfigured } = shortage;
    const fields = { limit, needed, connectionsPerWorker: granted, wanted };
    const message =
      'RLIMIT_NOFILE (ulimit -n) is too low for limits.connections: each worker accepts fewer connections';
    if (isConfigured || granted < FEW_CONNECTIONS) this.#log.warn(fields, message);
    else this.#log.info(fields, message);
  }

  #onStarted(child: SupervisedChild): void {
    this.#hangs.started(child);
    if (child.role === 'worker') this.#places.started(child);
    if (child === this.#probe) giveAll(child, 0, this.#sockets.control);
    if (child.role !== 'worker') this.#tellGateway();
  }

  #onMessage(child: SupervisedChild, message: ChildMessage): void {
    switch (message.kind) {
      case 'alive':
        this.#hangs.heard(child, message.isDebugged);
        return;
      case 'ready':
        this.#isControlReady = true;
        this.#protection = message.protection;
        this.#loginCode = message.loginCode;
        this.#wasControlReady = true;
        this.#controlDecided?.(true);
        break;
      case 'readiness':
        this.#controlReport = message.report;
        this.#reportedMs = performance.now();
        this.#tellProbe();
        return;
      case 'synchronized':
        this.#act(this.#slots.synchronized(child.id));
        break;
      case 'listening':
        this.#act(this.#slots.listening(child.id, message.slot));
        if (child.id === message.slot) this.#onTakenOver(child.id);
        break;
      // To the slots of a worker that is full, it is as if it had died.
      case 'full':
        this.#act(this.#slots.ended(child.id));
        break;
      case 'room':
        if (!this.#leaving.has(child)) this.#act(this.#slots.synchronized(child.id));
        break;
      case 'places':
        this.#places.receive(child, message.message);
        return;
      case 'waiting':
        this.#places.sendToOthers(child, { kind: 'make-room', waiting: message.waiting });
        return;
      case 'failing':
        this.#replaceFailing(child);
        break;
    }
    this.#greetOnce();
  }

  #onEnded(child: SupervisedChild, code: number | null): boolean {
    this.#hangs.ended(child);
    this.#places.ended(child);
    if (child === this.#control) this.#isControlReady = false;
    if (this.#leaving.has(child)) {
      this.#act(this.#slots.ended(child.id));
      return false;
    }
    // Sessions that may go on for long need no less of a control plane.
    if (this.#stoppingSinceMs !== null) return this.#isDraining && child.role !== 'worker';
    if (this.#isGateway(child)) this.#act(this.#slots.ended(child.id));
    if (child === this.#control && code === EXIT_CONFIG) this.#controlDecided?.(false);
    if (code === EXIT_CONFIG && !this.#wasControlReady) void this.#stop(EXIT_CONFIG);
    return code !== EXIT_CONFIG || this.#wasControlReady;
  }

  /** With no workers the control child is the gateway. */
  #isGateway({ role }: SupervisedChild): boolean {
    return role === 'worker' || (role === 'control' && this.#workers.length === 0);
  }

  #act(actions: readonly SlotAction[]): void {
    for (const action of actions) {
      const left = [...this.#leaving].find(({ id }) => id === action.child);
      const child = this.#workers[action.child] ?? left ?? this.#control;
      if (action.kind === 'release') child.send({ kind: 'release', slot: action.slot });
      else giveAll(child, action.slot, this.#sockets.slots[action.slot] ?? []);
    }
    this.#tellGateway();
  }

  #tellGateway(): void {
    const { accepting, slots } = this.#slots;
    this.#control.send({ kind: 'gateway', accepting, slots, isDraining: this.#isDraining, hung: this.#hung });
    this.#tellProbe();
  }

  #tellProbe(): void {
    const { accepting, slots } = this.#slots;
    const gateway = { accepting, slots, isDraining: this.#isDraining };
    const controlAgeMs = performance.now() - this.#reportedMs;
    this.#probe.send({ kind: 'probe-state', state: { gateway, control: this.#controlReport, controlAgeMs } });
  }

  #greetOnce(): void {
    if (this.#hasGreeted || !this.#isControlReady || !this.#slots.isComplete) return;
    this.#hasGreeted = true;
    const { config, version } = this.#settings;
    const tookMs = performance.now() - this.#startedMs;
    const said = { config, version, tookMs, protection: this.#protection };
    if (!process.stdout.isTTY) {
      this.#log.info(greetingFields(said), 'ready');
      return;
    }
    this.#log.info({ ms: Math.round(tookMs) }, 'ready');
    void resolvesPodNames(config.tenants[0].baseHost).then((resolvesNames) => {
      const asRoot = process.getuid?.() === 0;
      process.stdout.write(
        greetingOf({ ...said, loginCode: this.#loginCode, cwd: process.cwd(), asRoot, resolvesNames }),
      );
    });
  }

  #onSignal(signal: NodeJS.Signals): void {
    if (this.#stoppingSinceMs === null) {
      this.#log.info({ signal }, 'ending');
      void this.#stop(0, signal === 'SIGTERM');
    } else if (performance.now() - this.#stoppingSinceMs >= SECOND_SIGNAL_AFTER_MS) {
      this.#log.warn({ signal }, 'stopping immediately');
      this.#impatience.abort();
      for (const child of [this.#control, this.#probe, ...this.#gateways]) child.kill();
    }
  }

  get #gateways(): readonly SupervisedChild[] {
    return [...this.#workers, ...this.#leaving];
  }

  /**
   * New children take over, with the code and the configuration that are on the disk now: the control child, then one
   * worker after the other. Nothing is cut before its time, and nothing is refused: the sockets are ours. What cannot be
   * started changes nothing.
   */
  async #restart(what: 'workers' | 'all'): Promise<void> {
    if (this.#isRestarting || this.#stoppingSinceMs !== null) return;
    this.#isRestarting = true;
    const before = this.#settings;
    const { dataDir, roles } = before.config;
    const workers = this.#workers.length;
    const next = await readNextSettings(before.config);
    const problems = [...(next.kind === 'problems' ? next.problems : [])];
    if (workers === 0 && roles.includes('gateway'))
      problems.push('PODGATE_WORKERS is 0: there are no workers to replace.');
    if (next.kind === 'settings' && problems.length === 0) {
      this.#settings = { ...before, config: withPorts(next.config, this.#sockets.ports), version: next.version };
      this.#log.info({ what, version: next.version }, 'restarting');
      if (what === 'all' && !(await this.#restartControl(before))) {
        problems.push(
          'The control process does not start with the new configuration; see the log. Nothing was changed.',
        );
      } else {
        if (what === 'all') this.#probe.restart(STOP_GRACE_MS);
        for (let number = 0; number < workers; number++) await this.#replaceWorker(number);
      }
    }
    this.#isRestarting = false;
    if (problems.length === 0) this.#log.info({ what }, 'restarted');
    else this.#log.error({ problems }, 'not restarted');
    noteRestart(dataDir, problems);
  }

  /** False: the operator has to mend something first, and it runs with `before` again. */
  async #restartControl(before: Settings): Promise<boolean> {
    const decided = new Promise<boolean>((resolve) => (this.#controlDecided = resolve));
    this.#control.restart(STOP_GRACE_MS);
    const isReady = await decided;
    this.#controlDecided = null;
    if (!isReady) this.#settings = before;
    return isReady;
  }

  /** Resolves when the new one accepts. The old one accepts until then, and ends when its sessions have had their time. */
  #replaceWorker(number: number): Promise<void> {
    const old = this.#workers[number];
    if (old !== undefined) {
      old.disableRestart();
      old.id = this.#nextId++;
      this.#slots.renamed(number, old.id);
      this.#leaving.add(old);
    }
    const fresh = this.#keep('worker', number);
    this.#workers[number] = fresh;
    const taken = new Promise<void>((resolve) => {
      this.#takenOver.set(number, [...(this.#takenOver.get(number) ?? []), resolve]);
    });
    fresh.start();
    return taken;
  }

  #onSilent(child: SupervisedChild): void {
    const { role, number, pid } = child;
    this.#log.warn({ role, number, pid }, 'a child process does not respond');
    if (this.#isGateway(child)) this.#act(this.#slots.silent(child.id));
  }

  /** Its sessions drain, as after a restart. One worker of each number does so at a time: the former ends now. */
  #replaceFailing(child: SupervisedChild): void {
    if (this.#leaving.has(child) || this.#stoppingSinceMs !== null) return;
    for (const former of this.#leaving) if (former.number === child.number && former.hasFailed) former.kill();
    child.hasFailed = true;
    void this.#replaceWorker(child.number);
  }

  #onTakenOver(number: number): void {
    const { replacedMs } = this.#settings.config.drain;
    for (const old of [...this.#leaving].filter((child) => child.number === number && !child.isToldToEnd)) {
      this.#act(this.#slots.ended(old.id));
      void old.retire(replacedMs + STOP_GRACE_MS).then(() => this.#leaving.delete(old));
    }
    for (const resolve of this.#takenOver.get(number) ?? []) resolve();
    this.#takenOver.delete(number);
  }

  async #stop(code: number, isPatient = false): Promise<void> {
    this.#stoppingSinceMs = performance.now();
    clearInterval(this.#watching);
    if (isPatient && this.#settings.config.drain.sessionsMs + this.#settings.config.drain.readinessDelayMs > QUICK_MS) {
      await this.#drain();
    }
    await Promise.all([...this.#gateways, this.#control, this.#probe].map((child) => child.stop(STOP_GRACE_MS)));
    this.#sockets.close();
    this.#directory.release();
    process.exit(code);
  }

  /**
   * Not ready first, and new connections are taken for as long as load balancers need to notice; then the sockets close,
   * and sessions may go on for a while. The control plane works until they have ended.
   */
  async #drain(): Promise<void> {
    const { readinessDelayMs, sessionsMs } = this.#settings.config.drain;
    this.#isDraining = true;
    this.#tellGateway();
    this.#log.info({ readinessDelayMs, sessionsMs }, 'draining');
    await pause(readinessDelayMs, this.#impatience.signal);
    // A socket that only we still have would take connections that nobody accepts.
    this.#sockets.closeGateway();
    await Promise.all(this.#gateways.map((worker) => worker.stop(sessionsMs + STOP_GRACE_MS)));
  }
}

function giveAll(child: SupervisedChild, slot: number, sockets: readonly BoundSocket[]): void {
  for (const [index, bound] of sockets.entries()) {
    child.send({ kind: 'listen', slot, socket: bound.socket, isLast: index === sockets.length - 1 }, bound);
  }
}

function withPorts(config: Config, ports: ListeningSockets['ports']): Config {
  return {
    ...config,
    httpsPort: ports.https,
    httpPort: ports.http,
    controlPort: ports.control,
    publicHttpsPort: config.publicHttpsPort === 0 ? ports.https : config.publicHttpsPort,
    publicHttpPort: config.publicHttpPort === 0 ? ports.http : config.publicHttpPort,
  };
}
