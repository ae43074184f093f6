import { certificateFileProblems } from '../../certs/files/certificate-files.ts';
import { loadConfig } from '../../config/load-config.ts';
import { PodgateError } from '../../core/errors.ts';
import { openDataDirectory } from '../data-directory.ts';
import { EXIT_CONFIG } from '../messages.ts';
import { enterOwnUserNamespace } from '../own-user-namespace.ts';
import { openListeningSockets } from './listening-sockets.ts';
import { Supervisor } from './supervisor.ts';

/** The root of the program. Prints what is wrong with the configuration, if anything, and exits with EXIT_CONFIG then. */
export async function runSupervisor(): Promise<void> {
  const startedMs = performance.now();
  // Nobody reads our output any more: no reason to stop working.
  process.stdout.on('error', () => undefined);
  process.stderr.on('error', () => undefined);
  try {
    const config = loadConfig(process.env, process.cwd());
    const problems = await certificateFileProblems(config.certificates);
    if (problems.length > 0) {
      throw new PodgateError('config.invalid', {
        publicMessages: problems.map((problem) => `PODGATE_CONFIG certificates: ${problem}.`),
      });
    }
    enterOwnUserNamespace(config);
    const directory = await openDataDirectory(config.dataDir);
    const sockets = await openListeningSockets(config).catch((error: unknown) => {
      directory.release();
      throw error;
    });
    new Supervisor(config, directory, sockets, startedMs).start();
  } catch (error) {
    if (!(error instanceof PodgateError) || error.code !== 'config.invalid') throw error;
    process.stderr.write(`podgate: cannot start:\n${error.publicMessages.map((text) => `  ${text}\n`).join('')}`);
    process.exitCode = EXIT_CONFIG;
  }
}
