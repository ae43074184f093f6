import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { errorText } from '../../core/errors.ts';
import { CliError, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, createSubcommand, withJson, withTarget } from '../command.ts';
import { callForObject, objectPath } from '../objects/call-for-object.ts';
import {
  deleteSubcommand,
  listSubcommand,
  type ObjectOptions,
  type Row,
  type ShownKind,
  tableOf,
  textField,
} from '../objects/object-commands.ts';
import { printResult } from '../output/print.ts';
import { callApi, callForResult, refusalOf } from '../target/call-api.ts';
import { chooseTarget } from '../target/choose-target.ts';

const TEMPLATES: ShownKind = {
  noun: 'template',
  command: 'templates',
  collection: '/v3/pods/templates',
  idField: 'template_id',
  columns: [
    ['TEMPLATE', textField('template_id')],
    ['DESCRIPTION', textField('description')],
  ],
  deleted: 'with all its tags',
};
const TAG_COLUMNS: ShownKind['columns'] = [
  ['VERSION', textField('tag_timestamp')],
  ['BY', textField('added_by')],
  ['MESSAGE', textField('commit_message')],
];

interface PublishOptions extends ObjectOptions {
  readonly message: string;
}

export function templatesCommand(): Command {
  const tags = withTarget(
    withJson(
      createSubcommand('tags', {
        description: 'Lists the versions of the tags of a template.',
        examples: [['templates tags lab-db', '']],
      }),
    ),
  )
    .argument('<id>')
    .action(async (id: string, options: ObjectOptions) => {
      const call = { method: 'GET', path: objectPath(TEMPLATES, id, '/tags') } as const;
      const rows = (await callForObject(chooseTarget(options), TEMPLATES, id, call)) as Row[];
      printResult(options, rows, rows.length === 0 ? 'no tags yet\n' : tableOf({ columns: TAG_COLUMNS }, rows));
    });
  const publish = withTarget(
    withJson(
      createSubcommand('publish', {
        description: `Adds a version of a tag from a file with the definition of a pod in JSON. Creates the
template if it does not exist.`,
        examples: [
          ['templates publish lab-db pod.json -m "First version."', 'the tag latest'],
          ['templates publish lab-db:v1 pod.json -m "For the course."', ''],
        ],
      }),
    ),
  )
    .argument('<id[:tag]>')
    .argument('<file>')
    .requiredOption('-m, --message <text>', 'what is new')
    .action(async (name: string, file: string, options: PublishOptions) => {
      const [id = '', tag] = name.split(':');
      const target = chooseTarget(options);
      const definition = readDefinition(file);
      const made = { method: 'POST', path: TEMPLATES.collection, body: { template_id: id } } as const;
      const reply = await callApi(target, made);
      if (reply.status !== 200 && reply.status !== 409) throw refusalOf(target, reply);
      const body = {
        pod_definition: definition,
        commit_message: options.message,
        ...(tag === undefined ? {} : { tag }),
      };
      const added = (await callForResult(target, {
        method: 'POST',
        path: objectPath(TEMPLATES, id, '/tags'),
        body,
      })) as { readonly tag_timestamp: string };
      printResult(options, added, `${id}:${added.tag_timestamp}\n`);
    });
  return createCommand('templates', {
    description: 'Lists templates, and publishes and deletes your own: docs/templates.md.',
    examples: [
      ['templates', 'list'],
      ['templates publish lab-db pod.json -m "First version."', ''],
      ['create mydb --template lab-db', ''],
    ],
  })
    .addCommand(listSubcommand(TEMPLATES), { isDefault: true })
    .addCommand(tags)
    .addCommand(publish)
    .addCommand(deleteSubcommand(TEMPLATES));
}

function readDefinition(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new CliError(EXIT_USAGE, `${file} could not be read as JSON: ${errorText(error)}`);
  }
}
