import { createPublicKey } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../../config/config.ts';
import { loadConfig } from '../../config/load-config.ts';
import { SHARED_UID_REFUSAL } from '../../control/auth/authenticator.ts';
import { signToken } from '../../control/auth/sign-token.ts';
import { makeTokenKey, type TokenKey } from '../../control/auth/token-key.ts';
import { wallsOfPods } from '../../main/own-user-namespace.ts';
import { arePodsSeparated, protectionOf } from '../../spawner/orchestrator/process/separation.ts';
import { parseDuration } from '../duration.ts';
import { installationEnvironment } from '../target/installation.ts';
import { CliError, EXIT_FAILED, EXIT_NOT_RUNNING, EXIT_USAGE } from '../cli-error.ts';

/** A token of the default tenant, signed with the key of the data directory, or with that of `keyFile`. */
export async function issueToken(
  username: string,
  lifetime: string,
  keyFile: string | null,
  { env = installationEnvironment(), isSeparated = willSeparatePods } = {},
): Promise<string> {
  const lifetimeSeconds = parseDuration(lifetime);
  if (lifetimeSeconds === null) {
    throw new CliError(
      EXIT_USAGE,
      '--lifetime must be a number followed by s, m, h or d, such as 12h, and at most ten years',
    );
  }
  const config = loadConfig(env, process.cwd());
  const [tenant] = config.tenants;
  if (!tenant.administrators.includes(username) && !isOpenToUsers(config, isSeparated)) {
    throw new CliError(
      EXIT_FAILED,
      `no token for ${username}: ${SHARED_UID_REFUSAL} The administrator's token is in the file admin.token of the data directory.`,
    );
  }
  const key = keyFile === null ? await ownKey(config) : await keyOf(tenant, keyFile);
  return await signToken({ username, tenant: tenant.id, issuer: tenant.issuer, lifetimeSeconds, key });
}

function isOpenToUsers(config: Config, isSeparated: (config: Config) => boolean): boolean {
  return config.orchestrator !== 'process' || config.allowsSharedUid || isSeparated(config);
}

/** As the running program finds when it starts. */
function willSeparatePods(config: Config): boolean {
  return arePodsSeparated(protectionOf(wallsOfPods(config).walls, process.getuid?.() === 0, []));
}

async function ownKey({ tenants: [tenant], dataDir }: Config): Promise<TokenKey> {
  if (tenant.key !== null) {
    throw new CliError(
      EXIT_FAILED,
      `the tokens of tenant ${tenant.id} must be signed with the private key of its configured public key; pass it with --key FILE`,
    );
  }
  const path = join(dataDir, 'token.key');
  if (!existsSync(path)) {
    throw new CliError(EXIT_NOT_RUNNING, `${dataDir} has no key yet; start Podgate once with npm start`);
  }
  return await makeTokenKey(path);
}

/** The operator's own, whose public half the configuration has. */
async function keyOf(tenant: Config['tenants'][number], path: string): Promise<TokenKey> {
  if (!existsSync(path)) throw new CliError(EXIT_USAGE, `--key: ${path} does not exist`);
  const key = await makeTokenKey(path);
  if (typeof tenant.key === 'string' && publicPemOf(tenant.key) !== key.publicKeyPem) {
    throw new CliError(EXIT_FAILED, `--key: ${path} does not match the public key of tenant ${tenant.id}`);
  }
  return key;
}

function publicPemOf(pem: string): string {
  return createPublicKey(pem).export({ type: 'spki', format: 'pem' });
}
