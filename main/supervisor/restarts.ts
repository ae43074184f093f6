import type { Logger } from '../../core/logger.ts';
import type { Settings } from '../messages.ts';
import type { GatewayChildren } from './gateway-children.ts';
import { type ListeningSockets, withBoundPorts } from './listening-sockets.ts';
import { readNextSettings } from './next-settings.ts';
import { noteRestart } from './restart-note.ts';
import { STOP_GRACE_MS, type SupervisedChild } from './supervised-child.ts';

export interface RestartsOptions {
  readonly control: SupervisedChild;
  readonly probe: SupervisedChild;
  readonly gateway: GatewayChildren;
  readonly ports: ListeningSockets['ports'];
  readonly settings: () => Settings;
  /** Children that start from now on get these. */
  readonly useSettings: (settings: Settings) => void;
  readonly log: Logger;
}

/** Restarts that clients do not notice: the sockets stay open in the supervisor. */
export class Restarts {
  readonly #options: RestartsOptions;
  #isRestarting = false;
  #controlDecided: ((isReady: boolean) => void) | null = null;

  constructor(options: RestartsOptions) {
    this.#options = options;
  }

  /** The new control child is ready, or refuses the configuration. */
  controlDecided(isReady: boolean): void {
    this.#controlDecided?.(isReady);
  }

  /**
   * New children take over, with the code and the configuration that are on disk now: the control child, then one worker
   * after the other. Sessions get their time, and no connection is refused. What cannot start changes nothing.
   */
  async restart(what: 'workers' | 'all'): Promise<void> {
    if (this.#isRestarting) return;
    this.#isRestarting = true;
    const { probe, gateway, ports, useSettings, log } = this.#options;
    const before = this.#options.settings();
    const { dataDir, roles, workers } = before.config;
    const next = await readNextSettings(before.config);
    const problems = [...(next.kind === 'problems' ? next.problems : [])];
    if (workers === 0 && roles.includes('gateway'))
      problems.push('PODGATE_WORKERS is 0: there are no workers to replace.');
    if (next.kind === 'settings' && problems.length === 0) {
      useSettings({ ...before, config: withBoundPorts(next.config, ports), version: next.version });
      log.info({ what, version: next.version }, 'restarting');
      if (what === 'all' && !(await this.#restartControl(before))) {
        problems.push(
          'The control process does not start with the new configuration; see the log. Nothing was changed.',
        );
      } else {
        if (what === 'all') probe.restart(STOP_GRACE_MS);
        await gateway.replaceAll();
      }
    }
    this.#isRestarting = false;
    if (problems.length === 0) log.info({ what }, 'restarted');
    else log.error({ problems }, 'not restarted');
    noteRestart(dataDir, problems);
  }

  /** False: the operator has to fix something first, and the control child runs with `before` again. */
  async #restartControl(before: Settings): Promise<boolean> {
    const decided = new Promise<boolean>((resolve) => (this.#controlDecided = resolve));
    this.#options.control.restart(STOP_GRACE_MS);
    const isReady = await decided;
    this.#controlDecided = null;
    if (!isReady) this.#options.useSettings(before);
    return isReady;
  }
}
