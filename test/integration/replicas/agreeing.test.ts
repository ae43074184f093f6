import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openRedisDatabase, type RedisDatabase } from '../../../control/store/redis/redis-database.ts';
import { formatKeyring, makeKey } from '../../../control/vault/keyring-file.ts';
import { openKeyringVault } from '../../../control/vault/keyring-vault.ts';
import { type Agreeing, agreeOnFiles, checkKeyring, settleFiles } from '../../../main/agree-on-files.ts';
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

/** A replica with a directory of its own and this keyring. */
async function replica(name: string, keys: readonly ReturnType<typeof makeKey>[]): Promise<Agreeing & { dir: string }> {
  const database = await openRedisDatabase({ url: server.url, site: 'test', replicaId: name, log: silentLog });
  databases.push(database);
  const dir = join(directory, name);
  mkdirSync(dir);
  const keyringPath = join(dir, 'keyring.json');
  writeFileSync(keyringPath, formatKeyring(keys), { mode: 0o600 });
  return { replicas: database.replicas, vault: openKeyringVault(keyringPath), keyringPath, dir };
}

test('a replica with another keyring is refused at start, with a sentence that says what is missing', async () => {
  await checkKeyring(await replica('one', [oldKey]));
  await checkKeyring(await replica('two', [oldKey]));
  const stranger = await replica('three', [newKey]);
  await expect(checkKeyring(stranger)).rejects.toMatchObject({
    code: 'config.invalid',
    publicMessages: [expect.stringContaining('Give every replica the same keyring')],
  });
});

test('a key can be put first in one replica after the other, and the old one be removed at the end', async () => {
  await checkKeyring(await replica('old', [oldKey]));
  await checkKeyring(await replica('both', [newKey, oldKey]));
  await expect(checkKeyring(await replica('late', [oldKey]))).rejects.toMatchObject({ code: 'config.invalid' });
  await checkKeyring(await replica('new', [newKey]));
});

test("the first replica's files are everybody's, sealed on the way, until they are settled anew", async () => {
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
