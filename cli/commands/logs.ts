import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { print, printJson } from '../output/print.ts';
import { appendedText, lastLines } from '../pods/appended-text.ts';
import { callForPod, podPath } from '../pods/pod.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';
import { eventStream } from '../target/event-stream.ts';
import type { Target } from '../target/target.ts';

/** Of what a stream of logs begins with. */
const FOLLOW_BYTES = 256 * 1024;
const RETRY_MS = 1_000;
/** One after the other, before a stream that was lost is given up. */
const RETRIES_MAX = 10;

interface Logs {
  readonly logs: string;
  readonly action_logs: readonly string[];
}

interface LogsOptions extends OutputOptions, TargetOptions {
  readonly follow?: boolean;
  readonly previous?: boolean;
  readonly actions?: boolean;
  readonly tail?: string;
}

export function logsCommand(): Command {
  return withTarget(
    withJson(
      createCommand('logs', {
        description: 'Prints the output of a pod in its newest run (the last MB), or its action log.',
        examples: [
          ['logs mypg', ''],
          ['logs mypg -f --tail 20', 'the last 20 lines, then new output, until Ctrl-C'],
          ['logs mypg --previous', 'before its last restart'],
          ['logs mypg --actions', 'the actions of Podgate on the pod, and why'],
          ['logs mypg --json', '{"logs", "action_logs"}; with -f one {"logs"} per line, as it grows'],
        ],
      }),
    ),
  )
    .argument('<pod>')
    .option('-f, --follow', 'keep printing new output')
    .option('--previous', 'the output from before the last restart of the program, or of the previous run')
    .option('--tail <lines>', 'only the last lines')
    .option('--actions', 'the action log instead')
    .action(async (podId: string, options: LogsOptions) => {
      const tail = options.tail === undefined ? null : Number(options.tail);
      if (tail !== null && !(Number.isInteger(tail) && tail >= 0)) {
        throw new CliError(EXIT_USAGE, '--tail must be a number of lines');
      }
      if (options.follow === true && (options.previous === true || options.actions === true)) {
        throw new CliError(EXIT_USAGE, '--follow goes with neither --previous nor --actions: they do not grow');
      }
      const cut = (text: string): string => (tail === null ? text : lastLines(text, tail));
      const target = chooseTarget(options);
      if (options.follow === true) {
        await follow(target, podId, { cut, json: options.json === true });
        return;
      }
      const query = options.previous === true ? '?previous=true' : '';
      const { logs, action_logs: actions } = await readLogs(target, podId, query);
      if (options.json === true) printJson({ logs: cut(logs), action_logs: actions });
      else if (options.actions === true) print(cut(actions.map((line) => `${line}\n`).join('')));
      else print(cut(logs));
    });
}

async function follow(
  target: Target,
  podId: string,
  { cut, json }: { readonly cut: (text: string) => string; readonly json: boolean },
): Promise<never> {
  process.on('SIGINT', () => process.exit(0));
  const show = (logs: string): void => {
    if (logs === '') return;
    if (json) printJson({ logs });
    else print(logs);
  };
  const { logs: shown } = await readLogs(target, podId, '');
  show(cut(shown));
  const path = podPath(podId, `/logs?follow=true&tail_bytes=${FOLLOW_BYTES}`);
  let lastEventId: string | null = null;
  let isFirst = true;
  for (let failures = 0; ; failures += 1) {
    try {
      for await (const { id, event, data } of eventStream(target, { path, lastEventId })) {
        failures = 0;
        lastEventId = id ?? lastEventId;
        if (event !== 'output') continue;
        const { text } = JSON.parse(data) as { readonly text: string };
        // It begins with the end of what has been shown.
        show(isFirst ? appendedText(shown, text).text : text);
        isFirst = false;
      }
    } catch (error) {
      const isRefused = error instanceof CliError && error.exitCode === EXIT_FAILED;
      if (isRefused || lastEventId === null || failures >= RETRIES_MAX) throw error;
    }
    // It has ended after a while, or was lost: what was printed meanwhile comes behind the last event.
    await delay(RETRY_MS);
  }
}

async function readLogs(target: Target, podId: string, query: string): Promise<Logs> {
  return (await callForPod(target, podId, { method: 'GET', path: podPath(podId, `/logs${query}`) })) as Logs;
}
