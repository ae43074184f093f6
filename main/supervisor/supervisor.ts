import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../../config/config.ts';
import type { GuardedInterval } from '../../core/guarded-timer.ts';
import type { DataDirectory } from '../data-directory.ts';
import { descriptorLimit, descriptorShortage } from '../descriptor-limit.ts';
import { createLogger } from '../logging.ts';
import { type ChildMessage, type ChildRole, EXIT_CONFIG, type Settings } from '../messages.ts';
import { outliveUncaught } from '../uncaught.ts';
import { readVersion } from '../version.ts';
import { GatewayChildren, giveSockets } from './gateway-children.ts';
import { greet } from './greeting.ts';
import { HangSupervision } from './hang-supervision.ts';
import { type ListeningSockets, withBoundPorts } from './listening-sockets.ts';
import { PlacesOfWorkers } from './places-of-workers.ts';
import { Restarts } from './restarts.ts';
import { Shutdown } from './shutdown.ts';
import { lookAtSilentProcess } from './silent-process.ts';
import { StateReports } from './state-reports.ts';
import { SupervisedChild } from './supervised-child.ts';

/** The setting of each role. */
const HUNG_AFTER = {
  control: 'controlHungAfterMs',
  worker: 'workerHungAfterMs',
  probe: 'workerHungAfterMs',
} as const;
/** A worker that accepts fewer connections than this for lack of descriptors is worth a warning, even without a set limit. */
const FEW_CONNECTIONS = 1_000;

/**
 * Small, so that it has no reason to die. It holds the data directory and the listening sockets, and keeps the control
 * child, the process that answers probes and the gateway workers alive until a signal ends all of them.
 */
export class Supervisor {
  readonly #sockets: ListeningSockets;
  /** Of children that start from now on. */
  #settings: Settings;
  readonly #startedMs: number;
  readonly #log;
  readonly #control: SupervisedChild;
  readonly #probe: SupervisedChild;
  readonly #gateway: GatewayChildren;
  readonly #places: PlacesOfWorkers;
  readonly #reports: StateReports;
  readonly #hangs: HangSupervision;
  readonly #restarts: Restarts;
  readonly #shutdown: Shutdown;
  #watching: GuardedInterval | undefined;
  /** What the control child said when it was ready; null: it is not ready now. */
  #ready: Extract<ChildMessage, { kind: 'ready' }> | null = null;
  #wasControlReady = false;
  #hasGreeted = false;

