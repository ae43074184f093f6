import { randomBytes } from 'node:crypto';
import { type FileHandle, readdir, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from 'pg';
import { errorCode } from '../../../../../core/error-code.ts';
import { errorText, PodgateError } from '../../../../../core/errors.ts';
import type { Credentials } from '../../../../../core/pod.ts';
import {
  type CloneDataRequest,
  cloneDirectory,
  type CloneRequest,
  type DataCopier,
} from '../../copies/clone-directory.ts';
import { type CopyLimit, copyTree } from '../../copies/copy-tree.ts';
import type { OpenedData } from '../../copies/data-sources.ts';
import { isDiskFull } from '../../copies/with-source.ts';
import { exists } from '../../runtime-files.ts';
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

/** Of a server that runs by a backup, else as it lies there. */
export const POSTGRES_DATA: DataCopier = { name: 'pgdata', copy: copyData };

/** Begins with the data of another pod, or with a snapshot. Throws as cloneDirectory does. */
export async function cloneData({ credentials, ...of }: CloneDataRequest, signal: AbortSignal): Promise<void> {
  const finish: CloneRequest['finish'] = async (made) => {
    const owner: Owner = { username: credentials.username, sql: await ownerStatements(credentials) };
    await writeFile(join(made, OWNER_FILE), JSON.stringify(owner), { mode: 0o600, flag: 'wx' });
  };
  const { username } = credentials;
  await cloneDirectory({ ...of, copier: POSTGRES_DATA, username, finish }, signal);
}

async function copyData(
  from: string,
  to: string,
  { opened, username }: { readonly opened: OpenedData; readonly username: string },
  signal: AbortSignal,
): Promise<void> {
  if (!(await exists(join(from, 'PG_VERSION')))) {
    throw new PodgateError('api.conflict', { publicMessages: ['It has no database yet: start it first.'] });
  }
  const port = opened.ports?.['default'];
  const tree: TreeOptions = { limit: opened.limit, signal };
  if (port === undefined) {
    await copyFiles(from, to, { ...tree, hasBackup: false });
    return;
  }
  const session = { data: from, port, username, queryTimeoutMs: BACKUP_QUERY_MS };
  await backUp(session, to, tree).catch((error: unknown) => {
    throw backupFailure(error);
  });
}

/** What a server says is of its user's making, and for the user of the clone, who may read all of it. */
function backupFailure(error: unknown): unknown {
  if (error instanceof PodgateError || isDiskFull(error)) return error;
  if (/^57P0[1-3]$/.test(errorCode(error) ?? '')) {
    return new PodgateError('orchestrator.unavailable', { publicMessages: ['Its server was stopped.'], cause: error });
  }
  // An SQLSTATE; errors of the system have codes like ENOENT, without digits.
  if (/^(?=.*\d)[0-9A-Z]{5}$/.test(errorCode(error) ?? '')) {
    const said = errorText(error).slice(0, 200);
    return new PodgateError('api.conflict', {
      publicMessages: [`Its server refused the backup: ${said}. Stop the pod: then it is copied without it.`],
      cause: error,
    });
  }
  return new PodgateError('orchestrator.unavailable', {
    publicMessages: ['If it was started by an earlier release of Podgate, restart it.'],
    detail: errorText(error),
    cause: error,
  });
}

interface TreeOptions {
  readonly limit: CopyLimit;
  readonly signal: AbortSignal;
}

/**
 * A base backup by the low-level interface, since the npm package has no pg_basebackup. The slot keeps the log of what
 * happens meanwhile; it goes with the session, as the backup does.
 */
async function backUp(session: OwnSessionOptions, to: string, { limit, signal }: TreeOptions): Promise<void> {
  await withOwnSession(session, signal, async (client, lasting) => {
    await client.query('SET idle_session_timeout = 0');
    const slot = `podgate_clone_${randomBytes(8).toString('hex')}`;
    await client.query('SELECT pg_create_physical_replication_slot($1, true, true)', [slot]);
    const first = await row(client, 'SELECT pg_walfile_name(pg_backup_start($1, true)) AS segment', ['podgate clone']);
    await copyFiles(session.data, to, { limit, signal: lasting, hasBackup: true });
    await copyControl(session.data, to);
    const last = await row(
      client,
      'SELECT pg_walfile_name(lsn) AS segment, labelfile AS label, spcmapfile AS map FROM pg_backup_stop(false)',
    );
    await copyLog(session.data, to, {
      ...{ first: text(first, 'segment'), last: text(last, 'segment') },
      ...{ limit, signal: lasting },
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
