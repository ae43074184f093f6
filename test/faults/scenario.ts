import type { Trial } from './trial.ts';

/** What a scenario has measured, by a name that says the unit. */
export type Figures = Readonly<Record<string, number | string>>;

export interface Scenario {
  readonly name: string;
  /** One line for --help. */
  readonly summary: string;
  /**
   * Makes the fault and undoes it, with the users at work; what must hold in every scenario is looked at by the trial
   * afterwards. What must hold in this one alone goes to `trial.problem`.
   */
  run(trial: Trial): Promise<Figures>;
}

export interface Outcome {
  readonly scenario: string;
  readonly seconds: number;
  /** From the last write of a user until every pod was where its user wants it. */
  readonly settledSeconds: number;
  readonly exchanges: number;
  readonly cuts: number;
  readonly refused: number;
  /** Of those two, the ones through a replica that was killed just then. */
  readonly excused: number;
  readonly wrong: number;
  readonly acknowledged: number;
  readonly unanswered: number;
  readonly figures: Figures;
  readonly problems: readonly string[];
}
