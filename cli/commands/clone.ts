import type { Command } from 'commander';
import { PODGATE } from '../called-as.ts';
import { createCommand, withJson, withTarget, withWait } from '../command.ts';
import { podPath } from '../pods/pod.ts';
import type { WaitOptions } from '../pods/run-wish.ts';
import { startNewPod } from '../pods/start-new-pod.ts';

interface CloneOptions extends WaitOptions {
  readonly snapshot?: string;
  readonly at?: string;
}

export function cloneCommand(): Command {
  return withWait(
    withTarget(
      withJson(
        createCommand('clone', {
          description: `Creates a pod like another one, with a copy of its data, and waits until every gateway routes to it.

The copy is consistent. A Postgres pod may be in use; a Neo4j pod must be stopped first. The new pod has
the same user name and its own password. You need USER on the original.

--snapshot and --at take the data from a snapshot (${PODGATE} snapshots create NAME --pod POD).`,
          examples: [
            ['clone mypg mypgcopy', ''],
            ['psql mypgcopy', 'changes there do not affect mypg'],
            ['clone mypg restored --snapshot nightlyt202611290330', 'with data from a snapshot'],
            ['clone mypg restored --at 2026-11-29T12:00:00Z', 'with the newest snapshot taken by then'],
          ],
        }),
      ),
    ),
  )
    .argument('<pod>', 'whose data is copied')
    .argument('<new-pod>', 'lower-case letters and digits')
    .option('--snapshot <id>', 'with the data of this snapshot, of this pod or of another one with the same template')
    .option('--at <time>', 'with the data of the newest snapshot taken by this time (ISO 8601)')
    .action(async (podId: string, newPodId: string, options: CloneOptions) => {
      const { snapshot, at } = options;
      const body = {
        pod_id: newPodId,
        ...(snapshot === undefined ? {} : { snapshot_id: snapshot }),
        ...(at === undefined ? {} : { at }),
      };
      await startNewPod(newPodId, { path: podPath(podId, '/clone'), body }, options);
    });
}
