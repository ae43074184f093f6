import { isAborted } from '../../../core/abort.ts';
import type { Change } from '../../../core/store.ts';
import type { RecordSchemas } from '../record-schema.ts';
import type { Wakeup } from '../wakeup.ts';
import { arrayOf, integerOf, numberIn, textOf, type Reply } from './redis-reply.ts';
import type { RedisSession } from './redis-session.ts';
import { parseField, parseValue } from './stored-records.ts';

interface FeedOptions {
  readonly session: RedisSession;
  readonly schemas: RecordSchemas;
  /** Woken after every commit, here or elsewhere, and now and then. */
  readonly feedChanged: Wakeup;
}

/** Place in the feed: everything up to and including this entry has been given out. */
interface Cursor {
  readonly commit: number;
  readonly position: string;
  /** Of that entry: another one in its place shows that the store was replaced. '' = no entry was seen yet. */
  readonly stamp: string;
  /** The store that was read; '' = none yet. */
  readonly storeId: string;
}

const PAGE = 100;
/** A page ends soon behind so many bytes of values: a record may have some hundred kB. */
const PAGE_BYTES = 1024 * 1024;
/** The greatest second half of a stream's id: this place is behind every change of its commit. */
const END_OF_COMMIT = '18446744073709551615';
/** Belongs to no store: reading on from there yields a gap. */
const NOWHERE: Cursor = { commit: 0, position: END_OF_COMMIT, stamp: '', storeId: 'none' };

/** See Store.changes. A reader slower than the feed is trimmed gets a gap, like one that comes too late. */
export async function* changesAfter(options: FeedOptions, after: number, signal: AbortSignal): AsyncGenerator<Change> {
  let cursor: Cursor = { commit: after, position: END_OF_COMMIT, stamp: '', storeId: '' };
  while (!signal.aborted) {
    // Before it reads, so that no commit falls between reading and waiting.
    const waiting = new AbortController();
    const woken = options.feedChanged.wait(null, AbortSignal.any([signal, waiting.signal]));
    try {
      const page = await readPage(options, cursor);
      // Whatever was read meanwhile, it was not this store: once it is believed again, that is a gap.
      cursor = page?.cursor ?? NOWHERE;
      if (page === null) {
        await woken;
        continue;
      }
      for (const change of page.changes) {
        // The abort may have come while the reader held a change.
        if (isAborted(signal)) return;
        yield change;
      }
      if (page.changes.length === 0) await woken;
    } finally {
      waiting.abort();
    }
  }
}

/** Null while the store is suspect. */
async function readPage(
  { session, schemas }: FeedOptions,
  cursor: Cursor,
): Promise<{ readonly changes: readonly Change[]; readonly cursor: Cursor } | null> {
  const { keys } = session;
  const { commit, position, stamp, storeId } = cursor;
  const args = [storeId, String(commit), position, stamp, String(PAGE), String(PAGE_BYTES)];
  const { tip, isTrusted, answer } = await session.run('changes', 'changes', [keys.meta, keys.feed], args);
  if (!isTrusted) return null;
  const [isGap, page] = arrayOf(answer);
  if (integerOf(isGap) === 1) {
    return {
      changes: [{ kind: 'gap', commit: tip.commits }],
      cursor: { commit: tip.commits, position: END_OF_COMMIT, stamp: '', storeId: tip.storeId },
    };
  }
  const entries = arrayOf(page).map((entry) => parseEntry(schemas, entry));
  const last = entries.at(-1)?.cursor ?? cursor;
  return { changes: entries.map(({ change }) => change), cursor: { ...last, storeId: tip.storeId } };
}

/** See commit.lua for the shape. */
function parseEntry(schemas: RecordSchemas, entry: Reply) {
  const [id, fields] = arrayOf(entry);
  const [commitText = '', position = ''] = textOf(id).split('-');
  const commit = numberIn(commitText);
  const values = arrayOf(fields)
    .map(textOf)
    .filter((_, at) => at % 2 === 1);
  const [what, name = '', value = '', stamp = ''] = values;
  const { kind, key } = parseField(schemas, name);
  const change: Change =
    what === 'delete'
      ? { kind: 'delete', commit, tombstone: { kind, key, uid: value, revision: commit } }
      : { kind: 'put', commit, record: { kind, key, revision: commit, value: parseValue(schemas, kind, key, value) } };
  return { change, cursor: { commit, position, stamp, storeId: '' } };
}
