import { randomUUID } from 'node:crypto';
import type { ChallengeRecord } from '../../core/certificates.ts';
import type { Clock } from '../../core/clock.ts';
import { PodgateError } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';
import type { Store } from '../../core/store.ts';
import type { ChallengeAnswer, ChallengeAnswers } from '../acme/acme-order.ts';

/** ACME servers ask within seconds; some ask again from other places. */
const ANSWER_FOR_MS = 60 * 60_000;
/** An ACME server that gets no answer counts a failure: better a little late. */
const EVERYWHERE_MS = 5_000;

export interface StoredAnswersOptions {
  readonly store: Store;
  /** Resolves when every worker of every replica answers these, or after `timeoutMs`: with the replicas that are late. */
  readonly everywhere: (uids: readonly string[], timeoutMs: number, signal: AbortSignal) => Promise<readonly string[]>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Answers to http-01 and tls-alpn-01 as records of the store, so that whichever replica is asked gives them. */
export function createStoredAnswers({ store, everywhere, clock, log }: StoredAnswersOptions): ChallengeAnswers {
  return {
    async present(answers, signal) {
      const records = answers.map((answer) => recordOf(answer, clock.now()));
      for (const value of records) {
        const key = keyOf(value);
        const present = await store.get('challenge', key);
        const result = await store.commit({
          puts: [{ kind: 'challenge', key, expected: present?.revision ?? 'absent', value, tenant: '', indexes: [] }],
        });
        if (result.kind !== 'committed') throw changedMeanwhile(key);
      }
      const late = await everywhere(
        records.map(({ uid }) => uid),
        EVERYWHERE_MS,
        signal,
      );
      if (late.length > 0 && !signal.aborted) {
        log.warn({ replicas: late }, 'not every replica serves the challenge yet; requesting validation anyway');
      }
    },

    async withdraw(answers) {
      for (const answer of answers) {
        const key = keyOf(recordOf(answer, 0));
        const present = await store.get('challenge', key);
        if (present === null) continue;
        // A record that has changed belongs to another process, so a conflict needs no repair.
        await store.commit({
          deletes: [{ kind: 'challenge', key, expected: present.revision, uid: present.value.uid }],
        });
      }
    },
  };
}

/** Removes what a killed process left behind. */
export async function removeExpiredChallenges(
  store: Store,
  challenges: Iterable<{ readonly key: string; readonly revision: number; readonly value: ChallengeRecord }>,
  nowMs: number,
): Promise<void> {
  for (const { key, revision, value } of challenges) {
    const isPast = nowMs > value.expiresAtMs || value.expiresAtMs - nowMs > 2 * ANSWER_FOR_MS;
    if (isPast) await store.commit({ deletes: [{ kind: 'challenge', key, expected: revision, uid: value.uid }] });
  }
}

function recordOf({ type, host, token, value }: ChallengeAnswer, nowMs: number): ChallengeRecord {
  if (type === 'dns-01') throw new PodgateError('api.internal', { detail: 'workers do not serve DNS challenges' });
  return { uid: randomUUID(), type, host, token, keyAuthorization: value, expiresAtMs: nowMs + ANSWER_FOR_MS };
}

function keyOf({ type, host, token }: ChallengeRecord): string {
  return type === 'http-01' ? `${type} ${token}` : `${type} ${host}`;
}

function changedMeanwhile(key: string): PodgateError {
  return new PodgateError('store.unavailable', { detail: `the challenge ${key} was modified concurrently` });
}
