import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig } from '../config/load-config.ts';
import { signToken } from '../control/auth/sign-token.ts';
import { makeTokenKey } from '../control/auth/token-key.ts';
import { CliError, EXIT_FAILED, EXIT_NOT_RUNNING, EXIT_USAGE } from './cli-error.ts';

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };
const LIFETIME_MAX_SECONDS = 10 * 365 * 86_400;

/** A token of the default tenant, signed with the key of the data directory. */
export async function tokenCommand(username: string, lifetime: string): Promise<string> {
  const lifetimeSeconds = parseLifetime(lifetime);
  if (lifetimeSeconds === null) {
    throw new CliError(EXIT_USAGE, '--lifetime must be a number with s, m, h or d, such as 12h; ten years at most');
  }
  const { tenants, dataDir } = loadConfig(process.env, process.cwd());
  const [tenant] = tenants;
  if (tenant.key !== null) {
    throw new CliError(
      EXIT_FAILED,
      `tokens of tenant ${tenant.id} are signed by whoever has the key to its public key`,
    );
  }
  const path = join(dataDir, 'token.key');
  if (!existsSync(path)) {
    throw new CliError(EXIT_NOT_RUNNING, `there is no key in ${dataDir} yet; start Podgate once with npm start`);
  }
  return await signToken({
    username,
    tenant: tenant.id,
    issuer: tenant.issuer,
    lifetimeSeconds,
    key: await makeTokenKey(path),
  });
}

/** Seconds of `90`, `15m`, `12h` or `30d`; null when it is none of these. */
export function parseLifetime(text: string): number | null {
  const match = /^(\d{1,10})([smhd]?)$/.exec(text);
  if (match === null) return null;
  const seconds = Number(match[1]) * (UNIT_SECONDS[match[2] === '' ? 's' : (match[2] ?? 's')] ?? 1);
  return seconds >= 1 && seconds <= LIFETIME_MAX_SECONDS ? seconds : null;
}
