import { isAborted, pause, untilAborted } from '../../core/abort.ts';
import type { Json, Replicas } from '../../core/replicas.ts';
import { ReplicaQuestions } from './ask-replicas.ts';
import type { ServedCertificates } from './served-certificates.ts';
import type { WorkerArrivals } from './worker-arrivals.ts';

/** Questions and answers may be lost; a question costs next to nothing. */
const REPEAT_MS = 100;
const UIDS_MAX = 200;
const UID_MAX_LENGTH = 100;
/** Every question is answered at once. */
const ANSWERING_MAX = 1_000;

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
  /** Of this replica. */
  readonly arrivals: Pick<WorkerArrivals, 'areAwaited'>;
}): ChallengesEverywhere {
  const { served, replicas, arrivals } = options;
  const areAnswered = (uids: readonly string[]): boolean => !arrivals.areAwaited && served.answersChallenges(uids);
  const questions = new ReplicaQuestions<readonly string[], true>({
    replicas,
    topic: 'challenges',
    parseQuestion: parseUids,
    parseAnswer: (value) => (value === true ? value : null),
    answeringMax: ANSWERING_MAX,
    repeatMs: REPEAT_MS,
  });

  async function isLateHere(uids: readonly string[], timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    const endMs = performance.now() + timeoutMs;
    while (!areAnswered(uids)) {
      if (performance.now() >= endMs || isAborted(signal)) return true;
      await pause(REPEAT_MS, signal);
    }
    return false;
  }

  return {
    async wait(uids, timeoutMs, signal) {
      const asking = questions.ask(uids, { timeoutMs, signal });
      const isLate = await isLateHere(uids, timeoutMs, signal);
      const { missing } = await asking;
      return isLate ? [replicas.id, ...missing] : missing;
    },
    async run(signal) {
      const stop = questions.listen(async (uids) => (areAnswered(uids) ? true : null));
      await untilAborted(signal);
      stop();
    },
  };
}

function parseUids(value: Json): readonly string[] | null {
  if (!Array.isArray(value) || value.length > UIDS_MAX) return null;
  const uids = value.filter((uid): uid is string => typeof uid === 'string' && uid.length <= UID_MAX_LENGTH);
  return uids.length === value.length ? uids : null;
}
