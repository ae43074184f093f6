import type { Command } from 'commander';
import { createCommand, type OutputOptions, withJson, withTarget } from '../command.ts';
import { requireAgreement } from '../output/ask.ts';
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
      if (options.yes !== true) {
        const data = options.keepVolume === true ? 'their volumes are kept' : 'with all data';
        await requireAgreement(`Delete ${podIds.join(', ')} of ${target.origin}, ${data}?`, 'nothing was deleted');
      }
      const query = options.keepVolume === true ? '?keep_volume=true' : '';
      for (const podId of podIds) {
        await callForPod(target, podId, { method: 'DELETE', path: `${podPath(podId)}${query}` });
        if (options.json !== true) print(`${podId} is being deleted\n`);
      }
      if (options.json === true) printJson(podIds.map((podId) => ({ pod_id: podId, deleted: true })));
    });
}
