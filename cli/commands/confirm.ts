import type { Command } from 'commander';
import type { ConfirmReport } from '../../control/operator/confirm-removals.ts';
import { PODGATE } from '../called-as.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson } from '../command.ts';
import { print } from '../output/print.ts';
import { callOperator } from '../target/call-operator.ts';

export function confirmCommand(): Command {
  return withJson(
    createCommand('confirm', {
      description: `Lists or confirms removals of workloads without a pod that are held back.

Workloads that have no pod are removed after ten minutes, but only max(5, 5 %) of all workloads at once. If there are
more, records may have been lost, so none of them is removed until you confirm. Without --yes, this command lists them
and changes nothing. Run it on the replica that leads (/readyz: "this replica leads").`,
      examples: [
        ['confirm', 'list them with their code'],
        ['confirm --yes 8-1f0c93ab', 'remove exactly the listed workloads'],
      ],
      exitCodes: '0 listed, confirmed or nothing held back, 1 refused, 2 usage error, 3 Podgate is not running',
    }),
  )
    .option(
      '--yes <code>',
      'remove exactly the listed workloads; the list shows its code. Refused if the list has changed since. Holds for ten minutes and ends when another replica leads. Volumes are kept',
    )
    .action(async (options: OutputOptions & { yes?: string }) => {
      const report = await callOperator('confirm', { code: options.yes ?? null });
      print(options.json === true ? formatJson(report) : formatConfirm(report));
    });
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
To remove these workloads (volumes are kept): ${PODGATE} confirm --yes ${code}
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
        `the store is suspect, so nothing is removed: ${report.reason}; see: podgate recover`,
      );
    case 'not-leading':
      throw new CliError(
        EXIT_FAILED,
        'this replica is not the leader, and only the leader knows what is held back; run the command on the replica whose /readyz says "this replica leads"',
      );
    case 'changed':
      throw new CliError(
        EXIT_FAILED,
        report.removals.length === 0
          ? 'nothing was confirmed: no removal is held back now'
          : 'nothing was confirmed: the code is not that of the removals that are held back now; list them again with: podgate confirm',
      );
    default:
      return report;
  }
}

function countOf(count: number): string {
  return `${count} ${count === 1 ? 'workload' : 'workloads'}`;
}
