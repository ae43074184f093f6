import { isDeepStrictEqual } from 'node:util';
import type { Chance } from '../sim/scheduler.ts';
import type { Material } from './mutator.ts';

/** What a parser says of some bytes. `value` is compared as a whole. */
export type Verdict =
  | { readonly kind: 'match'; readonly value: unknown }
  | { readonly kind: 'reject' }
  /** `atLeast`: how many bytes there must be before asking again is worth while. */
  | { readonly kind: 'need-more'; readonly atLeast: number };

export interface FuzzedParser extends Material {
  readonly name: string;
  /**
   * A new reader. `read` is given what has come so far, of which `before` bytes were there the last time: parsers without
   * a state look at all of it, the others at what is new.
   */
  readonly begin: () => { read(bytes: Buffer, before: number): Verdict };
  /** It never waits for more bytes than these in all; Infinity where the length is the sender's affair. */
  readonly waitsForMost: number;
  /** It is a text as a whole, never the beginning of one: not tried in pieces. */
  readonly isWholeText?: boolean;
  /** A law of its own: what is wrong with this verdict, or null. */
  readonly ownLaw?: (bytes: Buffer, verdict: Verdict) => string | null;
}

const PIECES_MAX = 6;

/** The verdict on all of it at once. */
export function verdictOn(parser: FuzzedParser, bytes: Buffer): Verdict {
  return parser.begin().read(bytes, 0);
}

/**
 * What is wrong with how the parser takes these bytes, or null. It never throws; what it says of a beginning it does not
 * take back; in pieces it says what it says of the whole; it waits for no more than it may, and not for nothing.
 */
export function problemWith(parser: FuzzedParser, bytes: Buffer, chance: Chance): string | null {
  try {
    const whole = verdictOn(parser, bytes);
    const waiting = waitingProblem(parser, bytes.length, whole);
    if (waiting !== null) return waiting;
    const own = parser.ownLaw?.(bytes, whole) ?? null;
    if (own !== null) return own;
    if (parser.isWholeText === true) return null;
    const cuts = Array.from({ length: 1 + chance.below(PIECES_MAX) }, () => chance.below(bytes.length + 1));
    return piecesProblem(
      parser,
      bytes,
      whole,
      [...new Set(cuts)].sort((a, b) => a - b),
    );
  } catch (error) {
    return `it threw ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
  }
}

/** A valid input, cut in two at every place, and byte by byte. */
export function splitProblem(parser: FuzzedParser, bytes: Buffer): string | null {
  const whole = verdictOn(parser, bytes);
  if (whole.kind !== 'match') return `a valid input is a ${whole.kind}`;
  if (parser.isWholeText === true) return null;
  for (let cut = 0; cut <= bytes.length; cut++) {
    const problem = piecesProblem(parser, bytes, whole, [cut]);
    if (problem !== null) return problem;
  }
  const everyByte = Array.from({ length: bytes.length }, (_, index) => index);
  return piecesProblem(parser, bytes, whole, everyByte);
}

function piecesProblem(parser: FuzzedParser, bytes: Buffer, whole: Verdict, cuts: readonly number[]): string | null {
  // Sockets give no empty pieces.
  if (bytes.length === 0) return null;
  const reader = parser.begin();
  let before = 0;
  for (const cut of [...cuts, bytes.length]) {
    if (cut === before) continue;
    const verdict = reader.read(bytes.subarray(0, cut), before);
    const where = `of its first ${cut} bytes`;
    const waiting = waitingProblem(parser, cut, verdict);
    if (waiting !== null) return `${waiting} ${where}`;
    if (verdict.kind !== 'need-more') {
      const same = verdict.kind === whole.kind && (verdict.kind === 'reject' || isDeepStrictEqual(verdict, whole));
      return same ? null : `it says ${shown(verdict)} ${where}, and ${shown(whole)} of all`;
    }
    if (whole.kind === 'match' && verdict.atLeast > bytes.length) return `it waits for more than it needs ${where}`;
    before = cut;
  }
  return whole.kind === 'need-more' ? null : `in pieces it waits for more, at once it says ${shown(whole)}`;
}

function waitingProblem({ waitsForMost }: FuzzedParser, length: number, verdict: Verdict): string | null {
  if (verdict.kind !== 'need-more') return null;
  if (verdict.atLeast <= length) return `it has ${length} bytes and waits for ${verdict.atLeast}`;
  return verdict.atLeast > waitsForMost ? `it waits for ${verdict.atLeast} bytes` : null;
}

function shown(verdict: Verdict): string {
  return JSON.stringify(verdict, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value)).slice(
    0,
    300,
  );
}
