import { join } from 'node:path';
import { type DevelopmentCa, type DevelopmentCaOptions, openDevelopmentCa } from '../../certs/development-ca.ts';
import type { Config } from '../../config/config.ts';
import { makeTokenKey, type TokenKey } from '../../control/auth/token-key.ts';
import { createTicketKeys, type TicketKeys } from '../../control/tickets/ticket-keys.ts';
import { openKeyringVault } from '../../control/vault/keyring-vault.ts';
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/logger.ts';
import type { Replicas } from '../../core/replicas.ts';
import type { Vault } from '../../core/vault.ts';
import { type Agreeing, agreeOnFiles, checkKeyring, settleFiles } from './agree-on-files.ts';
import { openTicketKeyFile } from './ticket-key-file.ts';

/** Keys that all replicas have in common. */
export interface SharedKeys {
  readonly vault: Vault;
  /** Signs tokens of the first tenant; null: that tenant has a key of its own. */
  readonly tokenKey: TokenKey | null;
  readonly tickets: TicketKeys;
  readonly developmentCa: DevelopmentCa;
}

/** Throws PodgateError 'config.invalid' when the keyring here is not the one that the store was written with. */
export async function openSharedKeys(options: {
  readonly config: Config;
  readonly replicas: Replicas;
  readonly clock: Clock;
  readonly log: Logger;
}): Promise<SharedKeys> {
  const { config, replicas, clock, log } = options;
  const vault = openKeyringVault(config.secretKeyFile);
  const agreeing = { replicas, vault, keyringPath: config.secretKeyFile };
  await checkKeyring(agreeing);
  const tokenKey =
    config.tenants[0].key === null ? await sharedTokenKey(join(config.dataDir, 'token.key'), agreeing) : null;
  const file = openTicketKeyFile(join(config.dataDir, 'ticket.keys'));
  const tickets = createTicketKeys({ replicas, vault, file, clock, log });
  await tickets.open();
  const baseHosts = config.tenants.map(({ baseHost }) => baseHost);
  const developmentCa = await sharedDevelopmentCa({ dir: config.dataDir, baseHosts, clock, log }, agreeing);
  return { vault, tokenKey, tickets, developmentCa };
}

/** The first replica's key signs, and all replicas accept it. */
async function sharedTokenKey(path: string, agreeing: Agreeing): Promise<TokenKey> {
  const own = await makeTokenKey(path);
  return (await agreeOnFiles(agreeing, 'token-key', [path])) ? await makeTokenKey(path) : own;
}

/** One CA for all replicas with these base hosts: clients trust one file, whichever replica they reach. */
async function sharedDevelopmentCa(options: DevelopmentCaOptions, agreeing: Agreeing): Promise<DevelopmentCa> {
  const own = await openDevelopmentCa(options);
  const name = `development-ca of ${options.baseHosts.join(', ')}`;
  // In the order in which they are created: a crash in between leaves a pair that does not match.
  const paths = ['ca.key', 'ca.pem'].map((file) => join(options.dir, file));
  if (!(await agreeOnFiles(agreeing, name, paths))) return own;
  const agreed = await openDevelopmentCa(options);
  // A CA that was about to expire has been replaced.
  await settleFiles(agreeing, name, paths);
  return agreed;
}
