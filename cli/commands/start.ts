import type { Command } from 'commander';
import { createCommand, withJson, withTarget, withWait } from '../command.ts';
import { runWish, type WaitOptions } from '../pods/run-wish.ts';

export function startCommand(): Command {
  return withWait(
    withTarget(
      withJson(
        createCommand('start', {
          description: 'Starts pods, and waits until every gateway routes to them.',
          examples: [
            ['start mypg', ''],
            ['start mypg mygraph --no-wait', 'only ask for it'],
          ],
        }),
      ),
    ),
  )
    .argument('<pods...>')
    .action(async (podIds: readonly string[], options: WaitOptions) => {
      await runWish('start', podIds, options);
    });
}
