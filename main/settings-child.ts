import { certificateFileProblems } from '../certs/files/certificate-files.ts';
import { loadConfig } from '../config/load-config.ts';
import { PodgateError } from '../core/errors.ts';
import { CHILDREN_PROTOCOL, type SettingsAnswer } from './messages.ts';
import { readVersion } from './version.ts';

/**
 * Reads the configuration for a supervisor that runs already, and ends. A process of its own, since it is the code on the
 * disk that must understand the configuration, and that is newer than the supervisor's after an upgrade.
 */
export async function runSettingsChild(): Promise<void> {
  const answer = await readSettings();
  process.send?.(answer, undefined, undefined, () => process.exit(0));
}

async function readSettings(): Promise<SettingsAnswer> {
  try {
    const config = loadConfig(process.env, process.cwd());
    const problems = await certificateFileProblems(config.certificates);
    if (problems.length > 0) {
      return { kind: 'problems', problems: problems.map((problem) => `PODGATE_CONFIG certificates: ${problem}.`) };
    }
    return { kind: 'settings', config, version: readVersion(), protocol: CHILDREN_PROTOCOL };
  } catch (error) {
    if (!(error instanceof PodgateError) || error.code !== 'config.invalid') throw error;
    return { kind: 'problems', problems: error.publicMessages };
  }
}
