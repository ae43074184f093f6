import type { RecordKind } from '../../../core/store.ts';
import { MOST_ACTION_LINES } from '../log-limits.ts';
import { integerOf, textOf } from './redis-reply.ts';
import type { RedisSession } from './redis-session.ts';
import { fieldOf, placesOf } from './stored-records.ts';

/** After so long without a heartbeat a replica is gone. */
const SILENT_MS = 15_000;

/** A record as its store keeps it: of whatever schema version. */
export interface RawRecord {
  readonly kind: string;
  readonly key: string;
  readonly tenant: string;
  readonly revision: number;
  readonly schema: number;
  readonly json: string;
  readonly indexes: readonly string[];
}

export interface RawTombstone {
  readonly kind: string;
  readonly key: string;
  readonly revision: number;
  readonly uid: string;
}

/** See begin-import.lua. */
export type ImportState = 'empty' | 'begun' | 'done' | 'busy' | 'used';

/** Fills an empty store with another's records. Each step may be repeated; until `finish` nobody else can use it. */
export interface RedisImport {
  /** Marks it as being filled, when it is empty and `act`. */
  begin(storeId: string, act: boolean): Promise<ImportState>;
  put(storeId: string, records: readonly RawRecord[], tombstones: readonly RawTombstone[]): Promise<void>;
  /** In place of what may be there. */
  putActions(uid: string, lines: readonly string[]): Promise<void>;
  /** What it holds now. */
  count(): Promise<{ readonly records: number; readonly tombstones: number }>;
  /** Opens it to everybody, once it has taken the identity of the other store. */
  finish(): Promise<void>;
}

export function createRedisImport({ connection, keys, scripts }: RedisSession): RedisImport {
  const { meta, records: recordsKey, tombstones: tombstonesKey } = keys;
  return {
    async begin(storeId, act) {
      const args = [storeId, act ? '1' : '', String(SILENT_MS)];
      const scriptKeys = [meta, recordsKey, tombstonesKey, keys.replicas];
      return textOf(await connection.run('import', scripts['begin-import'], scriptKeys, args)) as ImportState;
    },
    async put(storeId, records, tombstones) {
      const args = [
        storeId,
        String(records.length),
        ...records.flatMap(({ kind, key, tenant, revision, schema, json, indexes }) => [
          fieldOf(kind as RecordKind, key),
          `${revision} ${schema} ${json}`,
          JSON.stringify(placesOf(kind as RecordKind, key, tenant, indexes)),
        ]),
        ...tombstones.flatMap(({ kind, key, revision, uid }) => [
          fieldOf(kind as RecordKind, key),
          `${revision} ${uid}`,
        ]),
      ];
      const scriptKeys = [meta, recordsKey, keys.places, keys.lists, tombstonesKey, keys.tombstoneAges];
      if (integerOf(await connection.run('import', scripts.import, scriptKeys, args)) !== 1) {
        throw new Error('the store is being filled by somebody else');
      }
    },
    async putActions(uid, lines) {
      await connection.send('import', ['DEL', keys.actions(uid)]);
      const last = lines.slice(-MOST_ACTION_LINES);
      if (last.length > 0) await connection.send('import', ['RPUSH', keys.actions(uid), ...last]);
    },
    async count() {
      const [records, tombstones] = await Promise.all(
        [recordsKey, tombstonesKey].map((key) => connection.send('import', ['HLEN', key])),
      );
      return { records: integerOf(records), tombstones: integerOf(tombstones) };
    },
    async finish() {
      await connection.send('import', ['HDEL', meta, 'filling'], { isReplicated: true });
    },
  };
}
