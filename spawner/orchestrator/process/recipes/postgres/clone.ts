import { randomBytes } from 'node:crypto';
import { chmod, type FileHandle, mkdir, readdir, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from 'pg';
import { errorCode } from '../../../../../core/error-code.ts';
import { errorText, PodgateError } from '../../../../../core/errors.ts';
import type { Credentials } from '../../../../../core/pod.ts';
import { copyTree } from '../../copies/copy-tree.ts';
import type { DataSource, OpenedData } from '../../copies/data-sources.ts';
import { runTool } from '../../run-tool.ts';
import { exists, flushToDisk } from '../../runtime-files.ts';
import { readSmallFile } from '../../small-file.ts';
import { openDirectory, openFile, openRoot, within } from '../../volumes/walk-safely.ts';
import type { RecipeContext } from '../recipe.ts';
import { type OwnSessionOptions, withOwnSession } from './own-session.ts';
import { quotedName, scramVerifier } from './scram.ts';

/** In the data directory of a clone until its user has a password of its own: the statements that give it to them. */
const OWNER_FILE = 'podgate-owner.json';
const OWNER_FILE_MAX_BYTES = 16 * 1024;
/** Until then, no subscription of the original fetches what is for the original. */
export const FIRST_START_OF_CLONE = ['max_logical_replication_workers=0'];
/** The end of a backup, on a busy server, waits for a checkpoint. */
const BACKUP_QUERY_MS = 10 * 60_000;
const OWNER_QUERY_MS = 30_000;
const CHOWN_TIMEOUT_MS = 10 * 60_000;
/** Made anew by the server, or of the server that runs (docs: "Making a Base Backup Using the Low Level API"). */
const LEFT_OUT_FILES = ['postmaster.pid', 'postmaster.opts', 'standby.signal', 'recovery.signal', OWNER_FILE];
/** Where nothing runs, a first start may need them still. */
const LEFT_OUT_OF_BACKUPS = ['backup_label', 'tablespace_map'];
const EMPTIED_DIRECTORIES = [
  ...['pg_dynshmem', 'pg_notify', 'pg_replslot', 'pg_serial', 'pg_snapshots', 'pg_stat_tmp', 'pg_subtrans'],
];
const SEGMENT = /^[0-9A-F]{24}$/;
const CONTROL = 'global/pg_control';
const CONTROL_MAX_BYTES = 8192;
const CONTROL_TRIES = 10;

export interface CloneRequest {
  readonly context: RecipeContext;
  readonly source: DataSource;
  /** Of the data directory, in a volume. */
  readonly dataName: string;
  readonly credentials: Credentials;
}

/**
 * Copies the data of another pod: of one that runs by a backup, else as it lies there. The directory appears whole or
 * not at all. Throws PodgateError, for the user, for everything that is not our own fault.
 */
export async function cloneData(request: CloneRequest, signal: AbortSignal): Promise<void> {
  const { context, source, dataName, credentials } = request;
  const opened = await source.open(signal);
  const directory = join(context.staging, randomBytes(16).toString('hex'));
  const made = join(directory, dataName);
  source.say(`Copies the data of pod ${source.podId}.`);
  try {
    await mkdir(made, { recursive: true, mode: 0o700 });
    await copyData(join(opened.volume, dataName), made, { opened, credentials }, signal);
    const owner: Owner = { username: credentials.username, sql: await ownerStatements(credentials) };
    await writeFile(join(made, OWNER_FILE), JSON.stringify(owner), { mode: 0o600, flag: 'wx' });
    await giveTo(context, made, signal);
    await flushToDisk(made);
    signal.throwIfAborted();
    await rename(made, join(String(context.volume), dataName));
    source.say('');
  } catch (error) {
    if (signal.aborted) throw error;
    throw opened.signal.aborted ? interrupted(source) : sourceFailure(error, source);
  } finally {
    opened.close();
    await rm(directory, { recursive: true, force: true });
  }
}

async function copyData(
  from: string,
  to: string,
  { opened, credentials }: { readonly opened: OpenedData; readonly credentials: Credentials },
  signal: AbortSignal,
): Promise<void> {
  if (!(await exists(join(from, 'PG_VERSION')))) {
    throw new PodgateError('api.conflict', { publicMessages: ['It has no database yet: start it first.'] });
  }
  const both = AbortSignal.any([signal, opened.signal]);
  const port = opened.ports?.['default'];
  const tree: TreeOptions = { limitBytes: opened.limitBytes, signal: both };
  if (port === undefined) {
    await copyFiles(from, to, { ...tree, hasBackup: false });
    return;
  }
  const session = { data: from, port, username: credentials.username, queryTimeoutMs: BACKUP_QUERY_MS };
  await backUp(session, to, tree);
}

interface TreeOptions {
  readonly limitBytes: number;
  readonly signal: AbortSignal;
}

/**
 * A base backup by the low-level interface, since the npm package has no pg_basebackup. The slot keeps the log of what
 * happens meanwhile; it goes with the session, as the backup does.
 */
async function backUp(session: OwnSessionOptions, to: string, { limitBytes, signal }: TreeOptions): Promise<void> {
  await withOwnSession(session, signal, async (client, lasting) => {
    await client.query('SET idle_session_timeout = 0');
    const slot = `podgate_clone_${randomBytes(8).toString('hex')}`;
    await client.query('SELECT pg_create_physical_replication_slot($1, true, true)', [slot]);
    const first = await row(client, 'SELECT pg_walfile_name(pg_backup_start($1, true)) AS segment', ['podgate clone']);
    await copyFiles(session.data, to, { limitBytes, signal: lasting, hasBackup: true });
    await copyControl(session.data, to);
    const last = await row(
      client,
      'SELECT pg_walfile_name(lsn) AS segment, labelfile AS label, spcmapfile AS map FROM pg_backup_stop(false)',
    );
    await copyLog(session.data, to, {
      ...{ first: text(first, 'segment'), last: text(last, 'segment') },
      ...{ limitBytes, signal: lasting },
    });
    await writeFile(join(to, 'backup_label'), text(last, 'label'), { mode: 0o600, flag: 'wx' });
  });
}

async function copyFiles(
  from: string,
  to: string,
  { hasBackup, ...options }: TreeOptions & { readonly hasBackup: boolean },
): Promise<void> {
  const isLeftOut = (path: string): boolean => {
    const [top = '', below, more] = path.split('/');
    if (LEFT_OUT_FILES.includes(path) || (hasBackup && [...LEFT_OUT_OF_BACKUPS, CONTROL].includes(path))) return true;
    if (below === undefined) return false;
    if (EMPTIED_DIRECTORIES.includes(top)) return true;
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (name.startsWith('pgsql_tmp') || name === 'pg_internal.init') return true;
    return hasBackup && top === 'pg_wal' && more === undefined && !['archive_status', 'summaries'].includes(below);
  };
  const onLink = (path: string): void => {
    if (path !== 'pg_wal' && !path.startsWith('pg_tblspc/')) return;
    throw new PodgateError('api.invalid', {
      publicMessages: ['It has tablespaces outside its data directory, which are not copied: drop them first.'],
    });
  };
  await copyTree(from, to, { ...options, isLeftOut, onLink });
}

/** Its server writes it while we read: what has been read twice is whole. */
async function copyControl(from: string, to: string): Promise<void> {
  const [folder = '', name = ''] = CONTROL.split('/');
  const top = await openRoot(from);
  try {
    const directory = await openDirectory(top, [folder]);
    try {
      let bytes = await readBytes(directory, name);
      for (let tries = 0; tries < CONTROL_TRIES; tries += 1) {
        const again = await readBytes(directory, name);
        if (bytes.equals(again)) {
          await writeFile(join(to, CONTROL), bytes, { mode: 0o600, flag: 'wx' });
          return;
        }
        bytes = again;
      }
    } finally {
      await directory.close();
    }
  } finally {
    await top.close();
  }
  throw new Error('pg_control changes all the time');
}

async function readBytes(directory: FileHandle, name: string): Promise<Buffer> {
  const { file, stats } = await openFile(directory, name, (await directory.stat()).uid);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(CONTROL_MAX_BYTES), 0, CONTROL_MAX_BYTES, 0);
    if (bytesRead !== stats.size) throw new Error('pg_control has another size than expected');
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

/** From the segment in which the backup began to the one in which it ended: without all of them it is of no use. */
async function copyLog(
  from: string,
  to: string,
  { first, last, ...options }: TreeOptions & { readonly first: string; readonly last: string },
): Promise<void> {
  const isNeeded = (name: string): boolean => SEGMENT.test(name) && name >= first && name <= last;
  const isLeftOut = (name: string): boolean => !isNeeded(name) && !/^[0-9A-F]{8}\.history$/.test(name);
  const onLink = (): void => undefined;
  await copyTree(join(from, 'pg_wal'), join(to, 'pg_wal'), { ...options, isLeftOut, onLink });
  const present = new Set(await readdir(join(to, 'pg_wal')));
  if (present.has(first) && present.has(last)) return;
  throw new PodgateError('api.conflict', {
    publicMessages: ['Its write-ahead log was removed while it was copied: max_slot_wal_keep_size is too small.'],
  });
}

async function row(client: Client, sql: string, values: readonly string[] = []): Promise<Record<string, unknown>> {
  return (await client.query<Record<string, unknown>>(sql, [...values])).rows[0] ?? {};
}

function text(from: Readonly<Record<string, unknown>>, name: string): string {
  const value = from[name];
  if (typeof value !== 'string') throw new Error(`the server returned no ${name}`);
  return value;
}

async function giveTo({ osUser, environment }: RecipeContext, made: string, signal: AbortSignal): Promise<void> {
  await chmod(made, 0o700);
  if (osUser === null) return;
  const options = { cwd: '/', environment, user: null, timeoutMs: CHOWN_TIMEOUT_MS };
  await runTool('chown', ['-R', '-h', `${osUser.uid}:${osUser.gid}`, made], options, signal);
}

interface Owner {
  readonly username: string;
  readonly sql: string;
}

/**
 * To be run once by the server of the clone. The user of the original may have dropped or changed the role: the
 * credentials of the clone count all the same. Its subscriptions would take from the slots of the original.
 */
async function ownerStatements({ username, password }: Credentials): Promise<string> {
  const name = quotedName(username);
  const literal = `'${username.replaceAll("'", "''")}'`;
  return [
    `DO $podgate$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = ${literal}) THEN`,
    `CREATE ROLE ${name} SUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS; END IF; END $podgate$;`,
    `ALTER ROLE ${name} LOGIN PASSWORD '${await scramVerifier(password)}' VALID UNTIL 'infinity';`,
    'UPDATE pg_subscription SET subenabled = false WHERE subenabled;',
  ].join(' ');
}

export async function isOwnerSet(data: string): Promise<boolean> {
  return !(await exists(join(data, OWNER_FILE)));
}

/** Gives the user of a clone the password of the clone. Can be repeated. */
export async function setOwner(data: string, { ports }: RecipeContext): Promise<void> {
  if (await isOwnerSet(data)) return;
  const directory = await openRoot(data);
  try {
    const file = within(directory, OWNER_FILE);
    // Of the pod's user by now, who may do in it what they like.
    const { username, sql } = JSON.parse(await readSmallFile(file, OWNER_FILE_MAX_BYTES)) as Owner;
    const session = { data, port: ports['default'] ?? 0, username, queryTimeoutMs: OWNER_QUERY_MS };
    await withOwnSession(session, AbortSignal.timeout(OWNER_QUERY_MS), (client) => client.query(sql));
    await unlink(file);
  } finally {
    await directory.close();
  }
}

function interrupted({ podId }: DataSource): PodgateError {
  return new PodgateError('api.conflict', {
    publicMessages: [`Pod ${podId} was started or deleted while its data was copied.`],
  });
}

/** What a server says is of its user's making, and for the user of the clone, who may read all of it. */
function sourceFailure(error: unknown, { podId }: DataSource): PodgateError {
  const about = `The data of pod ${podId} could not be copied.`;
  if (error instanceof PodgateError) {
    return new PodgateError(error.code, { publicMessages: [about, ...error.publicMessages], cause: error });
  }
  const code = errorCode(error) ?? '';
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new PodgateError('api.too-large', {
      publicMessages: [about, 'The disk of this machine is full.'],
      cause: error,
    });
  }
  if (/^[0-9A-Z]{5}$/.test(code)) {
    const said = errorText(error).slice(0, 200);
    return new PodgateError('api.conflict', {
      publicMessages: [about, `Its server refused the backup: ${said}. Stop the pod: then it is copied without it.`],
      cause: error,
    });
  }
  return new PodgateError('orchestrator.unavailable', {
    publicMessages: [about, `If it was started by an earlier release of Podgate, restart it.`],
    detail: errorText(error),
    cause: error,
  });
}
