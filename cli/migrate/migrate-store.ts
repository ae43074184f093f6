import type { RedisDatabase } from '../../control/store/redis/redis-database.ts';
import { openSqliteExport, type SqliteExport } from '../../control/store/sqlite/sqlite-export.ts';
import { CliError, EXIT_FAILED } from '../cli-error.ts';

type Target = Pick<RedisDatabase, 'store' | 'queue' | 'logs' | 'imports'>;

export interface MigrateReport {
  readonly text: string;
  /** By this call. */
  readonly isMoved: boolean;
}

/**
 * Moves the embedded store at `path`. Its identity comes last: before that no Podgate uses the other, and whatever was
 * moved is moved again when this is repeated. Throws CliError with a sentence when it cannot be.
 */
export async function migrateStore(options: {
  readonly path: string;
  readonly database: Target;
  readonly act: boolean;
}): Promise<MigrateReport> {
  const { path, database, act } = options;
  const source = openSqliteExport(path);
  try {
    const identity = source.identity();
    const { records, tombstones } = source.counts();
    const what = `${records} records, ${tombstones} tombstones, logs of ${source.loggedUids().length} pods`;
    const state = await database.imports.begin(identity.storeId, act);
    switch (state) {
      case 'done':
        return { text: 'This store is already in that Redis; there is nothing to migrate.\n', isMoved: false };
      case 'busy':
        throw new CliError(
          EXIT_FAILED,
          'a running Podgate uses that Redis; stop it, wait 15 seconds, and run the command again',
        );
      case 'used':
        throw new CliError(EXIT_FAILED, 'that Redis already has records of this site; migrate needs an empty one');
      case 'empty':
      case 'begun':
        break;
    }
    if (!act) return { text: `${what} would be migrated. Nothing was changed.\n`, isMoved: false };
    await moveAll(source, identity.storeId, database);
    const moved = await database.imports.count();
    if (moved.records !== records || moved.tombstones !== tombstones) {
      throw new CliError(EXIT_FAILED, `only ${moved.records} of ${records} records were copied; run the command again`);
    }
    await database.store.adopt({ ...identity, fence: source.fenceGiven(), replaces: identity.replaces ?? [] });
    await database.imports.finish();
    const text = `${what} migrated. Start Podgate with this PODGATE_REDIS_URL. ${path} is no longer used; keep it as a backup.\n`;
    return { text, isMoved: true };
  } finally {
    source.close();
  }
}

async function moveAll(source: SqliteExport, storeId: string, { imports, logs, queue }: Target): Promise<void> {
  for (const page of source.records()) await imports.put(storeId, page, []);
  for (const page of source.tombstones()) await imports.put(storeId, [], page);
  for (const uid of source.loggedUids()) await imports.putActions(uid, source.actions(uid));
  for (const { uid, run, text, mark } of source.outputs()) await logs.saveOutput(uid, run, text, mark);
  for (const { key, share } of source.queue()) await queue.add(key, { share });
}
