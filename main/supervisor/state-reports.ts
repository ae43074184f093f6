import { setGuardedInterval } from '../../core/guarded-timer.ts';
import type { Logger } from '../../core/logger.ts';
import type { ControlReport } from '../control-port/probe-state.ts';
import type { ChildRole } from '../messages.ts';
import type { SupervisedChild } from './supervised-child.ts';

/** The process that answers probes takes ten times as much silence for ours. */
const PROBE_EVERY_MS = 1_000;

export interface StateReportsOptions {
  readonly control: SupervisedChild;
  readonly probe: SupervisedChild;
  readonly gateway: () => { readonly accepting: number; readonly slots: number };
  readonly isDraining: () => boolean;
}

/** Keeps the control child and the process that answers probes informed of what the other children do. */
export class StateReports {
  readonly #options: StateReportsOptions;
  readonly #hung: Record<ChildRole, number> = { control: 0, worker: 0, probe: 0 };
  #control: ControlReport | null = null;
  #controlReportedMs = -Infinity;
  #sentMs = -Infinity;

  constructor(options: StateReportsOptions) {
    this.#options = options;
  }

  run(log: Logger): void {
    const work = (): void => {
      // A report of the control child, which comes every second, has brought it up to date.
      if (performance.now() - this.#sentMs >= PROBE_EVERY_MS / 2) this.#sendToProbe();
    };
    setGuardedInterval({ everyMs: PROBE_EVERY_MS, work, name: 'state for probes', log });
  }

  /** The control child has reported its readiness. */
  receive(report: ControlReport): void {
    this.#control = report;
    this.#controlReportedMs = performance.now();
    this.#sendToProbe();
  }

  countHung({ role }: SupervisedChild): void {
    this.#hung[role]++;
  }

  send(): void {
    this.#options.control.send({ kind: 'gateway', ...this.#gateway(), hung: this.#hung });
    this.#sendToProbe();
  }

  #sendToProbe(): void {
    this.#sentMs = performance.now();
    const controlAgeMs = this.#sentMs - this.#controlReportedMs;
    const state = { gateway: this.#gateway(), control: this.#control, controlAgeMs };
    this.#options.probe.send({ kind: 'probe-state', state });
  }

  #gateway() {
    return { ...this.#options.gateway(), isDraining: this.#options.isDraining() };
  }
}
