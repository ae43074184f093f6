import type { Command } from 'commander';
import type { QueueReport } from '../../control/operator/operator-handler.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, createSubcommand, type OutputOptions, withJson } from '../command.ts';
import { printResult } from '../output/print.ts';
import { callOperator } from '../target/call-operator.ts';

export function queueCommand(): Command {
  const list = withJson(
    createSubcommand('list', {
      description: 'Lists keys that wait for the spawner, and parked keys with their errors.',
      examples: [['queue', '']],
    }),
  ).action(async (options: OutputOptions) => {
    const report = await callOperator('queue', {});
    printResult(options, report, formatQueue(report));
  });
  const retry = withJson(
    createSubcommand('retry', {
      description: 'Retries parked keys now.',
      examples: [
        ['queue retry dev/mypg', ''],
        ['queue retry --all', ''],
      ],
    }),
  )
    .argument('[key]', '<tenant>/<pod id>')
    .option('--all', 'every parked key')
    .action(async (key: string | undefined, options: OutputOptions & { all?: boolean }) => {
      if ((key === undefined) === (options.all === undefined)) {
        throw new CliError(EXIT_USAGE, 'name one key, or use --all: podgate queue retry KEY|--all');
      }
      const { count } = await callOperator('retry', { key: key ?? null });
      if (count === 0 && key !== undefined) throw new CliError(EXIT_FAILED, `the key ${key} is not parked`);
      printResult(options, { count }, `${count} ${count === 1 ? 'key is' : 'keys are'} due now\n`);
    });
  return createCommand('queue', {
    description: `Lists keys that wait for the spawner, and parked keys.

A key is parked after its pod has failed to start repeatedly. It is retried after ten minutes, or as soon as the pod is
started or restarted.`,
    examples: [
      ['queue', 'list'],
      ['queue retry dev/mypg', 'retry one parked key now'],
      ['queue retry --all', 'retry all of them'],
    ],
  })
    .addCommand(list, { isDefault: true })
    .addCommand(retry);
}

export function formatQueue({ due, delayed, leased, parked, keys }: QueueReport): string {
  const lines = keys.map(
    ({ key, sinceMs, reason }) => `  ${key}  since ${new Date(sinceMs).toISOString()}: ${oneLine(reason)}\n`,
  );
  return `due ${due}, delayed ${delayed}, in progress ${leased}, parked ${parked}\n${lines.join('')}`;
}

function oneLine(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what is replaced
  return text.replaceAll(/[\u0000-\u001f\u007f]+/g, ' ');
}
