import type { Command } from 'commander';
import type { KeptVolume } from '../../control/resources/pods/kept-volumes.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { createCommand, createSubcommand, type OutputOptions, withJson } from '../command.ts';
import { printResult } from '../output/print.ts';
import { callOperator } from '../target/call-operator.ts';

export function keptVolumesCommand(): Command {
  const list = withJson(
    createSubcommand('list', {
      description: 'Lists the kept volumes of deleted pods.',
      examples: [['kept-volumes', '']],
    }),
  ).action(async (options: OutputOptions) => {
    const report = await callOperator('keptVolumes', {});
    printResult(options, report, formatKeptVolumes(report));
  });
  const remove = withJson(
    createSubcommand('remove', {
      description: 'Deletes a volume and its data permanently.',
      examples: [['kept-volumes remove dev/mypg/0198c2', '']],
    }),
  )
    .argument('<key>', '<tenant>/<pod id>/<uid>, as listed')
    .action(async (key: string, options: OutputOptions) => {
      const { kind } = await callOperator('removeKeptVolume', { key });
      switch (kind) {
        case 'removed':
          printResult(options, { key, kind }, `${key} was removed with its data\n`);
          return;
        case 'unknown':
          throw new CliError(EXIT_FAILED, `there is no kept volume ${key}; see: podgate kept-volumes`);
        case 'pending':
          throw new CliError(EXIT_FAILED, `${key} is still being removed; run the command again in a minute`);
      }
    });
  return createCommand('kept-volumes', {
    description: `Lists or removes the volumes of deleted pods that were kept (DELETE ?keep_volume=true).

A kept volume counts against the volume quota of the user who created its pod. No other pod ever mounts it.`,
    examples: [
      ['kept-volumes', 'list'],
      ['kept-volumes remove KEY', 'delete one and its data permanently'],
    ],
  })
    .addCommand(list, { isDefault: true })
    .addCommand(remove);
}

export function formatKeptVolumes({ volumes }: { readonly volumes: readonly KeptVolume[] }): string {
  if (volumes.length === 0) return 'No volumes of deleted pods are kept.\n';
  return volumes
    .map(
      ({ key, createdBy, volumes: count, keptAtMs }) =>
        `${key}  created by ${createdBy}, ${count} ${count === 1 ? 'volume' : 'volumes'}, kept since ${new Date(keptAtMs).toISOString()}\n`,
    )
    .join('');
}
