import { rename, rm, writeFile } from 'node:fs/promises';
import type { Config } from '../../config/config.ts';
import { ADMINISTRATOR_ROLE } from '../../control/auth/authenticator.ts';
import { signToken } from '../../control/auth/sign-token.ts';
import type { TokenKey } from '../../control/auth/token-key.ts';
import { pause } from '../../core/abort.ts';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';

const LIFETIME_SECONDS = 30 * 24 * 3600;
const RENEW_EVERY_MS = 24 * 3600 * 1000;
const RETRY_MS = 60_000;

export interface AdminTokenOptions {
  readonly path: string;
  readonly tenant: Config['tenants'][number];
  readonly key: TokenKey;
  readonly log: Logger;
}

/**
 * Writes a new administrator token to a file that only this user can read, atomically. Returns whether it succeeded: if the
 * disk is full, the present token remains valid for weeks, so that is no reason to exit.
 */
export async function writeAdminToken({ path, tenant, key, log }: AdminTokenOptions): Promise<boolean> {
  const token = await signToken({
    username: 'admin',
    tenant: tenant.id,
    issuer: tenant.issuer,
    roles: [ADMINISTRATOR_ROLE],
    lifetimeSeconds: LIFETIME_SECONDS,
    key,
  });
  try {
    await writeFile(`${path}.new`, `${token}\n`, { mode: 0o600 });
    await rename(`${path}.new`, path);
    return true;
  } catch (error) {
    log.error({ path, error: errorText(error) }, 'failed to write the token file; retrying');
    return false;
  }
}

/**
 * Writes the token file and returns the loop that keeps it fresh. Without a key, the tenant signs its own tokens: a
 * leftover file is removed, and there is no loop (null).
 */
export async function prepareAdminToken(
  options: Omit<AdminTokenOptions, 'key'> & { readonly key: TokenKey | null },
): Promise<((signal: AbortSignal) => Promise<void>) | null> {
  const { key, path } = options;
  if (key === null) {
    await rm(path, { force: true });
    return null;
  }
  const isWritten = await writeAdminToken({ ...options, key });
  return (signal) => keepAdminToken({ ...options, key }, isWritten, signal);
}

/** Renews it long before it expires, until the signal aborts. `isWritten`: it has just been written. */
export async function keepAdminToken(
  options: AdminTokenOptions,
  isWritten: boolean,
  signal: AbortSignal,
): Promise<void> {
  for (let written = isWritten; ; written = await writeAdminToken(options)) {
    await pause(written ? RENEW_EVERY_MS : RETRY_MS, signal);
    if (signal.aborted) return;
  }
}
