import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { kindOfError } from '../core/error-code.ts';
import { loadConfig } from '../config/load-config.ts';
import type { Config } from '../config/config.ts';
import { CliError, EXIT_FAILED, EXIT_NOT_RUNNING } from './cli-error.ts';

const DEADLINE_MS = 30_000;

/** The running program of a data directory, as its supervisor has noted. */
export interface Installation {
  readonly config: Config;
  readonly httpsPort: number;
  readonly controlPort: number;
  readonly caPath: string;
}

/** Reads the settings as the program does. Ports it has chosen itself are in a file of the data directory. */
export function findInstallation(): Installation {
  const config = loadConfig(process.env, process.cwd());
  let endpoints: { httpsPort?: unknown; controlPort?: unknown };
  try {
    endpoints = JSON.parse(readFileSync(join(config.dataDir, 'endpoints.json'), 'utf8')) as typeof endpoints;
  } catch {
    throw new CliError(
      EXIT_NOT_RUNNING,
      `no Podgate has run with the data directory ${config.dataDir}; start it with npm start, or name another one by PODGATE_DATA_DIR`,
    );
  }
  const { httpsPort, controlPort } = endpoints;
  if (typeof httpsPort !== 'number' || typeof controlPort !== 'number') {
    throw new CliError(EXIT_NOT_RUNNING, `${config.dataDir}/endpoints.json is damaged; start Podgate again`);
  }
  return { config, httpsPort, controlPort, caPath: join(config.dataDir, 'ca.pem') };
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

/** A call to the API as the administrator. Answers status and result; the envelope's message is said when it fails. */
export async function callApi(
  installation: Installation,
  path: string,
): Promise<{ readonly status: number; readonly message: string; readonly result: unknown }> {
  let token: string;
  try {
    token = readFileSync(join(installation.config.dataDir, 'admin.token'), 'utf8').trim();
  } catch {
    throw new CliError(EXIT_FAILED, 'the token file admin.token cannot be read: is this your data directory?');
  }
  let answer: Response;
  try {
    answer = await fetch(`http://127.0.0.1:${installation.controlPort}${path}`, {
      headers: { 'x-tapis-token': token },
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
  } catch {
    throw new CliError(
      EXIT_NOT_RUNNING,
      `Podgate does not answer on port ${installation.controlPort}; start it with npm start`,
    );
  }
  const body = (await answer.json()) as { message?: unknown; result?: unknown };
  const message = Array.isArray(body.message) ? body.message.join(' ') : String(body.message);
  return { status: answer.status, message, result: body.result ?? null };
}
