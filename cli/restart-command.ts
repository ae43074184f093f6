import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { RESTART_NOTE } from '../main/messages.ts';
import { CliError, EXIT_FAILED, EXIT_NOT_RUNNING, EXIT_USAGE } from './cli-error.ts';
import { findInstallation, isAlive, runningSupervisor } from './installation.ts';

export const RESTART_HELP = `npx podgate restart [--workers]

Replaces the control process, then each gateway worker in turn, with the code and configuration (PODGATE_CONFIG) now on
disk; with --workers, only the workers. No connection is refused. Running sessions stay in their old worker, which exits
after the last of them ends, or after drain.replacedMs. Pods are not affected.
Same as sending SIGUSR2 (workers only: SIGHUP) to the process in supervisor.pid of the data directory.
`;

const LOOK_MS = 50;
const DEADLINE_MS = 10 * 60_000;

/** Answers what to print, once it is done. */
export async function restartCommand(args: readonly string[]): Promise<string> {
  const [what, ...others] = args;
  if (what === '--help' || what === '-h') return RESTART_HELP;
  if ((what !== undefined && what !== '--workers') || others.length > 0) {
    throw new CliError(EXIT_USAGE, 'usage: npx podgate restart [--workers]');
  }
  const { dataDir } = findInstallation().config;
  const pid = supervisorOf(dataDir);
  const note = join(dataDir, RESTART_NOTE);
  const before = inodeOf(note);
  process.kill(pid, what === '--workers' ? 'SIGHUP' : 'SIGUSR2');
  const endMs = performance.now() + DEADLINE_MS;
  while (inodeOf(note) === before) {
    if (!isAlive(pid)) throw new CliError(EXIT_FAILED, 'Podgate has ended meanwhile; its log says why');
    if (performance.now() > endMs)
      throw new CliError(EXIT_FAILED, 'it is not done after 10 minutes; the log says more');
    await delay(LOOK_MS);
  }
  const { problems } = JSON.parse(readFileSync(note, 'utf8')) as { readonly problems: readonly string[] };
  if (problems.length > 0) throw new CliError(EXIT_FAILED, `not restarted: ${problems.join(' ')}`);
  return 'restarted\n';
}

function supervisorOf(dataDir: string): number {
  const pid = runningSupervisor(dataDir);
  if (pid === null) {
    throw new CliError(EXIT_NOT_RUNNING, `no Podgate runs with the data directory ${dataDir}`);
  }
  return pid;
}

/** Every note is a new file. */
function inodeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}
