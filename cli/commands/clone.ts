import type { Command } from 'commander';
import { createCommand, withJson, withTarget, withWait } from '../command.ts';
import { podPath } from '../pods/pod.ts';
import type { WaitOptions } from '../pods/run-wish.ts';
import { startNewPod } from '../pods/start-new-pod.ts';

export function cloneCommand(): Command {
  return withWait(
    withTarget(
      withJson(
        createCommand('clone', {
          description: `Creates a pod like another one, with a copy of its data, and waits until every gateway routes to it.

The copy is consistent. A Postgres may be in use; a Neo4j has to be stopped first. The new pod has
the same user name and a password of its own. You need USER on the original.`,
          examples: [
            ['clone mypg mypgcopy', ''],
            ['psql mypgcopy', 'what is done there does not change mypg'],
          ],
        }),
      ),
    ),
  )
    .argument('<pod>', 'whose data is copied')
    .argument('<new-pod>', 'lower-case letters and digits')
    .action(async (podId: string, newPodId: string, options: WaitOptions) => {
      await startNewPod(newPodId, { path: podPath(podId, '/clone'), body: { pod_id: newPodId } }, options);
    });
}
