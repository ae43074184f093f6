import { randomUUID } from 'node:crypto';
import type { Clock } from '../../../core/clock.ts';
import { type Claim, groupOfShare, type Queue } from '../../../core/queue.ts';
import type { Wakeup } from '../wakeup.ts';
import { integerOf, textOf, type Connection, type Row } from './sqlite-connection.ts';
import type { GuardedSession } from './guarded-session.ts';

/**
 * Adds a key within a running transaction. A null share leaves the one it has, or gives the common one. `hint`: a parked
 * key stays where it is; `changed`: its record has changed.
 */
export type EnqueueRow = (
  connection: Connection,
  key: string,
  share: string | null,
  dueMs: number,
  why: 'hint' | 'changed',
) => void;

export interface SqliteQueueOptions {
  readonly session: GuardedSession;
  readonly clock: Clock;
  /** Woken when something may have become due, by this queue or by a commit that enqueues. */
  readonly changed: Wakeup;
}

/** Keys added without a share are one share together. */
const COMMON_SHARE = '';
/** Shares (and groups of them) whose turn is remembered while nothing waits. Bounds the memory, not the fairness. */
const MOST_IDLE_SHARES = 1_000;

export function createSqliteQueue(options: SqliteQueueOptions): Queue & { readonly enqueue: EnqueueRow } {
  const { session, clock, changed } = options;
  /** Orders keys that became due in the same millisecond. */
  let position = session.read('queue', (connection) =>
    integerOf(connection.get('SELECT coalesce(max(position), 0) AS last FROM queue') ?? {}, 'last'),
  );
  /** Number of the turn in which each was last served. Not durable: after a restart everybody's turn is next. */
  const turns = { ofGroup: new Map<string, number>(), ofShare: new Map<string, number>() };
  let turn = 0;

  const enqueue: EnqueueRow = (connection, key, share, dueMs, why) => {
    if (why === 'changed') {
      // Before it is added: `ADD` leaves parked keys alone.
      connection.run('UPDATE queue SET parked_reason = NULL, parked_at_ms = NULL WHERE key = ?', key);
      connection.run('UPDATE queue SET is_changed = 1 WHERE key = ? AND token IS NOT NULL', key);
    }
    connection.run(ADD, key, share ?? COMMON_SHARE, dueMs, ++position, share, share);
  };

  /** When the next key becomes due or the next lease ends; null = never. */
  function nextMs(connection: Connection): number | null {
    const row = connection.get(NEXT) ?? {};
    return row['next'] === null ? null : integerOf(row, 'next');
  }

  function claimNow(connection: Connection, leaseMs: number): Claim | null {
    const nowMs = session.ageMs();
    connection.run(EXPIRE, ++position, nowMs);
    const heads = connection.all(HEADS, nowMs);
    const [first, ...others] = heads;
    if (first === undefined) {
      for (const each of Object.values(turns)) if (each.size > MOST_IDLE_SHARES) each.clear();
      return null;
    }
    const head = others.reduce((best, row) => (comesBefore(row, best) ? row : best), first);
    const claim = { key: textOf(head, 'key'), token: randomUUID() };
    connection.run(LEASE, claim.token, nowMs + leaseMs, claim.key);
    const share = textOf(head, 'share');
    turns.ofShare.set(share, ++turn);
    turns.ofGroup.set(groupOfShare(share), turn);
    return claim;
  }

  /** Of the group served longest ago, the share served longest ago; among those, the key that became due first. */
  function comesBefore(a: Row, b: Row): boolean {
    const [shareA, shareB] = [textOf(a, 'share'), textOf(b, 'share')];
    const turnOf = (map: ReadonlyMap<string, number>, name: string): number => map.get(name) ?? 0;
    return (
      (turnOf(turns.ofGroup, groupOfShare(shareA)) - turnOf(turns.ofGroup, groupOfShare(shareB)) ||
        turnOf(turns.ofShare, shareA) - turnOf(turns.ofShare, shareB) ||
        integerOf(a, 'due_ms') - integerOf(b, 'due_ms') ||
        integerOf(a, 'position') - integerOf(b, 'position')) < 0
    );
  }

  return {
    enqueue,

    async add(key, { delayMs = 0, share } = {}) {
      await session.write('add', (connection) => enqueue(connection, key, share ?? null, dueIn(delayMs), 'hint'));
      changed.wake();
    },

    async claim(leaseMs, signal) {
      while (!signal.aborted) {
        // Nobody waits for a key of a store from which none may be taken.
        session.assertTrusted('claim');
        const next = session.read('claim', nextMs);
        const waitMs = next === null ? null : next - session.ageMs();
        if (waitMs === null || waitMs > 0) {
          await changed.wait(waitMs, signal);
          continue;
        }
        const claim = await session.write('claim', (connection) =>
          signal.aborted ? null : claimNow(connection, leaseMs),
        );
        if (claim !== null) return claim;
      }
      return null;
    },

    async extend(claim, leaseMs) {
      return session.write('extend', (connection) => {
        const nowMs = session.ageMs();
        return connection.run(EXTEND, nowMs + leaseMs, claim.key, claim.token, nowMs) > 0;
      });
    },

    async acknowledge(claim) {
      const settled = await session.write('acknowledge', (connection) => {
        const nowMs = session.ageMs();
        return (
          connection.run(REMOVE, claim.key, claim.token, nowMs) +
            connection.run(AGAIN, ++position, nowMs, claim.key, claim.token, nowMs) >
          0
        );
      });
      if (settled) changed.wake();
      return settled;
    },

    async retry(claim, delayMs) {
      const settled = await session.write('retry', (connection) => {
        const nowMs = session.ageMs();
        return connection.run(RETRY, ++position, dueIn(delayMs), nowMs, claim.key, claim.token, nowMs) > 0;
      });
      if (settled) changed.wake();
      return settled;
    },

    async park(claim, reason, forMs) {
      const settled = await session.write('park', (connection) => {
        const nowMs = session.ageMs();
        const values = [++position, nowMs, dueIn(forMs), reason.toWellFormed(), clock.now()];
        return connection.run(PARK, ...values, claim.key, claim.token, nowMs) > 0;
      });
      if (settled) changed.wake();
      return settled;
    },

    async parked(limit) {
      return session.read('parked', (connection) =>
        connection.all(PARKED, Math.max(0, limit)).map((row) => ({
          key: textOf(row, 'key'),
          reason: textOf(row, 'parked_reason'),
          sinceMs: integerOf(row, 'parked_at_ms'),
        })),
      );
    },

    async unpark(key) {
      const count = await session.write('unpark', (connection) =>
        connection.run(UNPARK, session.ageMs(), ++position, key, key),
      );
      if (count > 0) changed.wake();
      return count;
    },

    async stats() {
      return session.read('stats', (connection) => {
        const nowMs = session.ageMs();
        const row = connection.get(STATS, nowMs) ?? {};
        return {
          due: integerOf(row, 'due'),
          delayed: integerOf(row, 'delayed'),
          leased: integerOf(row, 'leased'),
          parked: integerOf(row, 'parked'),
        };
      });
    },
  };

  function dueIn(delayMs: number): number {
    return session.ageMs() + Math.max(0, Math.ceil(delayMs));
  }
}

