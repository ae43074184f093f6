import { randomUUID } from 'node:crypto';
import type { Batch, CommitResult, Listed, RecordKind, Store, StoreIdentity } from '../../../core/store.ts';
import { isEndingBatch } from '../../../core/ending-batch.ts';
import { refuseDoubleWrites } from '../batch-writes.ts';
import type { RecordSchemas } from '../record-schema.ts';
import type { Tip } from '../store-guard.ts';
import type { Wakeup } from '../wakeup.ts';
import { changesAfter } from './change-feed.ts';
import { arrayOf, integerOf, textOf, type Reply } from './redis-reply.ts';
import { newStamp } from './marked-script.ts';
import { isOutOfMemory } from './redis-failure.ts';
import type { RedisSession } from './redis-session.ts';
import { fieldOf, listPrefix, parseRecord, parseTombstone, placesOf, valueText } from './stored-records.ts';

const TOMBSTONE_SECONDS = 7 * 24 * 3_600;
/** Bounds how long one page of a list holds up the server. */
const LIST_PAGE = 500;

export interface RedisStoreOptions {
  readonly session: RedisSession;
  readonly schemas: RecordSchemas;
  /** So many last commits stay in the change feed. */
  readonly feedCommits: number;
  /** Of them, so many bytes of records at most. */
  readonly feedBytes: number;
  /** Woken after every commit, here or elsewhere, and now and then. */
  readonly feedChanged: Wakeup;
}

export function createRedisStore(options: RedisStoreOptions): Store {
  const { session, schemas } = options;
  const { keys, guard } = session;
  return {
    async commit(batch) {
      const args = commitArguments(options, batch);
      const send = (script: 'commit' | 'commit-ending') =>
        session.run('commit', script, keys.commit, args, { isReplicated: true });
      // A server that is full refuses a script before it runs, so this one may be sent again.
      const { answer } = await send('commit').catch((error: unknown) => {
        if (!isOutOfMemory(error) || !isEndingBatch(batch)) throw error;
        return send('commit-ending');
      });
      return commitResult(batch, answer);
    },

    async get(kind, key) {
      const { answer } = await session.run('get', 'get', [keys.meta, keys.records], [fieldOf(kind, key)]);
      return answer === null ? null : parseRecord(schemas, kind, key, textOf(answer));
    },

    async tombstone(kind, key) {
      const { answer } = await session.run('tombstone', 'get', [keys.meta, keys.tombstones], [fieldOf(kind, key)]);
      return answer === null ? null : parseTombstone(kind, key, textOf(answer));
    },

    async list(kind, { tenant, index, after = '', limit, maxBytes = Infinity }) {
      const prefix = listPrefix(kind, tenant, index);
      const records: Listed<typeof kind>[] = [];
      let from = after;
      for (;;) {
        const most = Math.min(LIST_PAGE, limit - records.length);
        if (most <= 0) return records;
        const page = await readPage(kind, [prefix, from.toWellFormed(), String(most), String(maxBytes)]);
        records.push(...page);
        from = page.at(-1)?.key ?? from;
        if (page.length < most || maxBytes !== Infinity) return records;
      }
    },

    changes: (after, signal) => changesAfter(options, after, signal),

    async identity() {
      const { tip, isTrusted, answer } = await session.run('identity', 'identity', [keys.meta], [randomUUID()]);
      if (isTrusted) guard.verified();
      return identityOf(tip, arrayOf(answer)[1]);
    },

    async adopt({ storeId, commits, fence, replaces }) {
      const args = [newStamp(), storeId, String(commits), String(fence), ...replaces];
      const adoptKeys = [...keys.queue, keys.feed];
      const { tip, answer } = await session.run('adopt', 'adopt', adoptKeys, args, { isReplicated: true });
      return identityOf(tip, answer);
    },
  };

  async function readPage<K extends RecordKind>(
    kind: K,
    range: readonly [prefix: string, after: string, most: string, maxBytes: string],
  ): Promise<readonly Listed<K>[]> {
    const { answer } = await session.run('list', 'list', [keys.meta, keys.lists, keys.records], [kind, ...range]);
    const flat = arrayOf(answer);
    return flat.flatMap((key, at) => {
      if (at % 2 !== 0) return [];
      const text = textOf(flat[at + 1]);
      return [{ ...parseRecord(schemas, kind, textOf(key), text), bytes: Buffer.byteLength(text) }];
    });
  }
}

function identityOf({ storeId, commits }: Tip, replaces: Reply | undefined): StoreIdentity {
  return { storeId, commits, replaces: JSON.parse(textOf(replaces)) as readonly string[] };
}

/** See commit.lua. Encodes at the time of the call: what the caller does to its objects later is not written. */
function commitArguments(options: RedisStoreOptions, batch: Batch): readonly string[] {
  const { puts = [], deletes = [], enqueue = [], fence } = batch;
  refuseDoubleWrites([...puts, ...deletes]);
  return [
    randomUUID(),
    fence === undefined ? '' : `${fence.number} ${fence.lease}`,
    String(options.feedCommits),
    String(TOMBSTONE_SECONDS),
    ...[puts, deletes, enqueue].map(({ length }) => String(length)),
    newStamp(),
    String(options.feedBytes),
    ...puts.flatMap((put) => [
      fieldOf(put.kind, put.key),
      put.expected === 'absent' ? '' : String(put.expected),
      valueText(options.schemas, put.kind, put.value),
      JSON.stringify(placesOf(put.kind, put.key, put.tenant, put.indexes)),
    ]),
    ...deletes.flatMap(({ kind, key, expected, uid }) => [fieldOf(kind, key), String(expected), uid]),
    ...enqueue.flatMap(({ key, share }) => [key, share === undefined ? '' : '1', share ?? '']),
  ];
}

function commitResult(batch: Batch, reply: Reply): CommitResult {
  const [kind, ...values] = arrayOf(reply);
  if (kind === 'fenced') return { kind };
  if (kind === 'committed') return { kind, commit: integerOf(values[0]) };
  const written = [...(batch.puts ?? []), ...(batch.deletes ?? [])];
  return { kind: 'conflict', keys: values.flatMap((place) => written[integerOf(place)]?.key ?? []) };
}
