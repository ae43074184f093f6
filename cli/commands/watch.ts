import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { CliError, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { print, printJson } from '../output/print.ts';
import { podTable } from '../pods/pod-text.ts';
import { listPods, type Pod } from '../pods/pod.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';

const ENTER_SCREEN = '\u001b[?1049h\u001b[?25l';
const LEAVE_SCREEN = '\u001b[?25h\u001b[?1049l';
const DRAW_FROM_TOP = '\u001b[H';
const CLEAR_LINE_END = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';

export function watchCommand(): Command {
  return withTarget(
    withJson(
      createCommand('watch', {
        description: `Shows your pods as they change, until Ctrl-C: a live table on a terminal, one line for each change of a status
elsewhere.`,
        examples: [
          ['watch', ''],
          ['watch mypg mygraph', 'these only'],
          ['watch --json', 'one JSON object per line: time, pod_id, status, previous'],
        ],
      }),
    ),
  )
    .argument('[pods...]', 'these pods only')
    .option('--interval <seconds>', 'between two looks', '1')
    .action(async (podIds: readonly string[], options: OutputOptions & TargetOptions & { interval: string }) => {
      const intervalMs = Number(options.interval) * 1000;
      if (!(intervalMs >= 100 && intervalMs <= 3_600_000)) {
        throw new CliError(EXIT_USAGE, '--interval must be a number of seconds from 0.1 to 3600');
      }
      const target = chooseTarget(options);
      const read = async (): Promise<readonly Pod[]> =>
        (await listPods(target)).filter(({ pod_id: podId }) => podIds.length === 0 || podIds.includes(podId));
      const isLive = process.stdout.isTTY && options.json !== true && process.env['TERM'] !== 'dumb';
      if (isLive) await showTable(read, intervalMs);
      else await printChanges(read, intervalMs, options.json === true);
    });
}

async function showTable(read: () => Promise<readonly Pod[]>, intervalMs: number): Promise<never> {
  // Whatever ends it, the terminal gets back what it showed.
  process.on('exit', () => process.stdout.write(LEAVE_SCREEN));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(0));
  print(ENTER_SCREEN);
  for (;;) {
    const pods = await read();
    const text = `${podTable(pods, Date.now())}\n${pods.length} pods, ${new Date().toLocaleTimeString()}. Ctrl-C ends.\n`;
    const lines = text.split('\n').slice(0, (process.stdout.rows || 24) - 1);
    print(`${DRAW_FROM_TOP}${lines.map((line) => `${line}${CLEAR_LINE_END}\n`).join('')}${CLEAR_BELOW}`);
    await delay(intervalMs);
  }
}

async function printChanges(read: () => Promise<readonly Pod[]>, intervalMs: number, json: boolean): Promise<never> {
  let known = new Map<string, string>();
  for (;;) {
    const now = new Map((await read()).map(({ pod_id: podId, status }) => [podId, status]));
    for (const podId of new Set([...known.keys(), ...now.keys()])) {
      const [previous, status] = [known.get(podId) ?? null, now.get(podId) ?? 'DELETED'];
      if (previous === status) continue;
      const time = new Date().toISOString();
      if (json) printJson({ time, pod_id: podId, status, previous });
      else print(`${time}  ${podId}  ${status}\n`);
    }
    known = now;
    await delay(intervalMs);
  }
}
