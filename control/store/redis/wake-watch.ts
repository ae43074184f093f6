import { setTimeout as sleep } from 'node:timers/promises';
import type { Wakeup } from '../wakeup.ts';
import type { RedisConnection } from './redis-connection.ts';
import { arrayOf, textOf, type Reply } from './redis-reply.ts';

/**
 * A wait is cut this often, and everybody looks: so that a store that was emptied or replaced is noticed, and that its
 * age goes on (see age.lua).
 */
const BLOCK_MS = 2_000;
/** So much later than that the answer may come before the connection is given up. */
const LATE_MS = 1_500;
const RETRY_MS = 250;

/** An entry of the stream `wakes`; see queue.lua. */
interface Announcement {
  readonly id: string;
  readonly commits: string;
  readonly queueSeq: string;
}

export interface WakeWatchOptions {
  /** Of its own, since a read that blocks would hold up everything behind it. */
  readonly connection: RedisConnection;
  readonly wakes: string;
  readonly feedChanged: Wakeup;
  readonly queueChanged: Wakeup;
}

/**
 * Passes on what is announced, by this process or another: those who wait for a commit or for a key look again. While
 * Redis is away they look every quarter of a second, and learn it.
 */
export async function watchWakes(options: WakeWatchOptions, signal: AbortSignal): Promise<void> {
  const { connection, wakes, feedChanged, queueChanged } = options;
  let known: Announcement | null = null;
  while (!signal.aborted) {
    try {
      const next: Announcement | null = known === null ? await newest() : await nextAfter(known);
      if (next === null || next.commits !== known?.commits) feedChanged.wake();
      if (next === null || next.queueSeq !== known?.queueSeq) queueChanged.wake();
      known = next;
    } catch {
      // The connection has said so in the log.
      known = null;
      feedChanged.wake();
      queueChanged.wake();
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Not the id from before: the stream may have begun anew. */
  async function newest(): Promise<Announcement> {
    const entries = arrayOf(await connection.send('watch', ['XREVRANGE', wakes, '+', '-', 'COUNT', '1']));
    return entries[0] === undefined ? { id: '0-0', commits: '', queueSeq: '' } : parseEntry(entries[0]);
  }

  /** Null when nothing came. */
  async function nextAfter({ id }: Announcement): Promise<Announcement | null> {
    const args = ['XREAD', 'COUNT', '1', 'BLOCK', String(BLOCK_MS), 'STREAMS', wakes, id];
    const reply = await connection.send('watch', args, { deadlineMs: BLOCK_MS + LATE_MS });
    const [stream] = reply === null ? [] : arrayOf(reply);
    const [entry] = stream === undefined ? [] : arrayOf(arrayOf(stream)[1]);
    return entry === undefined ? null : parseEntry(entry);
  }
}

function parseEntry(entry: Reply): Announcement {
  const [id, fields] = arrayOf(entry);
  const [, commits, , queueSeq] = arrayOf(fields);
  return { id: textOf(id), commits: textOf(commits), queueSeq: textOf(queueSeq) };
}
