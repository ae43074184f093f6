import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openRedisDatabase, type RedisDatabase } from '../../../control/store/redis/redis-database.ts';
import { formatKeyring, makeKey } from '../../../control/vault/keyring-file.ts';
import { openKeyringVault } from '../../../control/vault/keyring-vault.ts';
import { createTicketKeys, type TicketKeys } from '../../../control/tickets/ticket-keys.ts';
import type { Replicas } from '../../../core/replicas.ts';
import { systemClock } from '../../../main/system-clock.ts';
import { openTicketKeyFile } from '../../../main/control/ticket-key-file.ts';
import { type Agreeing, agreeOnFiles, checkKeyring, settleFiles } from '../../../main/control/agree-on-files.ts';
import { RedisServer } from '../../support/redis-server.ts';
import { silentLog } from '../../support/silent-log.ts';
import { createAdmin } from './admin.ts';

let server: RedisServer;
let directory: string;
const databases: RedisDatabase[] = [];
const [oldKey, newKey] = [makeKey(), makeKey()];

beforeEach(async () => {
  server = await RedisServer.start();
  directory = mkdtempSync(join(tmpdir(), 'podgate-agreeing-'));
});
afterEach(async () => {
  for (const database of databases.splice(0)) database.close();
  await server.dispose();
  rmSync(directory, { recursive: true });
});

interface Replica extends Agreeing {
  readonly replicas: Replicas;
  readonly dir: string;
}

/** A replica with a directory of its own and this keyring. */
async function replica(name: string, keys: readonly ReturnType<typeof makeKey>[]): Promise<Replica> {
  const database = await openRedisDatabase({ url: server.url, site: 'test', replicaId: name, log: silentLog });
  databases.push(database);
  const dir = join(directory, name);
  mkdirSync(dir);
  const keyringPath = join(dir, 'keyring.json');
  writeFileSync(keyringPath, formatKeyring(keys), { mode: 0o600 });
  return { replicas: database.replicas, vault: openKeyringVault(keyringPath), keyringPath, dir };
}

test('a replica with another keyring is rejected at start, with a message that says what is missing', async () => {
  await checkKeyring(await replica('one', [oldKey]));
  await checkKeyring(await replica('two', [oldKey]));
  const stranger = await replica('three', [newKey]);
  await expect(checkKeyring(stranger)).rejects.toMatchObject({
    code: 'config.invalid',
    publicMessages: [expect.stringContaining('Use the same keyring in every replica')],
  });
});

test('a new first key can be introduced replica by replica, and the old one removed at the end', async () => {
  await checkKeyring(await replica('old', [oldKey]));
  await checkKeyring(await replica('both', [newKey, oldKey]));
  await expect(checkKeyring(await replica('late', [oldKey]))).rejects.toMatchObject({ code: 'config.invalid' });
  await checkKeyring(await replica('new', [newKey]));
});

test('the first replica’s files are shared by all, encrypted in transit, until they are replaced', async () => {
  const [one, two] = [await replica('one', [oldKey]), await replica('two', [oldKey])];
  const paths = (of: { dir: string }) => ['a.key', 'a.pem'].map((file) => join(of.dir, file));
  const write = (of: { dir: string }, text: string): void => {
    for (const path of paths(of)) writeFileSync(path, `${text} ${path.slice(-5)}`);
  };
  const read = (of: { dir: string }) => paths(of).map((path) => readFileSync(path, 'utf8'));
  write(one, 'geheim');
  write(two, 'other');
  expect(await agreeOnFiles(one, 'files', paths(one))).toBe(false);
  expect(await agreeOnFiles(two, 'files', paths(two))).toBe(true);
  expect(read(two)).toEqual(['geheim a.key', 'geheim a.pem']);
  expect(paths(two).map((path) => statSync(path).mode & 0o777)).toEqual([0o600, 0o600]);
  expect(await agreeOnFiles(two, 'files', paths(two))).toBe(false);
  write(two, 'renewed');
  await settleFiles(two, 'files', paths(two));
  expect(await agreeOnFiles(one, 'files', paths(one))).toBe(true);
  expect(read(one)).toEqual(['renewed a.key', 'renewed a.pem']);
  const admin = await createAdmin(server);
  const dump = JSON.stringify(await admin.send('HGETALL', 'podgate:{test}:agreed'));
  admin.close();
  expect(dump).toContain('files');
  expect(dump).not.toMatch(/geheim|renewed/);
});

test('the TLS ticket keys are the same on all replicas, encrypted in the store and in files', async () => {
  const open = async (of: Replica): Promise<TicketKeys> => {
    const file = openTicketKeyFile(join(of.dir, 'ticket.keys'));
    const tickets = createTicketKeys({ ...of, file, clock: systemClock, log: silentLog });
    await tickets.open();
    return tickets;
  };
  const [one, two] = [await replica('one', [oldKey, newKey]), await replica('two', [newKey, oldKey])];
  const [first, second] = await Promise.all([open(one), open(two)]);
  expect(first.keys()).toHaveLength(3);
  expect(second.keys()).toEqual(first.keys());
  // Also after a restart with an empty Redis.
  const admin = await createAdmin(server);
  await admin.send('DEL', 'podgate:{test}:agreed');
  expect((await open(one)).keys()).toEqual(first.keys());
  const dump = JSON.stringify(await admin.send('HGETALL', 'podgate:{test}:agreed'));
  admin.close();
  expect(dump).toContain('tls-tickets');
  const file = readFileSync(join(two.dir, 'ticket.keys'), 'utf8');
  for (const key of first.keys()) expect(dump + file).not.toContain(key);
  expect(statSync(join(two.dir, 'ticket.keys')).mode & 0o777).toBe(0o600);
});
