import { parseArgs } from 'node:util';
import type { ConfirmReport } from '../../control/operator/confirm-removals.ts';
import { errorText } from '../../core/errors.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { callOperator } from './call-operator.ts';

export const CONFIRM_HELP = `npx podgate confirm [--yes CODE] [--json]

Workloads that have no pod are removed after ten minutes, but only max(5, 5 %) of all workloads at once. If there are
more, records may have been lost, so none of them is removed until you confirm. This command lists them and changes
nothing. Run it on the replica that leads (/readyz: "this replica leads").

  --yes CODE   remove exactly the listed workloads; the list shows its code. Refused if the list has changed since.
               Holds for ten minutes and ends when another replica leads. Volumes are kept
  --json       print JSON

Exit codes: 0 listed, confirmed or nothing held back, 1 refused, 2 usage error, 3 Podgate is not running.
`;

/** Returns what to print. */
export async function confirmCommand(args: readonly string[]): Promise<string> {
  const { yes, json, help } = argumentsOf(args);
  if (help) return CONFIRM_HELP;
  const report = await callOperator('confirm', { code: yes ?? null });
  return json ? formatJson(report) : formatConfirm(report);
}

function argumentsOf(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        yes: { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    return values;
  } catch (error) {
    throw new CliError(EXIT_USAGE, `${errorText(error)}; see: npx podgate confirm --help`);
  }
}

const REASON = 'no record and no tombstone of this uid';

/** Throws CliError when the report is a refusal. */
export function formatConfirm(report: ConfirmReport): string {
  const { kind, code, limit, removals, youngerCount } = acceptedOf(report);
  const count = countOf(removals.length);
  if (kind === 'confirmed') {
    return `Confirmed: the next pass, in a few seconds, removes ${count}. Volumes are kept.\n`;
  }
  const younger =
    youngerCount === 0 ? '' : `${countOf(youngerCount)} without a pod: first seen less than ten minutes ago.\n`;
  if (removals.length === 0) return `No removal is held back.\n${younger}`;
  const lines = removals.map(
    ({ tenant, podId, uid, sinceMs }) =>
      `  ${tenant}/${podId}  uid ${uid}, ${REASON}, since ${new Date(sinceMs).toISOString()}\n`,
  );
  return `Held back: the removal of ${count} without a pod; a pass removes at most ${limit} unconfirmed.
${lines.join('')}${younger}Nothing was changed. If records were lost, restore the store first.
To remove these workloads (volumes are kept): npx podgate confirm --yes ${code}
`;
}

/** Throws CliError when the report is a refusal. */
function formatJson(report: ConfirmReport): string {
  const { kind, code, limit, removals, youngerCount } = acceptedOf(report);
  const listed = removals.map(({ sinceMs, ...removal }) => ({
    ...removal,
    reason: REASON,
    since: new Date(sinceMs).toISOString(),
  }));
  return `${JSON.stringify({ kind, code: listed.length === 0 ? null : code, limit, removals: listed, youngerCount })}\n`;
}

function acceptedOf(report: ConfirmReport): Extract<ConfirmReport, { kind: 'held-back' | 'confirmed' }> {
  switch (report.kind) {
    case 'suspect':
      throw new CliError(
        EXIT_FAILED,
        `the store is suspect, so nothing is removed: ${report.reason}; see: npx podgate recover`,
      );
    case 'not-leading':
      throw new CliError(
        EXIT_FAILED,
        'this replica does not lead, and only the leader knows what is held back; run the command on the replica whose /readyz says "this replica leads"',
      );
    case 'changed':
      throw new CliError(
        EXIT_FAILED,
        report.removals.length === 0
          ? 'nothing was confirmed: no removal is held back now'
          : 'nothing was confirmed: the code is not that of the removals that are held back now; list them again with: npx podgate confirm',
      );
    default:
      return report;
  }
}

function countOf(count: number): string {
  return `${count} ${count === 1 ? 'workload' : 'workloads'}`;
}
