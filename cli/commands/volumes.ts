import type { Command } from 'commander';
import { createCommand, createSubcommand, withJson, withTarget } from '../command.ts';
import { callForObject, objectPath } from '../objects/call-for-object.ts';
import { fileSubcommands } from '../objects/file-commands.ts';
import {
  deleteSubcommand,
  listSubcommand,
  numberOption,
  type ObjectOptions,
  type ShownKind,
  textField,
} from '../objects/object-commands.ts';
import { printResult } from '../output/print.ts';
import { uploadTo } from '../target/transfer.ts';
import { callForResult } from '../target/call-api.ts';
import { chooseTarget } from '../target/choose-target.ts';

const VOLUMES: ShownKind = {
  noun: 'volume',
  command: 'volumes',
  collection: '/v3/pods/volumes',
  idField: 'volume_id',
  columns: [
    ['VOLUME', textField('volume_id')],
    ['MB', textField('size')],
    ['OF', textField('size_limit')],
    ['STATUS', textField('status')],
    ['DESCRIPTION', textField('description')],
    ['MESSAGE', textField('message')],
  ],
  deleted: 'with its files',
};

export function volumesCommand(): Command {
  const create = withTarget(
    withJson(
      createSubcommand('create', {
        description: 'Creates a volume.',
        examples: [['volumes create mydata --size 2048', '']],
      }),
    ),
  )
    .argument('<id>', 'lower-case letters and digits')
    .option('--size <MB>', 'nothing is written beyond it')
    .option('--description <text>')
    .action(async (id: string, options: ObjectOptions & { size?: string; description?: string }) => {
      const { size, description } = options;
      const body = {
        volume_id: id,
        ...(description === undefined ? {} : { description }),
        ...(size === undefined ? {} : { size_limit: numberOption('--size', size) }),
      };
      const call = { method: 'POST', path: VOLUMES.collection, body } as const;
      const created = await callForResult(chooseTarget(options), call);
      printResult(options, created, `${id} was created; pods mount it with volume_mounts, see docs/volumes.md\n`);
    });
  const put = withTarget(
    withJson(
      createSubcommand('put', {
        description: 'Copies a file of this machine to a volume. It appears once it is complete.',
        examples: [
          ['volumes put mydata may.csv', ''],
          ['volumes put mydata may.csv 2026/may.csv', 'directories are made'],
        ],
      }),
    ),
  )
    .argument('<id>')
    .argument('<file>')
    .argument('[path]', 'in the volume; default: the name of the file')
    .action(async (id: string, file: string, path: string | undefined, options: ObjectOptions) => {
      const target = chooseTarget(options);
      const to = path ?? (file.split('/').at(-1) || file);
      await callForObject(target, VOLUMES, id, { method: 'GET', path: objectPath(VOLUMES, id) });
      const call = objectPath(VOLUMES, id, `/upload/${encodeURIComponent(to)}`);
      const { size } = await uploadTo(target, call, { file, fields: {} });
      printResult(options, { volume_id: id, path: to, size }, `${id}: ${to} (${size} bytes)\n`);
    });
  const rm = withTarget(
    withJson(
      createSubcommand('rm', {
        description: 'Deletes a file or an empty directory of a volume, without asking.',
        examples: [['volumes rm mydata 2026/may.csv', '']],
      }),
    ),
  )
    .argument('<id>')
    .argument('<path>', 'in the volume')
    .action(async (id: string, path: string, options: ObjectOptions) => {
      const below = objectPath(VOLUMES, id, `/files?path=${encodeURIComponent(path)}`);
      await callForObject(chooseTarget(options), VOLUMES, id, { method: 'DELETE', path: below });
      printResult(options, { volume_id: id, path, deleted: true }, `${id}: ${path} was deleted\n`);
    });
  const command = createCommand('volumes', {
    description: 'Lists, creates and deletes volumes, copies files to and from them, and deletes files.',
    examples: [
      ['volumes', 'list'],
      ['volumes create mydata', ''],
      ['volumes put mydata may.csv', ''],
      ['volumes files mydata', ''],
    ],
  })
    .addCommand(listSubcommand(VOLUMES), { isDefault: true })
    .addCommand(create)
    .addCommand(put)
    .addCommand(rm);
  for (const each of fileSubcommands(VOLUMES)) command.addCommand(each);
  return command.addCommand(deleteSubcommand(VOLUMES));
}
