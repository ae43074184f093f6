import type { Command } from 'commander';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { printResult } from '../output/print.ts';
import { podText } from '../pods/pod-text.ts';
import { readPod, readPodMetrics } from '../pods/pod.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';

export function showCommand(): Command {
  return withTarget(
    withJson(
      createCommand('show', {
        description:
          'Shows one pod: status and its reason, memory and CPU in use, addresses, times, and what was last done to it.',
        examples: [
          ['show mypg', ''],
          ['show mypg --json', "the pod, as the API's GET /v3/pods/mypg has it"],
        ],
      }),
    ),
  )
    .argument('<pod>')
    .action(async (podId: string, options: OutputOptions & TargetOptions) => {
      const target = chooseTarget(options);
      const pod = await readPod(target, podId);
      const isMeasured = pod.status === 'RUNNING' && options.json !== true;
      printResult(options, pod, podText(pod, isMeasured ? await readPodMetrics(target, podId) : null));
    });
}
