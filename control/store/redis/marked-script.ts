import { randomBytes } from 'node:crypto';
import type { StoreMark } from '../../../core/store.ts';
import type { Tip, Verdict } from '../store-guard.ts';
import { arrayOf, integerOf, type Reply } from './redis-reply.ts';

/** See history.lua. */
export function markArguments(mark: StoreMark | null): readonly string[] {
  return mark === null ? ['', '0', ''] : [mark.storeId, String(mark.commits), mark.stamp];
}

/** What a script to which a mark was presented has answered; see history.lua. */
export function parseMarked(reply: Reply): {
  readonly verdict: Verdict;
  readonly tip: Tip;
  readonly answer: Reply;
} {
  const [verdict, storeId, commits, stamp, answer = null] = arrayOf(reply);
  return {
    // Buffers where an answer is asked for as bytes.
    verdict: String(verdict) as Verdict,
    tip: { storeId: String(storeId), commits: integerOf(commits), stamp: String(stamp) },
    answer,
  };
}

const STAMP_BYTES = 6;

/** Eight characters, as history.lua keeps them. */
export function newStamp(): string {
  return randomBytes(STAMP_BYTES).toString('base64url');
}
