import type { Command } from 'commander';
import { shellWord } from '../../core/shell-word.ts';
import { CliError, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { connectionVariables } from '../connect/connection-strings.ts';
import { stanzaAccessOf } from '../connect/stanza-access.ts';
import { printResult } from '../output/print.ts';
import { readPod } from '../pods/pod.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';
import { warnOfResolver } from './url.ts';

interface EnvOptions extends OutputOptions, TargetOptions {
  readonly format: string;
  readonly stanza?: string;
}

export function envCommand(): Command {
  return withTarget(
    withJson(
      createCommand('env', {
        description: `Prints the variables that clients of a pod read: PGHOST and its siblings and DATABASE_URL for Postgres, NEO4J_URI,
NEO4J_USERNAME and NEO4J_PASSWORD for Neo4j, POD_URL for HTTP.`,
        examples: [
          ['env mypg --format dotenv > .env', ''],
          ['env mypg', 'for a shell: eval "$(podgate env mypg)"'],
        ],
      }),
    ),
  )
    .argument('<pod>')
    .option('--format <name>', 'shell: export lines; dotenv: a .env file', 'shell')
    .option('--stanza <name>', 'entry of its networking (default: default)')
    .action(async (podId: string, options: EnvOptions) => {
      if (options.format !== 'shell' && options.format !== 'dotenv') {
        throw new CliError(EXIT_USAGE, '--format must be shell or dotenv');
      }
      const target = chooseTarget(options);
      const access = await stanzaAccessOf(target, await readPod(target, podId), options.stanza);
      warnOfResolver(access);
      const variables = connectionVariables(access);
      const lineOf = options.format === 'shell' ? shellLine : dotenvLine;
      printResult(options, variables, Object.entries(variables).map(lineOf).join(''));
    });
}

function shellLine([name, value]: readonly [string, string]): string {
  return `export ${name}=${shellWord(value)}\n`;
}

/** In single quotes, where dotenv readers expand nothing; a value that has one itself, in double quotes. */
function dotenvLine([name, value]: readonly [string, string]): string {
  return value.includes("'") ? `${name}="${value.replaceAll('"', '\\"')}"\n` : `${name}='${value}'\n`;
}
