import { text } from 'node:stream/consumers';
import type { Command } from 'commander';
import { CliError, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, createSubcommand, withJson, withTarget } from '../command.ts';
import { callForObject, objectPath } from '../objects/call-for-object.ts';
import {
  deleteSubcommand,
  listSubcommand,
  type ObjectOptions,
  type ShownKind,
  textField,
} from '../objects/object-commands.ts';
import { askSecret } from '../output/ask.ts';
import { printResult } from '../output/print.ts';
import { callApi, refusalOf } from '../target/call-api.ts';
import { chooseTarget } from '../target/choose-target.ts';

const SECRETS: ShownKind = {
  noun: 'secret',
  command: 'secrets',
  collection: '/v3/pods/secrets',
  idField: 'secret_id',
  columns: [
    ['SECRET', textField('secret_id')],
    ['POD', textField('pod_id')],
    ['CHANGED', textField('update_ts')],
    ['BY', textField('added_by')],
    ['DESCRIPTION', textField('description')],
  ],
  deleted: 'which pods that use it cannot start without',
};

export function secretsCommand(): Command {
  const set = withTarget(
    withJson(
      createSubcommand('set', {
        description: `Creates a secret, or replaces its value. The value is read from stdin, without a line break at its end, or
asked for on a terminal.`,
        examples: [
          ['secrets set db-pass', 'asks for the value'],
          ['secrets set db-pass < password.txt', ''],
        ],
      }),
    ),
  )
    .argument('<id>')
    .option('--description <text>')
    .action(async (id: string, options: ObjectOptions & { readonly description?: string }) => {
      const target = chooseTarget(options);
      const value = await readValue(id);
      const { description } = options;
      const fields = { secret_value: value, ...(description === undefined ? {} : { description }) };
      const body = { secret_id: id, ...fields };
      let reply = await callApi(target, { method: 'POST', path: SECRETS.collection, body });
      const isNew = reply.status !== 409;
      if (!isNew) reply = await callApi(target, { method: 'PUT', path: objectPath(SECRETS, id), body: fields });
      // The value that is there already is no failure.
      if (reply.status !== 200) throw refusalOf(target, reply);
      printResult(
        options,
        reply.result,
        `${id} was ${isNew ? 'created' : 'replaced'}; pods get it at their next start\n`,
      );
    });
  const value = withTarget(
    withJson(
      createSubcommand('value', {
        description: 'Prints the value of a secret. USER.',
        examples: [['secrets value db-pass', '']],
      }),
    ),
  )
    .argument('<id>')
    .action(async (id: string, options: ObjectOptions) => {
      const call = { method: 'GET', path: objectPath(SECRETS, id, '/value') } as const;
      const found = (await callForObject(chooseTarget(options), SECRETS, id, call)) as { secret_value: string };
      printResult(options, found, `${found.secret_value}\n`);
    });
  return createCommand('secrets', {
    description: 'Lists, sets and deletes secrets, which pods use by reference: docs/secrets.md.',
    examples: [
      ['secrets', 'list'],
      ['secrets set db-pass', ''],
    ],
  })
    .addCommand(listSubcommand(SECRETS), { isDefault: true })
    .addCommand(set)
    .addCommand(value)
    .addCommand(deleteSubcommand(SECRETS));
}

async function readValue(id: string): Promise<string> {
  const { isTTY } = process.stdin;
  const value = isTTY ? await askSecret(`Value of ${id}`) : (await text(process.stdin)).replace(/\r?\n$/, '');
  if (value === null || value === '') throw new CliError(EXIT_USAGE, 'nothing was changed: the value is empty');
  return value;
}
