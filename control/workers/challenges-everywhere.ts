import { randomUUID } from 'node:crypto';
import { isAborted, pause, untilAborted } from '../../core/abort.ts';
import type { Clock } from '../../core/clock.ts';
import type { Json, Replicas } from '../../core/replicas.ts';
import type { ServedCertificates } from './served-certificates.ts';

/** Questions and answers may be lost; a question costs next to nothing. */
const REPEAT_MS = 100;
const UIDS_MAX = 200;
const ID_MAX_LENGTH = 100;

export interface ChallengesEverywhere {
  /**
   * Resolves when every worker of every live replica answers these challenges, or after `timeoutMs`: with the replicas
   * that are late.
   */
  wait(uids: readonly string[], timeoutMs: number, signal: AbortSignal): Promise<readonly string[]>;
  /** Answers the others, until the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
}

/** An ACME server asks once or a few times, at whatever replica, and counts a wrong answer as a failure. */
export function createChallengesEverywhere(options: {
  readonly served: Pick<ServedCertificates, 'answersChallenges'>;
  readonly replicas: Replicas;
  readonly clock: Clock;
}): ChallengesEverywhere {
  const { served, replicas, clock } = options;
  /** By question: who has answered. */
  const asked = new Map<string, Set<string>>();

  function heard(message: Json, from: string): void {
    const { id, uids, to } = parseMessage(message);
    if (id === null) return;
    if (to === replicas.id) asked.get(id)?.add(from);
    else if (uids !== null && served.answersChallenges(uids)) replicas.publish('challenges', { id, to: from });
  }

  return {
    async wait(uids, timeoutMs, signal) {
      const id = randomUUID();
      const answered = new Set<string>();
      const deadlineMs = clock.monotonicMs() + timeoutMs;
      const late = (): readonly string[] => {
        if (served.answersChallenges(uids)) answered.add(replicas.id);
        return replicas
          .live()
          .map((replica) => replica.id)
          .filter((replica) => !answered.has(replica));
      };
      asked.set(id, answered);
      try {
        for (;;) {
          const missing = late();
          if (missing.length === 0 || clock.monotonicMs() >= deadlineMs || isAborted(signal)) return missing;
          if (missing.some((replica) => replica !== replicas.id)) replicas.publish('challenges', { id, uids });
          await pause(REPEAT_MS, signal);
        }
      } finally {
        asked.delete(id);
      }
    },
    async run(signal) {
      const stop = replicas.listen('challenges', heard);
      await untilAborted(signal);
      stop();
    },
  };
}

function parseMessage(message: Json) {
  const { id, uids, to } = (typeof message === 'object' && message !== null ? message : {}) as {
    readonly id?: unknown;
    readonly uids?: unknown;
    readonly to?: unknown;
  };
  const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= ID_MAX_LENGTH;
  return {
    id: isText(id) ? id : null,
    to: isText(to) ? to : null,
    uids: Array.isArray(uids) && uids.length <= UIDS_MAX && uids.every(isText) ? uids : null,
  };
}
