import type { Command } from 'commander';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { printResult } from '../output/print.ts';
import { podText } from '../pods/pod-text.ts';
import { readPod } from '../pods/pod.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';

export function showCommand(): Command {
  return withTarget(
    withJson(
      createCommand('show', {
        description: 'Shows one pod: status and its reason, addresses, times, and what was last done to it.',
        examples: [
          ['show mypg', ''],
          ['show mypg --json', "the pod, as the API's GET /v3/pods/mypg has it"],
        ],
      }),
    ),
  )
    .argument('<pod>')
    .action(async (podId: string, options: OutputOptions & TargetOptions) => {
      const pod = await readPod(chooseTarget(options), podId);
      printResult(options, pod, podText(pod));
    });
}
