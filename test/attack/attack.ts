import type { Stage } from './stage.ts';

/** What an attack measured, by a name that includes the unit. */
export type Figures = Readonly<Record<string, number | string>>;

export type Scale = 'small' | 'full';

export interface Attack {
  readonly name: string;
  /** One line for --help: what the attacker does. */
  readonly summary: string;
  /** Settings that this attack needs: the program is started again with them. Attacks with equal settings share one. */
  readonly program?: ProgramSettings;
  /** Processes that this attack makes Podgate replace; their own sessions may be cut. */
  readonly replaces?: 'worker' | 'control';
  /** By how much a process of Podgate may grow. */
  readonly growthMiB?: number;
  /** Attacks, and undoes it. Everything that must hold in every attack is checked by the trial. */
  run(stage: Stage, scale: Scale): Promise<Figures>;
}

export interface ProgramSettings {
  /** The soft and hard limit of open files, as `ulimit -n` sets it. */
  readonly openFiles?: number;
  /** The YAML file, as an object. */
  readonly configuration?: Readonly<Record<string, unknown>>;
}

export interface Outcome {
  readonly attack: string;
  readonly seconds: number;
  readonly controlPeakMiB: number;
  readonly workerPeakMiB: number;
  /** Longest response to a bystander, in ms: an API call through the gateway, and a request to a pod. */
  readonly apiLongestMs: number;
  readonly podLongestMs: number;
  /** Greatest event-loop delay that /metrics reported (99th percentile between two scrapes), in ms. */
  readonly loopDelayMs: number;
  readonly probesFailed: number;
  readonly sessionsLost: number;
  readonly figures: Figures;
  readonly problems: readonly string[];
}
