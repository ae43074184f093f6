import type { Command } from 'commander';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson } from '../command.ts';
import { printResult } from '../output/print.ts';
import { callOperator } from '../target/call-operator.ts';
import { findInstallation } from '../target/installation.ts';

export function consoleCommand(): Command {
  return withJson(
    createCommand('console', {
      description: 'Prints a link to the console that logs you in. It works once, for 15 minutes.',
      examples: [['console', '']],
    }),
  ).action(async (options: OutputOptions) => {
    const { code } = await callOperator('loginCode', {});
    if (code === null) {
      throw new CliError(
        EXIT_FAILED,
        'this Podgate has no login links: the console is off, or the tenant signs its own tokens; paste a token there',
      );
    }
    const url = `http://127.0.0.1:${findInstallation().controlPort}/#login=${code}`;
    printResult(options, { url }, `${url}\n`);
  });
}
