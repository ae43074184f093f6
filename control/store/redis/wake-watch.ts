import { setTimeout as sleep } from 'node:timers/promises';
import type { Wakeup } from '../wakeup.ts';
import type { RedisConnection } from './redis-connection.ts';
import { arrayOf, textOf } from './redis-reply.ts';

/** A wait is cut this often, to notice a store that was emptied or replaced under it. */
const BLOCK_MS = 5_000;
const RETRY_MS = 250;

/**
 * Passes on what other processes announce: whenever the stream `wakes` gets an entry, those who wait here look again.
 * On a connection of its own, since a read that blocks would hold up everything behind it. While Redis is away, waiters
 * look again every quarter of a second, and learn it.
 */
export async function watchWakes(
  connection: RedisConnection,
  wakes: string,
  changed: Wakeup,
  signal: AbortSignal,
): Promise<void> {
  let known: string | null = null;
  while (!signal.aborted) {
    try {
      if (known === null) {
        known = await newestId(connection, wakes);
        // What came before that has been announced to nobody here.
        changed.wake();
      }
      const args = ['XREAD', 'COUNT', '1', 'BLOCK', String(BLOCK_MS), 'STREAMS', wakes, known];
      const reply = await connection.send('watch', args, { deadlineMs: BLOCK_MS + RETRY_MS * 10 });
      // Nothing came: look where the stream is now, it may have begun anew.
      known = reply === null ? null : idIn(arrayOf(arrayOf(reply)[0])[1]);
      if (known !== null) changed.wake();
    } catch {
      // The connection has said so in the log.
      known = null;
      changed.wake();
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}

async function newestId(connection: RedisConnection, wakes: string): Promise<string> {
  const entries = arrayOf(await connection.send('watch', ['XREVRANGE', wakes, '+', '-', 'COUNT', '1']));
  return entries.length === 0 ? '0-0' : idIn(entries);
}

function idIn(entries: Parameters<typeof arrayOf>[0]): string {
  return textOf(arrayOf(arrayOf(entries)[0])[0]);
}
