import { fork } from 'node:child_process';
import { join } from 'node:path';
import type { Config } from '../../config/config.ts';
import { CHILDREN_PROTOCOL, type SettingsAnswer } from '../messages.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'main.ts');
const READ_MS = 60_000;

export type NextSettings =
  | { readonly kind: 'settings'; readonly config: Config; readonly version: string }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

/** The configuration as the code on disk reads it now, or why it cannot replace the running one (`current`). */
export async function readNextSettings(current: Config): Promise<NextSettings> {
  const answer = await askSettingsChild();
  if (answer.kind === 'problems') return answer;
  const { config, version, protocol } = answer;
  const problems =
    protocol === CHILDREN_PROTOCOL
      ? fixedSettings(current, config).map(
          (name) => `${name} cannot be changed while Podgate is running; stop it and start it again.`,
        )
      : [`Version ${version} cannot take over from the running one; stop Podgate and start it again.`];
  return problems.length > 0 ? { kind: 'problems', problems } : { kind: 'settings', config, version };
}

function askSettingsChild(): Promise<SettingsAnswer> {
  return new Promise((resolve) => {
    const child = fork(MAIN, ['settings'], { stdio: 'inherit', timeout: READ_MS, killSignal: 'SIGKILL' });
    let answer: SettingsAnswer = { kind: 'problems', problems: ['The configuration could not be read; see the log.'] };
    child.on('message', (message) => (answer = message as SettingsAnswer));
    // No 'exit' follows when the process could not be created.
    child.on('error', () => resolve(answer));
    child.once('exit', () => resolve(answer));
  });
}

/** Names of changed settings that the supervisor itself uses: sockets, data directory, number of workers. */
export function fixedSettings(current: Config, next: Config): readonly string[] {
  const names: string[] = [];
  const compare = (name: string, before: unknown, after: unknown): void => {
    if (JSON.stringify(before) !== JSON.stringify(after)) names.push(name);
  };
  // 0 = any free port, so the present one is fine.
  const port = (name: string, before: number, after: number): void =>
    compare(name, before, after === 0 ? before : after);
  compare('PODGATE_HOST', [current.listenHosts, current.controlHost], [next.listenHosts, next.controlHost]);
  port('PODGATE_HTTPS_PORT', current.httpsPort, next.httpsPort);
  port('PODGATE_HTTP_PORT', current.httpPort, next.httpPort);
  port('PODGATE_CONTROL_PORT', current.controlPort, next.controlPort);
  compare('PODGATE_CONFIG listeners', current.listeners, next.listeners);
  compare('PODGATE_DATA_DIR', current.dataDir, next.dataDir);
  compare('PODGATE_WORKERS', current.workers, next.workers);
  compare('PODGATE_ROLES', current.roles, next.roles);
  compare('PODGATE_ORCHESTRATOR', current.orchestrator, next.orchestrator);
  return names;
}