  constructor(config: Config, directory: DataDirectory, sockets: ListeningSockets, startedMs: number) {
    this.#sockets = sockets;
    this.#startedMs = startedMs;
    this.#settings = {
      config: withBoundPorts(config, sockets.ports),
      version: readVersion(),
      runDir: directory.runDir,
      installation: directory.installation,
      instance: randomBytes(8).toString('hex'),
      isTerminal: process.stderr.isTTY,
    };
    const log = (this.#log = createLogger('supervisor', this.#settings.isTerminal));
    const control = (this.#control = this.#createChild('control', 0));
    const probe = (this.#probe = this.#createChild('probe', 0));
    this.#places = new PlacesOfWorkers(config.workers, log);
    const gateway = (this.#gateway = new GatewayChildren({
      workers: config.roles.includes('gateway') ? config.workers : 0,
      slots: sockets.slots,
      control,
      createWorker: (number) => this.#createChild('worker', number),
      replacedMs: () => this.#settings.config.drain.replacedMs,
      onChanged: () => this.#reports.send(),
    }));
    const reports = (this.#reports = new StateReports({
      control,
      probe,
      gateway: () => gateway.state,
      isDraining: () => this.#shutdown.isDraining,
    }));
    this.#hangs = new HangSupervision({
      hungAfterMs: (role) => this.#settings.config.supervision[HUNG_AFTER[role]],
      look: lookAtSilentProcess,
      onSilent: (child) => this.#onSilent(child),
      onRecovered: (child) => gateway.recovered(child),
      onKilled: (child) => reports.countHung(child),
      nowMs: () => performance.now(),
      log,
    });
    this.#restarts = new Restarts({
      control,
      probe,
      gateway,
      ports: sockets.ports,
      settings: () => this.#settings,
      useSettings: (settings) => (this.#settings = settings),
      log,
    });
    this.#shutdown = new Shutdown({
      control,
      probe,
      gateway,
      sockets,
      directory,
      reports,
      drain: () => this.#settings.config.drain,
      onStopping: () => this.#watching?.stop(),
      log,
    });
  }

  #createChild(role: ChildRole, number: number): SupervisedChild {
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
    if (this.#sockets.isWithoutIpv6)
      this.#log.info({ host: '0.0.0.0' }, 'no IPv6 on this machine: listening on IPv4 alone');
    this.#writeEndpoints();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => this.#shutdown.onSignal(signal));
    process.on('SIGHUP', () => {
      // From a terminal it means that the terminal was closed.
      if (process.stdin.isTTY || process.stderr.isTTY) this.#shutdown.onSignal('SIGHUP');
      else this.#restart('workers');
    });
    process.on('SIGUSR2', () => this.#restart('all'));
    this.#control.start();
    this.#probe.start();
    this.#gateway.start();
    this.#watching = this.#hangs.run();
    this.#reports.run(this.#log);
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

  /** For commands on this machine (npx podgate): the ports, which may have been free choice. */
  #writeEndpoints(): void {
    const { config, runDir } = this.#settings;
    const { httpsPort, publicHttpsPort, controlPort } = config;
    const [listenHost] = config.listenHosts;
    const { baseHost } = config.tenants[0];
    const endpoints = { listenHost, httpsPort, publicHttpsPort, controlPort, runDir, baseHost };
    writeFileSync(join(config.dataDir, 'endpoints.json'), JSON.stringify(endpoints), { mode: 0o600 });
  }

  #restart(what: 'workers' | 'all'): void {
    if (!this.#shutdown.isStopping) void this.#restarts.restart(what);
  }

  #onStarted(child: SupervisedChild): void {
    this.#hangs.started(child);
    if (child.role === 'worker') this.#places.started(child);
    if (child === this.#probe) giveSockets(child, 0, this.#sockets.control);
    if (child.role !== 'worker') this.#reports.send();
  }

  #onMessage(child: SupervisedChild, message: ChildMessage): void {
    switch (message.kind) {
      case 'alive':
        this.#hangs.heard(child, message.isDebugged);
        return;
      case 'ready':
        this.#ready = message;
        this.#wasControlReady = true;
        this.#restarts.controlDecided(true);
        break;
      case 'readiness':
        this.#reports.receive(message.report);
        return;
      case 'synchronized':
        this.#gateway.synchronized(child);
        break;
      case 'listening':
        this.#gateway.listening(child, message.slot);
        break;
      case 'full':
        this.#gateway.full(child);
        break;
      case 'room':
        this.#gateway.hasRoom(child);
        break;
      case 'places':
        this.#places.receive(child, message.message);
        return;
      case 'waiting':
        this.#places.sendToOthers(child, { kind: 'make-room', waiting: message.waiting });
        return;
      case 'failing':
        if (!this.#shutdown.isStopping) this.#gateway.replaceFailing(child);
        break;
    }
    this.#greetOnce();
  }

  /** Returns whether to start it again. */
  #onEnded(child: SupervisedChild, code: number | null): boolean {
    this.#hangs.ended(child);
    this.#places.ended(child);
    if (child === this.#control) this.#ready = null;
    if (this.#gateway.isLeaving(child)) {
      this.#gateway.ended(child);
      return false;
    }
    // Sessions that may go on for long still need a control plane.
    if (this.#shutdown.isStopping) return this.#shutdown.isDraining && child.role !== 'worker';
    this.#gateway.ended(child);
    if (child === this.#control && code === EXIT_CONFIG) this.#restarts.controlDecided(false);
    if (code === EXIT_CONFIG && !this.#wasControlReady) void this.#shutdown.stop(EXIT_CONFIG);
    return code !== EXIT_CONFIG || this.#wasControlReady;
  }

  #onSilent(child: SupervisedChild): void {
    const { role, number, pid } = child;
    this.#log.warn({ role, number, pid }, 'a child process does not respond');
    this.#gateway.silent(child);
  }

  #greetOnce(): void {
    if (this.#hasGreeted || this.#ready === null || !this.#gateway.isComplete) return;
    this.#hasGreeted = true;
    const { protection, loginCode } = this.#ready;
    const { config, version } = this.#settings;
    greet({ config, version, tookMs: performance.now() - this.#startedMs, protection, loginCode }, this.#log);
  }
}
