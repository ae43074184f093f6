import type { Command } from 'commander';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { ask, canAsk } from '../output/ask.ts';
import { print, printJson } from '../output/print.ts';
import { callForPod, podPath, readPod } from '../pods/pod.ts';
import { chooseTarget, type TargetOptions } from '../target/choose-target.ts';

interface DeleteOptions extends OutputOptions, TargetOptions {
  readonly yes?: boolean;
  readonly keepVolume?: boolean;
}

export function deleteCommand(): Command {
  return withTarget(
    withJson(
      createCommand('delete', {
        description: `Deletes pods with their data, after asking. A name is free again once everything is gone.`,
        examples: [
          ['delete mypg', ''],
          ['delete mypg mygraph --yes', 'without asking'],
          ['delete mypg --keep-volume', 'an operator finds the volume with: podgate kept-volumes'],
        ],
      }),
    ),
  )
    .argument('<pods...>')
    .option('-y, --yes', 'do not ask')
    .option('--keep-volume', 'keep the persistent volume')
    .action(async (podIds: readonly string[], options: DeleteOptions) => {
      const target = chooseTarget(options);
      // A mistyped name is found before anything is deleted.
      for (const podId of podIds) await readPod(target, podId);
      if (options.yes !== true) await confirmed(podIds, target.origin, options.keepVolume === true);
      const query = options.keepVolume === true ? '?keep_volume=true' : '';
      for (const podId of podIds) {
        await callForPod(target, podId, { method: 'DELETE', path: `${podPath(podId)}${query}` });
        if (options.json !== true) print(`${podId} is being deleted\n`);
      }
      if (options.json === true) printJson(podIds.map((podId) => ({ pod_id: podId, deleted: true })));
    });
}

/** Returns when its user agrees. Throws CliError otherwise. */
async function confirmed(podIds: readonly string[], origin: string, keepsVolume: boolean): Promise<void> {
  if (!canAsk()) {
    throw new CliError(EXIT_USAGE, 'nothing was deleted: without a terminal to ask on, use --yes');
  }
  const data = keepsVolume ? 'their volumes are kept' : 'with all data';
  if (!(await ask(`Delete ${podIds.join(', ')} of ${origin}, ${data}?`)))
    throw new CliError(EXIT_FAILED, 'nothing was deleted');
}
