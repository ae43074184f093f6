import { Command } from 'commander';
import { asTyped, PODGATE } from './called-as.ts';

const EXIT_CODES = '0 success, 1 failed, 2 usage error, 3 Podgate is not running or cannot be reached';

/** As help lists the commands. */
export const GROUPS = [
  'Pods',
  'Connect',
  'Volumes, secrets and templates',
  'Log in',
  'Operate this installation',
  'Set up',
] as const;

export interface CommandEntry {
  readonly name: string;
  readonly group: (typeof GROUPS)[number];
  /** For the list of commands. */
  readonly summary: string;
  /** Only the command that is run is loaded: most of the start is the loading of modules. */
  readonly load: () => Promise<Command>;
}

/** What `--help` shows around the list of options. */
export interface CommandHelp {
  /** One sentence, then whatever its user must know. */
  readonly description: string;
  /** Command lines without `podgate`, each with what it does; '' = it speaks for itself. */
  readonly examples: readonly (readonly [line: string, does: string])[];
  readonly exitCodes?: string;
}

/** Options that every command of one kind has. */
export interface OutputOptions {
  readonly json?: boolean;
}

/** A command with its help. `name` is what its user types after `podgate`, or after the command it belongs to. */
export function createCommand(name: string, help: CommandHelp): Command {
  return createSubcommand(`podgate ${name}`, help);
}

export function createSubcommand(
  name: string,
  { description, examples, exitCodes = EXIT_CODES }: CommandHelp,
): Command {
  const width = Math.max(0, ...examples.map(([line]) => line.length));
  const lines = examples.map(
    ([line, does]) => `  ${PODGATE} ${does === '' ? line : `${line.padEnd(width)}   ${asTyped(does)}`}\n`,
  );
  return (
    new Command(name)
      // The source breaks lines within paragraphs; help breaks them anew.
      .description(description.replaceAll(/(?<!\n)\n(?!\n)/g, ' '))
      .helpOption('-h, --help', 'show this help')
      .helpCommand(false)
      .addHelpText('after', `${lines.length === 0 ? '' : `\nExamples:\n${lines.join('')}`}\nExit codes: ${exitCodes}.`)
      // Errors are thrown: run-command-line.ts prints them.
      .exitOverride()
      .configureOutput({ outputError: () => undefined })
      .configureHelp({ helpWidth: 110 })
  );
}

/** Names which installation a command talks to; see target/choose-target.ts. */
export function withTarget(command: Command): Command {
  return command.option(
    '--profile <name>',
    'use this login instead of the current one; local: the one on this machine',
  );
}

export function withJson(command: Command): Command {
  return command.option('--json', 'print JSON');
}

export function withWait(command: Command): Command {
  return command
    .option('--no-wait', 'return at once')
    .option('--timeout <duration>', 'how long to wait: a number with s, m, h or d', '10m');
}
