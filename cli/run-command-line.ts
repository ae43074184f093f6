import { CommanderError } from 'commander';
import { errorText, PodgateError } from '../core/errors.ts';
import { asTyped, PODGATE } from './called-as.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from './cli-error.ts';
import type { CommandEntry } from './command.ts';
import { COMMANDS } from './command-table.ts';
import { nearestTo } from './output/nearest.ts';
import { rootHelp } from './root-help.ts';

/** Runs one command and sets the exit code. Whatever is thrown ends as a sentence on stderr, never as a stack trace. */
export async function runCommandLine(args: readonly string[]): Promise<void> {
  // `podgate list | head -1`: the reader has what it wants.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? 0 : EXIT_FAILED);
  });
  process.on('uncaughtException', (error) => process.exit(report(error, args[0] ?? '')));
  try {
    await dispatch(args);
  } catch (error) {
    process.exitCode = report(error, args[0] ?? '');
  }
}

async function dispatch(args: readonly string[]): Promise<void> {
  const [first, ...rest] = args;
  if (first === undefined) {
    process.stderr.write(rootHelp());
    process.exitCode = EXIT_USAGE;
  } else if (first === '--version' || first === '-V') {
    const { readVersion } = await import('../main/version.ts');
    process.stdout.write(`podgate ${readVersion()}\n`);
  } else if (first === '--help' || first === '-h' || (first === 'help' && rest.length === 0)) {
    process.stdout.write(rootHelp());
  } else if (first === 'help') {
    await dispatch([...rest, '--help']);
  } else if (first.startsWith('-')) {
    throw new CliError(EXIT_USAGE, `options go after the command: podgate <command> ${first}; see: podgate --help`);
  } else {
    const command = await entryOf(first).load();
    await command.parseAsync(rest, { from: 'user' });
  }
}

function entryOf(name: string): CommandEntry {
  const entry = COMMANDS.find((each) => each.name === name);
  if (entry !== undefined) return entry;
  const near = nearestTo(
    name,
    COMMANDS.map((each) => each.name),
  );
  const hint = near === null ? 'see: podgate --help' : `did you mean: podgate ${near}?`;
  throw new CliError(EXIT_USAGE, `there is no command ${JSON.stringify(name)}; ${hint}`);
}

/** Writes the error for its user and returns the exit code. */
function report(error: unknown, command: string): number {
  if (error instanceof CommanderError) {
    // Help is printed by then.
    if (error.exitCode === 0) return 0;
    process.stderr.write(`podgate: ${sentenceOf(error)}; see: ${PODGATE} ${command} --help\n`);
    return EXIT_USAGE;
  }
  const messages = error instanceof PodgateError ? error.publicMessages : [errorText(error)];
  for (const message of messages) process.stderr.write(`podgate: ${asTyped(message)}\n`);
  return error instanceof CliError ? error.exitCode : EXIT_FAILED;
}

/** "error: unknown option '--jsn'\n(Did you mean --json?)" in the style of our own messages. */
function sentenceOf({ code, message }: CommanderError): string {
  if (code === 'commander.help') return 'a subcommand is missing';
  return message
    .replace(/^error: /, '')
    .replaceAll('\n', ' ')
    .replace(/\.$/, '');
}
