import type { Command } from 'commander';
import { PODGATE } from '../called-as.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, createSubcommand, withJson, withTarget } from '../command.ts';
import { callForObject, objectPath } from '../objects/call-for-object.ts';
import { fileSubcommands } from '../objects/file-commands.ts';
import {
  deleteSubcommand,
  listSubcommand,
  numberOption,
  type ObjectOptions,
  type Row,
  type ShownKind,
  textField,
} from '../objects/object-commands.ts';
import { requireAgreement } from '../output/ask.ts';
import { printResult } from '../output/print.ts';
import { callForResult } from '../target/call-api.ts';
import { chooseTarget } from '../target/choose-target.ts';

/** A pod, or a path of a volume. */
function sourceOf(row: Row): string {
  const pod = textField('source_pod_id')(row);
  return pod === '' ? `${textField('source_volume_id')(row)}:${textField('source_volume_path')(row)}` : `pod ${pod}`;
}

const SNAPSHOTS: ShownKind = {
  noun: 'snapshot',
  command: 'snapshots',
  collection: '/v3/pods/snapshots',
  idField: 'snapshot_id',
  columns: [
    ['SNAPSHOT', textField('snapshot_id')],
    ['STATUS', textField('status')],
    ['MB', textField('size')],
    ['CREATED', textField('creation_ts')],
    ['SCHEDULE', textField('cron')],
    ['OF', sourceOf],
    ['MESSAGE', textField('message')],
  ],
  deleted: 'with its files',
};

interface CreateOptions extends ObjectOptions {
  readonly pod?: string;
  readonly path?: string;
  readonly size?: string;
  readonly cron?: string;
  readonly keep?: string;
  readonly description?: string;
}

function sourceFields(volume: string | undefined, { pod, path }: CreateOptions): object {
  if ((volume === undefined) === (pod === undefined)) {
    throw new CliError(EXIT_USAGE, 'name a volume, or a pod with --pod POD');
  }
  if (pod !== undefined) {
    if (path !== undefined) throw new CliError(EXIT_USAGE, '--path is for volumes');
    return { source_pod_id: pod };
  }
  return { source_volume_id: volume, source_volume_path: path?.startsWith('/') === true ? path : `/${path ?? ''}` };
}

export function snapshotsCommand(): Command {
  const create = withTarget(
    withJson(
      createSubcommand('create', {
        description: 'Copies a directory or a file of a volume, or the data of a database pod, once or on a schedule.',
        examples: [
          ['snapshots create before mydata', 'all of the volume'],
          ['snapshots create nightly mydata --cron "30 3 * * *" --keep keep=7', 'every night, the newest seven'],
          ['snapshots create nightlypg --pod mypg --cron "30 3 * * *" --keep keep=7', 'of the data of a pod'],
        ],
      }),
    ),
  )
    .argument('<id>', 'lower-case letters and digits')
    .argument('[volume]')
    .option('--pod <pod>', 'the data of this pod, instead of a volume: a Postgres, or a Neo4j that is stopped')
    .option('--path <path>', 'of the volume; default: /')
    .option('--size <MB>', 'the most that is copied')
    .option('--cron <schedule>', 'further ones: minute, hour, day of month, month, day of week, in UTC')
    .option('--keep <policy>', 'of those that --cron makes: keep=N, days=N, or both with a comma')
    .option('--description <text>')
    .action(async (id: string, volume: string | undefined, options: CreateOptions) => {
      const { size, cron, keep, description } = options;
      const body = {
        snapshot_id: id,
        ...sourceFields(volume, options),
        ...(size === undefined ? {} : { size_limit: numberOption('--size', size) }),
        ...(cron === undefined ? {} : { cron }),
        ...(keep === undefined ? {} : { retention_policy: keep }),
        ...(description === undefined ? {} : { description }),
      };
      const call = { method: 'POST', path: SNAPSHOTS.collection, body } as const;
      const created = (await callForResult(chooseTarget(options), call)) as { readonly status: string };
      const isDone = created.status === 'AVAILABLE';
      printResult(options, created, isDone ? `${id} was made\n` : `${id} is being made; see: ${PODGATE} snapshots\n`);
    });
  const restore = withTarget(
    withJson(
      createSubcommand('restore', {
        description: 'Replaces all files of a volume by those of a snapshot. Stop the pods that mount it first.',
        examples: [
          ['snapshots restore before --yes', 'to the volume that it was made of'],
          ['snapshots restore before --to other --yes', 'to another volume'],
        ],
      }),
    ),
  )
    .argument('<id>')
    .option('--to <volume>', 'default: the volume that it was made of')
    .option('-y, --yes', 'do not ask')
    .action(async (id: string, options: ObjectOptions & { readonly to?: string; readonly yes?: boolean }) => {
      const target = chooseTarget(options);
      const read = { method: 'GET', path: objectPath(SNAPSHOTS, id) } as const;
      const snapshot = (await callForObject(target, SNAPSHOTS, id, read)) as Row;
      const pod = textField('source_pod_id')(snapshot);
      if (pod !== '') {
        throw new CliError(
          EXIT_FAILED,
          `snapshot ${id} is of the data of pod ${pod}, which is not restored in place. Clone it: podgate clone ${pod} NEW_POD --snapshot ${id}`,
        );
      }
      const volume = options.to ?? textField('source_volume_id')(snapshot);
      if (options.yes !== true) {
        const question = `Replace all files of volume ${volume} of ${target.origin} by those of snapshot ${id}?`;
        await requireAgreement(question, 'nothing was restored');
      }
      const call = {
        method: 'POST',
        path: `/v3/pods/volumes/${encodeURIComponent(volume)}/restore`,
        body: { snapshot_id: id },
      } as const;
      const restored = (await callForResult(target, call)) as { readonly status: string };
      const isDone = restored.status === 'AVAILABLE';
      printResult(
        options,
        restored,
        isDone
          ? `${id} was restored to ${volume}\n`
          : `${id} is being restored to ${volume}; see: ${PODGATE} volumes\n`,
      );
    });
  const command = createCommand('snapshots', {
    description:
      'Lists, creates, restores and deletes snapshots of volumes and of the data of pods, and copies files from them.',
    examples: [
      ['snapshots', 'list'],
      ['snapshots create before mydata', ''],
      ['snapshots create before --pod mypg', ''],
      ['snapshots files before', ''],
      ['snapshots restore before', ''],
    ],
  })
    .addCommand(listSubcommand(SNAPSHOTS), { isDefault: true })
    .addCommand(create)
    .addCommand(restore);
  for (const each of fileSubcommands(SNAPSHOTS)) command.addCommand(each);
  return command.addCommand(deleteSubcommand(SNAPSHOTS));
}
