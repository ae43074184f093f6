import type { Command } from 'commander';
import { createSubcommand, withJson, withTarget } from '../command.ts';
import { printResult } from '../output/print.ts';
import { downloadTo } from '../target/transfer.ts';
import { chooseTarget } from '../target/choose-target.ts';
import { callForObject, objectPath } from './call-for-object.ts';
import { type ObjectOptions, type Row, type ShownKind, tableOf, textField } from './object-commands.ts';

const FILE_COLUMNS: ShownKind['columns'] = [
  ['MODE', textField('nativePermissions')],
  ['BYTES', textField('size')],
  ['CHANGED', textField('lastModified')],
  ['PATH', (row) => `${textField('path')(row)}${row['type'] === 'dir' ? '/' : ''}`],
];

/** `files` and `get`, which volumes and snapshots have. */
export function fileSubcommands(kind: ShownKind): readonly Command[] {
  return [filesSubcommand(kind), getSubcommand(kind)];
}

function filesSubcommand(kind: ShownKind): Command {
  return withTarget(
    withJson(
      createSubcommand('files', {
        description: `Lists a directory of a ${kind.noun}.`,
        examples: [
          [`${kind.command} files mydata`, ''],
          [`${kind.command} files mydata 2026/may`, ''],
        ],
      }),
    ),
  )
    .argument('<id>')
    .argument('[path]')
    .action(async (id: string, path: string | undefined, options: ObjectOptions) => {
      const query = path === undefined ? '' : `?path=${encodeURIComponent(path)}`;
      const call = { method: 'GET', path: objectPath(kind, id, `/list${query}`) } as const;
      const files = (await callForObject(chooseTarget(options), kind, id, call)) as Row[];
      printResult(options, files, files.length === 0 ? 'no files\n' : tableOf({ columns: FILE_COLUMNS }, files));
    });
}

function getSubcommand(kind: ShownKind): Command {
  return withTarget(
    withJson(
      createSubcommand('get', {
        description: `Copies a file of a ${kind.noun} to this machine, or with --zip a directory as a ZIP archive.`,
        examples: [
          [`${kind.command} get mydata 2026/may.csv .`, ''],
          [`${kind.command} get mydata 2026/may.csv - | head`, 'to the standard output'],
          [`${kind.command} get mydata 2026 may.zip --zip`, ''],
        ],
      }),
    ),
  )
    .argument('<id>')
    .argument('<path>')
    .argument('<file>', 'of this machine, a directory of it, or - for the standard output')
    .option('--zip', 'as a ZIP archive')
    .action(async (id: string, path: string, file: string, options: ObjectOptions & { readonly zip?: boolean }) => {
      const target = chooseTarget(options);
      const below = `/contents/${encodeURIComponent(path)}${options.zip === true ? '?zip=true' : ''}`;
      const name = `${path.split('/').at(-1) ?? id}${options.zip === true ? '.zip' : ''}`;
      const copied = await downloadTo(target, objectPath(kind, id, below), { file, name });
      if (file !== '-') printResult(options, copied, `${copied.path} (${copied.size} bytes)\n`);
    });
}
