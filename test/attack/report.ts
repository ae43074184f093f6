import { type Column, tableOf } from '../support/table.ts';
import type { Outcome } from './attack.ts';

const COLUMNS: readonly Column<Outcome>[] = [
  ['attack', ({ attack }) => attack],
  ['s', ({ seconds }) => seconds.toFixed(0)],
  ['control MiB', ({ controlPeakMiB }) => controlPeakMiB.toFixed(0)],
  ['worker MiB', ({ workerPeakMiB }) => workerPeakMiB.toFixed(0)],
  ['loop delay ms', ({ loopDelayMs }) => loopDelayMs.toFixed(0)],
  ['API ms', ({ apiLongestMs }) => apiLongestMs.toFixed(0)],
  ['pod ms', ({ podLongestMs }) => podLongestMs.toFixed(0)],
  ['probes failed', ({ probesFailed }) => String(probesFailed)],
  ['sessions lost', ({ sessionsLost }) => String(sessionsLost)],
  ['', ({ problems }) => (problems.length === 0 ? 'held' : `${problems.length} PROBLEMS`)],
];

/** A table of all attacks, and below it what each measured of its own. Memory and times are the highest seen. */
export function report(outcomes: readonly Outcome[]): string {
  const figures = outcomes.flatMap(({ attack, figures: own }) =>
    Object.entries(own).map(([name, value]) => `  ${attack}: ${name}: ${value}`),
  );
  return ['', ...tableOf(COLUMNS, outcomes), '', ...figures].join('\n');
}
