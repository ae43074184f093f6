import type { Command } from 'commander';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { parseDuration } from '../duration.ts';
import { print, printJson } from '../output/print.ts';
import { callForPod, podPath } from '../pods/pod.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';
import type { Target } from '../target/target.ts';

/** As the API bounds it. */
const INPUT_MAX_BYTES = 1024 * 1024;
const TIMEOUT_MAX_SECONDS = 3_600;
/** For the call around the command. */
const MARGIN_MS = 60_000;
/** As timeout(1) has it: the command was ended. */
const EXIT_ENDED = 124;

interface ExecOptions extends OutputOptions, TargetOptions {
  readonly stdin?: boolean;
  readonly tty?: boolean;
  readonly timeout: string;
}

interface ExecResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exit_code: number | null;
  readonly reason: string;
}

export function execCommand(): Command {
  return withTarget(
    withJson(
      createCommand('exec', {
        description: `Runs a command in a running pod, as the pod's user, and prints its output when it ends. With -t, on a terminal. ADMIN.

No shell interprets the command: name one if you need it. Pass secrets on the standard input.`,
        examples: [
          ['exec mypod -- ls -l /data', ''],
          [`exec mypod -- sh -c 'echo $HOME'`, ''],
          ['exec -it mypod -- sh', 'a shell on its own terminal'],
          ['exec -i mypg -- psql < schema.sql', 'with the standard input of podgate, up to 1 MiB'],
          ['exec mypod --json -- date', '{"command", "stdout", "stderr", "exit_code", "reason", ...}'],
        ],
        exitCodes: `the command's own, ${EXIT_ENDED} if it was ended; before it runs: 1 failed, 2 usage error, 3 Podgate cannot be reached`,
      }),
    ),
  )
    .argument('<pod>')
    .argument('<command...>', 'the program and its arguments, after --')
    .option('-i, --stdin', 'pass on the standard input')
    .option('-t, --tty', 'open a terminal in the pod; it ends with this command')
    .option(
      '--timeout <duration>',
      'how long it may run: a number with s, m or h, at most 1h; not for a terminal',
      '5m',
    )
    .action(async (podId: string, command: readonly string[], options: ExecOptions) => {
      const seconds = parseDuration(options.timeout);
      if (seconds === null || seconds > TIMEOUT_MAX_SECONDS) {
        throw new CliError(EXIT_USAGE, `--timeout ${options.timeout}: must be a duration of at most 1h`);
      }
      const target = chooseTarget(options);
      if (options.tty === true) {
        process.exitCode = await runOnTerminal(target, podId, command, options);
        return;
      }
      const stdin = options.stdin === true ? await readInput() : undefined;
      const answer = (await callForPod(target, podId, {
        method: 'POST',
        path: podPath(podId, '/exec'),
        body: { commands: [command], command_timeout: seconds, total_timeout: seconds, stdin },
        deadlineMs: seconds * 1_000 + MARGIN_MS,
      })) as { readonly execution_results: readonly ExecResult[] };
      const [result] = answer.execution_results;
      if (result === undefined) throw new CliError(EXIT_FAILED, 'the command did not run in time');
      if (options.json === true) printJson(result);
      else {
        print(result.stdout);
        process.stderr.write(result.stderr);
        if (result.reason !== '') process.stderr.write(`podgate: ${result.reason}\n`);
      }
      process.exitCode = result.exit_code ?? EXIT_ENDED;
    });
}

async function runOnTerminal(
  target: Target,
  podId: string,
  command: readonly string[],
  { json }: ExecOptions,
): Promise<number> {
  if (json === true) throw new CliError(EXIT_USAGE, '--json: a terminal has no JSON; leave out -t');
  if (!process.stdin.isTTY || !process.stdout.isTTY) {
    throw new CliError(EXIT_USAGE, '-t: standard input and output must be a terminal; leave out -t in scripts');
  }
  const { openTerminal } = await import('../pods/terminal.ts');
  return await openTerminal(target, podId, command);
}

/** As text, which is what the API takes. */
async function readInput(): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of process.stdin as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > INPUT_MAX_BYTES) {
      throw new CliError(EXIT_FAILED, 'the standard input has more than 1 MiB; copy it with: podgate cp');
    }
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}
