import { rename, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '../config/config.ts';
import { ADMINISTRATOR_ROLE } from '../control/auth/authenticator.ts';
import { signToken } from '../control/auth/sign-token.ts';
import type { TokenKey } from '../control/auth/token-key.ts';

const LIFETIME_SECONDS = 30 * 24 * 3600;
const RENEW_EVERY_MS = 24 * 3600 * 1000;

export interface AdminTokenOptions {
  readonly path: string;
  readonly tenant: Config['tenants'][number];
  readonly key: TokenKey;
}

/** Writes a fresh administrator's token into a file for this user alone; it appears whole. */
export async function writeAdminToken({ path, tenant, key }: AdminTokenOptions): Promise<void> {
  const token = await signToken({
    username: 'admin',
    tenant: tenant.id,
    issuer: tenant.issuer,
    roles: [ADMINISTRATOR_ROLE],
    lifetimeSeconds: LIFETIME_SECONDS,
    key,
  });
  await writeFile(`${path}.new`, `${token}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
}

/** Renews it long before it ends, until the signal aborts. */
export async function keepAdminToken(options: AdminTokenOptions, signal: AbortSignal): Promise<void> {
  for (;;) {
    await delay(RENEW_EVERY_MS, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return;
    await writeAdminToken(options);
  }
}
