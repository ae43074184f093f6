import type { Command } from 'commander';
import { createCommand, withJson, withTarget, withWait } from '../command.ts';
import { runWish, type WaitOptions } from '../pods/run-wish.ts';

export function stopCommand(): Command {
  return withWait(
    withTarget(
      withJson(
        createCommand('stop', {
          description: 'Stops pods, and waits until they are stopped. Their persistent volumes stay.',
          examples: [
            ['stop mypg', ''],
            ['stop mypg mygraph --no-wait', 'only ask for it'],
          ],
        }),
      ),
    ),
  )
    .argument('<pods...>')
    .action(async (podIds: readonly string[], options: WaitOptions) => {
      await runWish('stop', podIds, options);
    });
}