/** The leases of a former owner of the database: it is dead, or we could not have opened it. */
export function releaseLeases(connection: Connection): void {
  connection.run('UPDATE queue SET token = NULL, leased_until_ms = NULL, again_ms = NULL WHERE token IS NOT NULL');
}

/**
 * The right-hand sides see the row as it was. The last condition keeps an add that changes nothing - the health loop
 * repeats them every few seconds - from touching the disk.
 */
const ADD = `
  INSERT INTO queue (key, share, due_ms, position) VALUES (?, ?, ?, ?)
  ON CONFLICT (key) DO UPDATE SET
    share = coalesce(?, share),
    position = CASE WHEN token IS NULL AND excluded.due_ms < due_ms THEN excluded.position ELSE position END,
    due_ms = CASE WHEN token IS NULL THEN min(due_ms, excluded.due_ms) ELSE due_ms END,
    again_ms = CASE WHEN token IS NULL THEN NULL ELSE min(coalesce(again_ms, excluded.due_ms), excluded.due_ms) END
  WHERE parked_reason IS NULL AND (share <> coalesce(?, share)
    OR token IS NULL AND excluded.due_ms < due_ms
    OR token IS NOT NULL AND (again_ms IS NULL OR excluded.due_ms < again_ms))`;

const NEXT = `
  SELECT min(at) AS next FROM (
    SELECT min(due_ms) AS at FROM queue WHERE token IS NULL
    UNION ALL SELECT min(leased_until_ms) FROM queue WHERE token IS NOT NULL)`;

