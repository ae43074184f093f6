import type { Command } from 'commander';
import type { RecoverLine, RecoverReport } from '../../control/operator/recover-store.ts';
import { PODGATE } from '../called-as.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson } from '../command.ts';
import { printResult } from '../output/print.ts';
import { callOperator } from '../target/call-operator.ts';

export function recoverCommand(): Command {
  return withJson(
    createCommand('recover', {
      description: `Reconciles a suspect store with what runs, then trusts it again.

For a suspect store: an empty one, an older one (a restored backup), or a foreign one. Reconciles the store with what the
running workloads record about their pods. No workload is changed. Without --yes, it only shows what it would do. Run it
once, on any replica; you can interrupt and repeat it.`,
      examples: [
        ['recover', 'show what would be done'],
        ['recover --yes', 'do it'],
      ],
    }),
  )
    .option('--yes', 'apply the changes')
    .option(
      '--abandon-unreadable',
      `proceed although some workloads have no readable record of their pod: these are removed as orphans after ten minutes (their data stays); if there are many, only after you confirm with ${PODGATE} confirm`,
    )
    .action(async (options: OutputOptions & { yes?: boolean; abandonUnreadable?: boolean }) => {
      const { yes = false, abandonUnreadable = false } = options;
      const report = await callOperator('recover', { act: yes, abandonUnreadable });
      printResult(options, report, formatRecover(report));
    });
}

/** Throws CliError when nothing could be done. */
export function formatRecover(report: RecoverReport): string {
  switch (report.kind) {
    case 'healthy':
      return 'The store is healthy: there is nothing to recover.\n';
    case 'busy':
      throw new CliError(EXIT_FAILED, 'another recovery is in progress; try again in a moment');
    case 'plan':
      return `The store is suspect: ${report.reason}.\n${listOf(report.lines)}Nothing was done. To do it: ${PODGATE} recover --yes\n`;
    case 'unreadable':
      throw new CliError(
        EXIT_FAILED,
        `nothing was changed: some workloads have no readable record of their pod. To proceed and leave them without a record, use --abandon-unreadable.\n${listOf(report.lines)}`,
      );
    case 'recovered': {
      const { changed } = report;
      const late = changed.length === 0 ? '' : `Modified concurrently, and left unchanged: ${changed.join(', ')}\n`;
      return `The store was suspect: ${report.reason}.\n${listOf(report.lines)}${late}Recovered: the store is trusted again.\n`;
    }
  }
}

const HEADINGS: Readonly<Record<RecoverLine['kind'], string>> = {
  rebuild: 'records to rebuild from their workloads',
  take: 'records to update from their workloads, which are newer',
  credential: 'credentials to restore from their workloads',
  'turn-off': 'pods to set to OFF: they have no workload and may have been deleted since',
  leave: 'workloads left to cleanup: their pods no longer exist',
  unreadable: 'workloads without a readable record',
};

function listOf(lines: readonly RecoverLine[]): string {
  if (lines.length === 0) return 'Its records match the running workloads.\n';
  return Object.entries(HEADINGS)
    .map(([kind, heading]) => [heading, lines.filter((line) => line.kind === kind)] as const)
    .filter(([, ofKind]) => ofKind.length > 0)
    .map(([heading, ofKind]) => `${ofKind.length} ${heading}:\n${ofKind.map(({ key }) => `  ${key}\n`).join('')}`)
    .join('');
}
