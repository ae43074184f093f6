import type { Command } from 'commander';
import { PODGATE } from '../called-as.ts';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { print, printJson } from '../output/print.ts';
import { oneLine } from '../output/table.ts';
import { podTable } from '../pods/pod-text.ts';
import { listPods } from '../pods/pod.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';

export function listCommand(): Command {
  return withTarget(
    withJson(
      createCommand('list', {
        description: 'Lists the pods you may read, with status, address, and how long each has been up.',
        examples: [
          ['list', ''],
          ['list --quiet', 'only the names, one per line'],
          ['list --json', "an array of pods, as the API's GET /v3/pods has them"],
        ],
      }),
    ),
  )
    .option('-q, --quiet', 'only the names')
    .action(async (options: OutputOptions & TargetOptions & { quiet?: boolean }) => {
      const pods = await listPods(chooseTarget(options));
      if (options.json === true) printJson(pods);
      else if (options.quiet === true) print(pods.map(({ pod_id: podId }) => `${oneLine(podId)}\n`).join(''));
      else if (pods.length === 0)
        process.stderr.write(`no pods yet; create one: ${PODGATE} create mypg --template postgres\n`);
      else print(podTable(pods, Date.now()));
    });
}