/** An expired claim is settled: its key became due when the lease ended. */
const EXPIRE = `
  UPDATE queue SET due_ms = leased_until_ms, position = ?, token = NULL, leased_until_ms = NULL,
    again_ms = NULL, is_changed = 0
  WHERE token IS NOT NULL AND leased_until_ms <= ?`;

/** The first due key of each share, found by jumping from share to share in the index, however many keys wait. */
const HEADS = `
  WITH RECURSIVE shares (share) AS (
    SELECT min(share) FROM queue WHERE token IS NULL
    UNION ALL
    SELECT (SELECT min(share) FROM queue WHERE token IS NULL AND share > shares.share)
      FROM shares WHERE shares.share IS NOT NULL)
  SELECT queue.key, queue.share, queue.due_ms, queue.position
  FROM shares CROSS JOIN queue ON queue.key = (
    SELECT key FROM queue AS head WHERE head.token IS NULL AND head.share = shares.share AND head.due_ms <= ?
    ORDER BY head.due_ms, head.position LIMIT 1)`;

const LEASE = `
  UPDATE queue SET token = ?, leased_until_ms = ?, again_ms = NULL, is_changed = 0, parked_reason = NULL,
    parked_at_ms = NULL
  WHERE key = ?`;
const EXTEND = 'UPDATE queue SET leased_until_ms = ? WHERE key = ? AND token = ? AND leased_until_ms > ?';
const REMOVE = 'DELETE FROM queue WHERE key = ? AND token = ? AND leased_until_ms > ? AND again_ms IS NULL';
/** Acknowledged, but added meanwhile: waits again, and not in front of keys that became due during the claim. */
const AGAIN = `
  UPDATE queue SET position = ?, due_ms = max(again_ms, ?), token = NULL, leased_until_ms = NULL, again_ms = NULL
  WHERE key = ? AND token = ? AND leased_until_ms > ? AND again_ms IS NOT NULL`;
const RETRY = `
  UPDATE queue SET position = ?1, due_ms = min(?2, max(coalesce(again_ms, ?2), ?3)),
    token = NULL, leased_until_ms = NULL, again_ms = NULL
  WHERE key = ?4 AND token = ?5 AND leased_until_ms > ?6`;

/** What a commit has enqueued during the claim is due at once. */
const PARK = `
  UPDATE queue SET position = ?1, due_ms = iif(is_changed, ?2, ?3),
    parked_reason = iif(is_changed, NULL, ?4), parked_at_ms = iif(is_changed, NULL, ?5),
    token = NULL, leased_until_ms = NULL, again_ms = NULL
  WHERE key = ?6 AND token = ?7 AND leased_until_ms > ?8`;
const PARKED = `
  SELECT key, parked_reason, parked_at_ms FROM queue WHERE parked_reason IS NOT NULL
  ORDER BY parked_at_ms, key LIMIT ?`;
const UNPARK = `
  UPDATE queue SET due_ms = min(due_ms, ?), position = ?, parked_reason = NULL, parked_at_ms = NULL
  WHERE parked_reason IS NOT NULL AND (? IS NULL OR key = ?)`;

const STATS = `
  SELECT
    count(*) FILTER (WHERE token IS NULL AND due_ms <= ?1 OR token IS NOT NULL AND leased_until_ms <= ?1) AS due,
    count(*) FILTER (WHERE token IS NULL AND due_ms > ?1 AND parked_reason IS NULL) AS delayed,
    count(*) FILTER (WHERE token IS NOT NULL AND leased_until_ms > ?1) AS leased,
    count(*) FILTER (WHERE token IS NULL AND due_ms > ?1 AND parked_reason IS NOT NULL) AS parked
  FROM queue`;
