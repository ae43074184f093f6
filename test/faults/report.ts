import type { Outcome } from './scenario.ts';

const COLUMNS: readonly (readonly [string, (outcome: Outcome) => string])[] = [
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
  const rows = [
    COLUMNS.map(([title]) => title),
    ...outcomes.map((outcome) => COLUMNS.map(([, cell]) => cell(outcome))),
  ];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const table = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  const figures = outcomes.flatMap(({ scenario, figures: own }) =>
    Object.entries(own).map(([name, value]) => `  ${scenario}: ${name}: ${value}`),
  );
  return ['', ...table, '', ...figures].join('\n');
}
