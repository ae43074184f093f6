import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { RESTART_NOTE } from '../../main/messages.ts';
import { CliError, EXIT_FAILED, EXIT_NOT_RUNNING, EXIT_USAGE } from '../cli-error.ts';
import { createCommand, withJson, withTarget, withWait } from '../command.ts';
import { printResult } from '../output/print.ts';
import type { WaitOptions } from '../pods/run-wish.ts';
import { findInstallation, isAlive, runningSupervisor } from '../target/installation.ts';

const LOOK_MS = 50;
const DEADLINE_MS = 10 * 60_000;

interface RestartOptions extends WaitOptions {
  readonly workers?: boolean;
}

export function restartCommand(): Command {
  return withWait(
    withTarget(
      withJson(
        createCommand('restart', {
          description: `Restarts pods; without a pod, restarts Podgate itself without downtime.

With pods: stops and starts them, and waits until every gateway routes to them.

Without: replaces the control process, then each gateway worker in turn, with the code and configuration (PODGATE_CONFIG)
now on disk; with --workers, only the workers. No connection is refused. Running sessions stay in their old worker, which
exits after the last of them ends, or after drain.replacedMs. Pods are not affected. Same as sending SIGUSR2 (workers
only: SIGHUP) to the process in supervisor.pid of the data directory.`,
          examples: [
            ['restart mypg', 'a pod'],
            ['restart', 'Podgate, after an upgrade or a change of the configuration'],
            ['restart --workers', 'only the gateway workers'],
          ],
        }),
      ),
    ),
  )
    .argument('[pods...]')
    .option('--workers', 'only the gateway workers of Podgate')
    .action(async (podIds: readonly string[], options: RestartOptions) => {
      if (podIds.length > 0) {
        if (options.workers === true) throw new CliError(EXIT_USAGE, '--workers is for Podgate itself: name no pod');
        const { runWish } = await import('../pods/run-wish.ts');
        await runWish('restart', podIds, options);
        return;
      }
      if (options.profile !== undefined && options.profile !== 'local') {
        throw new CliError(EXIT_USAGE, 'name a pod; Podgate itself can be restarted only on its own machine');
      }
      await restartPodgate(options.workers === true);
      printResult(options, { restarted: true }, 'restarted\n');
    });
}

/** Returns once it is done. */
async function restartPodgate(workersOnly: boolean): Promise<void> {
  const { dataDir } = findInstallation();
  const pid = supervisorOf(dataDir);
  const note = join(dataDir, RESTART_NOTE);
  const before = inodeOf(note);
  process.kill(pid, workersOnly ? 'SIGHUP' : 'SIGUSR2');
  const endMs = performance.now() + DEADLINE_MS;
  while (inodeOf(note) === before) {
    if (!isAlive(pid)) throw new CliError(EXIT_FAILED, 'Podgate exited during the restart; see its log for the reason');
    if (performance.now() > endMs)
      throw new CliError(EXIT_FAILED, 'the restart did not finish within 10 minutes; see the log');
    await delay(LOOK_MS);
  }
  const { problems } = JSON.parse(readFileSync(note, 'utf8')) as { readonly problems: readonly string[] };
  if (problems.length > 0) throw new CliError(EXIT_FAILED, `not restarted: ${problems.join(' ')}`);
}

function supervisorOf(dataDir: string): number {
  const pid = runningSupervisor(dataDir);
  if (pid === null) {
    throw new CliError(EXIT_NOT_RUNNING, `no Podgate is running with the data directory ${dataDir}`);
  }
  return pid;
}

/** Every note is a new file. */
function inodeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}
