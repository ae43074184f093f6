import type { Config } from '../../config/config.ts';
import { pause } from '../../core/abort.ts';
import type { Logger } from '../../core/logger.ts';
import type { DataDirectory } from '../data-directory.ts';
import type { GatewayChildren } from './gateway-children.ts';
import type { ListeningSockets } from './listening-sockets.ts';
import type { StateReports } from './state-reports.ts';
import { STOP_GRACE_MS, type SupervisedChild } from './supervised-child.ts';

/** A drain no longer than this goes on while the pods end; a longer one comes before it. */
const QUICK_MS = 1_000;
/** Under npm one Ctrl-C arrives twice: from the terminal and from npm. Only a later one means impatience. */
const SECOND_SIGNAL_AFTER_MS = 1_000;

export interface ShutdownOptions {
  readonly control: SupervisedChild;
  readonly probe: SupervisedChild;
  readonly gateway: GatewayChildren;
  readonly sockets: ListeningSockets;
  readonly directory: DataDirectory;
  readonly reports: StateReports;
  readonly drain: () => Config['drain'];
  /** Called when the shutdown begins. */
  readonly onStopping: () => void;
  readonly log: Logger;
}

/** The end of the program: sessions may drain first, and a second signal ends it at once. */
export class Shutdown {
  readonly #options: ShutdownOptions;
  readonly #impatience = new AbortController();
  #stoppingSinceMs: number | null = null;
  #isDraining = false;

  constructor(options: ShutdownOptions) {
    this.#options = options;
  }

  get isStopping(): boolean {
    return this.#stoppingSinceMs !== null;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  onSignal(signal: NodeJS.Signals): void {
    const { control, probe, gateway, log } = this.#options;
    if (this.#stoppingSinceMs === null) {
      log.info({ signal }, 'ending');
      void this.stop(0, signal === 'SIGTERM');
    } else if (performance.now() - this.#stoppingSinceMs >= SECOND_SIGNAL_AFTER_MS) {
      log.warn({ signal }, 'stopping immediately');
      this.#impatience.abort();
      for (const child of [control, probe, ...gateway.workers]) child.kill();
    }
  }

  /** Ends all children, then the process with this exit code. */
  async stop(code: number, isPatient = false): Promise<void> {
    const { control, probe, gateway, sockets, directory, onStopping } = this.#options;
    this.#stoppingSinceMs = performance.now();
    onStopping();
    const { sessionsMs, readinessDelayMs } = this.#options.drain();
    if (isPatient && sessionsMs + readinessDelayMs > QUICK_MS) await this.#drain();
    await Promise.all([...gateway.workers, control, probe].map((child) => child.stop(STOP_GRACE_MS)));
    sockets.close();
    directory.release();
    process.exit(code);
  }

  /**
   * Reports itself as not ready first, and accepts connections for as long as load balancers need to notice; then the
   * sockets close, and sessions may go on for a while. The control plane works until they have ended.
   */
  async #drain(): Promise<void> {
    const { gateway, sockets, reports, log } = this.#options;
    const { readinessDelayMs, sessionsMs } = this.#options.drain();
    this.#isDraining = true;
    reports.send();
    log.info({ readinessDelayMs, sessionsMs }, 'draining');
    await pause(readinessDelayMs, this.#impatience.signal);
    // Connections to a socket that only this process still holds would never be accepted.
    sockets.closeGateway();
    await Promise.all(gateway.workers.map((worker) => worker.stop(sessionsMs + STOP_GRACE_MS)));
  }
}
