import { type Column, tableOf } from '../support/table.ts';
import type { Outcome } from './scenario.ts';

const COLUMNS: readonly Column<Outcome>[] = [
  ['scenario', ({ scenario }) => scenario],
  ['s', ({ seconds }) => seconds.toFixed(0)],
  ['exchanges', ({ exchanges }) => String(exchanges)],
  ['cut', ({ cuts }) => String(cuts)],
  ['refused', ({ refused }) => String(refused)],
  ['of a killed replica', ({ excused }) => String(excused)],
  ['wrong bytes', ({ wrong }) => String(wrong)],
  ['writes', ({ acknowledged }) => String(acknowledged)],
  ['unanswered', ({ unanswered }) => String(unanswered)],
  ['settled after s', ({ settledSeconds }) => (Number.isNaN(settledSeconds) ? '-' : settledSeconds.toFixed(1))],
  ['', ({ problems }) => (problems.length === 0 ? 'held' : `${problems.length} PROBLEMS`)],
];

/** A table of all scenarios, and below it what each has measured of its own. */
export function report(outcomes: readonly Outcome[]): string {
  const figures = outcomes.flatMap(({ scenario, figures: own }) =>
    Object.entries(own).map(([name, value]) => `  ${scenario}: ${name}: ${value}`),
  );
  return ['', ...tableOf(COLUMNS, outcomes), '', ...figures].join('\n');
}
