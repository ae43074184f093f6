import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { kindOfError } from '../../core/error-code.ts';
import type { Config } from '../../config/config.ts';
import { dataDirectoryOf, isDataDirectoryNamed } from '../../config/data-directory.ts';
import { dialable } from '../../main/dialable.ts';
import { CliError, EXIT_NOT_RUNNING } from '../cli-error.ts';

const ROOT = join(import.meta.dirname, '../..');
const ENDPOINTS = 'endpoints.json';

/** The Podgate of a data directory, as its supervisor has recorded it at its start. */
export interface Installation {
  readonly dataDir: string;
  /** Where the gateway is dialed on this machine. */
  readonly address: string;
  readonly httpsPort: number;
  readonly controlPort: number;
  readonly caPath: string;
}

/**
 * The data directory that commands use: the one PODGATE_DATA_DIR names, else .podgate of the current directory, else
 * .podgate of the checkout this command belongs to, where a Podgate has run.
 */
export function findDataDirectory(): string {
  const here = dataDirectoryOf(process.env, process.cwd());
  if (isDataDirectoryNamed(process.env) || existsSync(join(here, ENDPOINTS))) return here;
  const own = dataDirectoryOf({}, ROOT);
  return existsSync(join(own, ENDPOINTS)) ? own : here;
}

/** The settings as the program reads them. Throws PodgateError 'config.invalid'. */
export async function loadInstallationConfig(): Promise<Config> {
  const { loadConfig } = await import('../../config/load-config.ts');
  return loadConfig(installationEnvironment(), process.cwd());
}

export function installationEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env, PODGATE_DATA_DIR: findDataDirectory() };
}

export function findInstallation(): Installation {
  const dataDir = findDataDirectory();
  const { listenHost, httpsPort, controlPort } = readEndpoints(dataDir);
  if (typeof httpsPort !== 'number' || typeof controlPort !== 'number') {
    throw new CliError(EXIT_NOT_RUNNING, `${dataDir}/${ENDPOINTS} is damaged; start Podgate again`);
  }
  const address = dialable(typeof listenHost === 'string' ? listenHost : '127.0.0.1');
  return { dataDir, address, httpsPort, controlPort, caPath: join(dataDir, 'ca.pem') };
}

/** What the supervisor has recorded, unchecked. Throws CliError when nothing is there. */
export function readEndpoints(dataDir: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(readFileSync(join(dataDir, ENDPOINTS), 'utf8')) as Readonly<Record<string, unknown>>;
  } catch {
    throw new CliError(
      EXIT_NOT_RUNNING,
      `no Podgate has run with the data directory ${dataDir}; start it with npm start, or set PODGATE_DATA_DIR`,
    );
  }
}

/** The process number of the Podgate that runs with that data directory; null = none does. */
export function runningSupervisor(dataDir: string): number | null {
  let pid: number;
  try {
    pid = Number(readFileSync(join(dataDir, 'supervisor.pid'), 'utf8').trim());
  } catch {
    return null;
  }
  return Number.isInteger(pid) && pid > 1 && isAlive(pid) ? pid : null;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Of another user.
    return kindOfError(error) === 'forbidden';
  }
}
