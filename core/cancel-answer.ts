import type { Replies } from './questions.ts';

/** The outcome of a Postgres cancel request at one worker, or at all workers of a replica. */
export interface CancelAnswer {
  /** The key is known, and each of its sessions' pods has closed the connection that brought the cancel (or had its time). */
  readonly isFound: boolean;
  /**
   * Hosts of Postgres routes with `tls: passthrough` to which the canceller's address has a session, at most
   * PASSED_THROUGH_MAX of them; null = a party was not asked, or has not answered. Meaningless where `isFound`.
   */
  readonly passedThrough: readonly string[] | null;
}

/**
 * How long the asker of a question about a cancel waits. Longer than a worker waits for a pod (CANCEL_SEND_MS), so that a
 * pod that is merely slow still counts.
 */
export const CANCEL_ANSWER_MS = 6_000;
/** From dialing the pod to its end of the connection. */
export const CANCEL_SEND_MS = 5_000;

/** Two already mean that it could be either. */
export const PASSED_THROUGH_MAX = 2;

/** Nobody was asked. */
export const NOT_ASKED: CancelAnswer = { isFound: false, passedThrough: null };

export function mergeCancelAnswers(answers: readonly CancelAnswer[]): CancelAnswer {
  const hosts = new Set<string>();
  let isComplete = true;
  for (const { passedThrough } of answers) {
    if (passedThrough === null) isComplete = false;
    else for (const host of passedThrough) hosts.add(host);
  }
  return {
    isFound: answers.some(({ isFound }) => isFound),
    passedThrough: isComplete ? [...hosts].slice(0, PASSED_THROUGH_MAX) : null,
  };
}

/** Parties that did not answer count as not asked. */
export function cancelAnswerOf({ answers, missing, isPartial }: Replies<unknown, CancelAnswer>): CancelAnswer {
  const all = [...answers.values()];
  return mergeCancelAnswers(missing.length > 0 || isPartial ? [...all, NOT_ASKED] : all);
}

/** From another process. Null: not such an answer. */
export function parseCancelAnswer(value: unknown): CancelAnswer | null {
  if (typeof value !== 'object' || value === null || !('isFound' in value && 'passedThrough' in value)) return null;
  const { isFound, passedThrough } = value;
  if (typeof isFound !== 'boolean') return null;
  if (passedThrough === null) return { isFound, passedThrough };
  if (!Array.isArray(passedThrough) || passedThrough.length > PASSED_THROUGH_MAX) return null;
  const hosts = passedThrough.filter((host) => typeof host === 'string' && host.length <= HOST_MAX_LENGTH) as string[];
  return hosts.length === passedThrough.length ? { isFound, passedThrough: hosts } : null;
}

const HOST_MAX_LENGTH = 253;
