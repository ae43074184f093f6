import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDataDirectoryNamed } from '../../config/data-directory.ts';
import { CliError, EXIT_FAILED, EXIT_USAGE } from '../cli-error.ts';
import { nearestTo } from '../output/nearest.ts';
import { findInstallation } from './installation.ts';
import { caPathOf, readLogins } from './logins.ts';
import type { Target } from './target.ts';

export interface TargetOptions {
  readonly profile?: string;
}

/**
 * The profile that is named, else the installation of PODGATE_DATA_DIR, else the current login, else the installation on
 * this machine.
 */
export function chooseTarget({ profile }: TargetOptions): Target {
  if (profile === 'local') return localTarget();
  if (profile !== undefined) return loginTarget(profile);
  if (isDataDirectoryNamed(process.env)) return localTarget();
  const { current } = readLogins();
  return current === null ? localTarget() : loginTarget(current);
}

function loginTarget(profile: string): Target {
  const { profiles } = readLogins();
  const login = profiles[profile];
  if (login === undefined) {
    const near = nearestTo(profile, Object.keys(profiles));
    const hint = near === null ? 'log in with: podgate login' : `did you mean ${near}?`;
    throw new CliError(EXIT_USAGE, `there is no login ${profile}; ${hint}`);
  }
  const { origin, token, hasCa } = login;
  return { profile, origin, token, caPath: hasCa ? caPathOf(profile) : null, gateway: null };
}

function localTarget(): Target {
  const { dataDir, address, httpsPort, controlPort, caPath } = findInstallation();
  return {
    profile: 'local',
    origin: `http://127.0.0.1:${controlPort}`,
    token: adminToken(dataDir),
    caPath: existsSync(caPath) ? caPath : null,
    gateway: { address, port: httpsPort },
  };
}

function adminToken(dataDir: string): string {
  try {
    return readFileSync(join(dataDir, 'admin.token'), 'utf8').trim();
  } catch {
    throw new CliError(
      EXIT_FAILED,
      'the token file admin.token cannot be read; check that this is your data directory, or use a token of your own: podgate login',
    );
  }
}
