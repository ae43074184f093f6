import type { Command } from 'commander';
import { CliError, EXIT_USAGE } from '../cli-error.ts';
import { createSubcommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { requireAgreement } from '../output/ask.ts';
import { printResult } from '../output/print.ts';
import { formatTable } from '../output/table.ts';
import { callForResult } from '../target/call-api.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';
import { callForObject, objectPath, type ObjectKind } from './call-for-object.ts';

export type Row = Readonly<Record<string, unknown>>;
export type ObjectOptions = OutputOptions & TargetOptions;

/** What the commands show of a kind, and how its user calls them. */
export interface ShownKind extends ObjectKind {
  /** The command of the kind: `volumes`. */
  readonly command: string;
  readonly columns: readonly (readonly [heading: string, of: (row: Row) => string])[];
  /** What is lost with one: `with its files`. */
  readonly deleted: string;
}

export function listSubcommand(kind: ShownKind): Command {
  return withTarget(
    withJson(
      createSubcommand('list', {
        description: `Lists the ${kind.command} that you own or that are shared with you.`,
        examples: [[kind.command, '']],
      }),
    ),
  ).action(async (options: ObjectOptions) => {
    const rows = (await callForResult(chooseTarget(options), { method: 'GET', path: kind.collection })) as Row[];
    printResult(options, rows, rows.length === 0 ? `no ${kind.command} yet\n` : tableOf(kind, rows));
  });
}

export function deleteSubcommand(kind: ShownKind): Command {
  return withTarget(
    withJson(
      createSubcommand('delete', {
        description: `Deletes a ${kind.noun} ${kind.deleted}, after asking.`,
        examples: [
          [`${kind.command} delete NAME`, ''],
          [`${kind.command} delete NAME --yes`, 'without asking'],
        ],
      }),
    ),
  )
    .argument('<id>')
    .option('-y, --yes', 'do not ask')
    .action(async (id: string, options: ObjectOptions & { readonly yes?: boolean }) => {
      const target = chooseTarget(options);
      // A mistyped name is found before anything is asked.
      await callForObject(target, kind, id, { method: 'GET', path: objectPath(kind, id) });
      if (options.yes !== true) {
        const question = `Delete the ${kind.noun} ${id} of ${target.origin}, ${kind.deleted}?`;
        await requireAgreement(question, 'nothing was deleted');
      }
      await callForObject(target, kind, id, { method: 'DELETE', path: objectPath(kind, id) });
      printResult(options, { [kind.idField]: id, deleted: true }, `${id} was deleted\n`);
    });
}

export function tableOf({ columns }: Pick<ShownKind, 'columns'>, rows: readonly Row[]): string {
  return formatTable(
    columns.map(([heading]) => heading),
    rows.map((row) => columns.map(([, of]) => of(row))),
  );
}

/** A field as text; '' for null. */
export function textField(name: string): (row: Row) => string {
  return (row) => {
    const value = row[name] ?? '';
    return typeof value === 'string' || typeof value === 'number' ? String(value) : JSON.stringify(value);
  };
}

/** A whole number that an option gives. Throws CliError. */
export function numberOption(name: string, text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new CliError(EXIT_USAGE, `${name} must be a whole number`);
  return Number(text);
}
