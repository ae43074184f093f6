import { randomUUID } from 'node:crypto';
import type { Clock } from '../../../core/clock.ts';
import type { Lock } from '../../../core/lock.ts';
import { integerOf, type Connection } from './sqlite-connection.ts';
import type { GuardedSession } from './guarded-session.ts';

export function createSqliteLock(options: { readonly session: GuardedSession; readonly clock: Clock }): Lock {
  const { session, clock } = options;
  const { guard } = session;
  return {
    async acquire(name, leaseMs) {
      const lease = await session.write('acquire', (connection) => {
        const nowMs = session.ageMs();
        const live = connection.get('SELECT 1 FROM locks WHERE name = ? AND leased_until_ms > ?', name, nowMs);
        if (live !== undefined) return null;
        const fence = nextFence(connection, clock.now(), guard.mark()?.fence ?? 0);
        const token = randomUUID();
        connection.run('INSERT OR REPLACE INTO locks VALUES (?, ?, ?)', name, token, untilMs(nowMs, leaseMs));
        return { name, fence, token };
      });
      if (lease !== null) guard.fenceGiven(lease.fence);
      return lease;
    },
    async renew({ name, token }, leaseMs) {
      return session.write('renew', (connection) => {
        const nowMs = session.ageMs();
        const renew = 'UPDATE locks SET leased_until_ms = ? WHERE name = ? AND token = ? AND leased_until_ms > ?';
        return connection.run(renew, untilMs(nowMs, leaseMs), name, token, nowMs) > 0;
      });
    },
    async release({ name, token }) {
      await session.write('release', (connection) => {
        connection.run('DELETE FROM locks WHERE name = ? AND token = ?', name, token);
      });
    },
  };
}

/**
 * At least the wall clock: a restored store has forgotten the fences given since the copy was made, but they were no
 * greater than the time then. One more than the last that anybody here knows, should the clock go back or two be given in
 * a millisecond.
 */
function nextFence(connection: Connection, nowMs: number, known: number): number {
  const last = integerOf(connection.get('SELECT fence_given FROM store') ?? {}, 'fence_given');
  const fence = Math.max(last + 1, known + 1, Math.floor(nowMs));
  connection.run('UPDATE store SET fence_given = ?', fence);
  return fence;
}

function untilMs(nowMs: number, leaseMs: number): number {
  return nowMs + Math.ceil(leaseMs);
}

/** The holders died with the former owner of the database, or we could not have opened it. */
export function releaseLocks(connection: Connection): void {
  connection.run('DELETE FROM locks');
}
