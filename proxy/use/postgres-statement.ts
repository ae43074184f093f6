/** What a statement of SQL means for the use of its pod. Counts may be of several in one text. */
export interface Statement {
  /** `ping` = a pool asks whether its session is alive; `bracket` = it begins or ends a transaction and does nothing else. */
  readonly kind: 'ping' | 'bracket' | 'use';
  /** What it leaves behind in its session; null = nothing that is seen here. */
  readonly leaves: Leavings | null;
}

export interface Leavings {
  readonly listens: number;
  readonly unlistens: number | 'all';
  readonly locks: number;
  readonly unlocks: number | 'all';
  readonly hasTemporaryTable: boolean;
  readonly dropsTemporaryTables: boolean;
  /** PREPARE TRANSACTION, less COMMIT or ROLLBACK PREPARED. */
  readonly prepared: number;
}

/** As much of a statement is looked at. */
export const STATEMENT_LOOKED_AT_BYTES = 4_096;

const PING: Statement = { kind: 'ping', leaves: null };
const BRACKET: Statement = { kind: 'bracket', leaves: null };
export const USE: Statement = { kind: 'use', leaves: null };

/** Longer ones are none of these. */
const SHORT = 64;
/** Both are matched at the first word, without a copy of the text: every query comes by here. */
const PING_TEXT = /select\s+1(?:\s+as\s+\w+)?[\s;]*$/iy;
const BRACKET_TEXT = /(?:begin|start\s+transaction|commit|rollback|end|abort)(?:\s+(?:work|transaction))?[\s;]*$/iy;
/** No statement without one of these leaves anything behind. */
const MAY_LEAVE = /listen|temp|advisory|discard|prepare/i;

/** Errs on the side of use: what looks like a LISTEN in a text counts as one. Never throws. */
export function classifyStatement(text: string): Statement {
  const start = skipBlanks(text);
  if (start === text.length) return PING;
  if (text.length - start <= SHORT) {
    if (isAt(PING_TEXT, text, start)) return PING;
    if (isAt(BRACKET_TEXT, text, start)) return BRACKET;
  }
  return MAY_LEAVE.test(text) ? { kind: 'use', leaves: leavingsOf(text) } : USE;
}

function isAt(pattern: RegExp, text: string, at: number): boolean {
  pattern.lastIndex = at;
  return pattern.test(text);
}

/** Where the first word begins, behind white space, semicolons and comments; the end when there is none. */
function skipBlanks(text: string): number {
  let at = 0;
  while (at < text.length) {
    const character = text.charCodeAt(at);
    if (character <= 0x20 || character === 0x3b) at++;
    else if (text.startsWith('--', at)) at = endAfter(text, '\n', at);
    else if (text.startsWith('/*', at)) at = endAfter(text, '*/', at);
    else break;
  }
  return at;
}

function endAfter(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from + 2);
  return at < 0 ? text.length : at + mark.length;
}

function leavingsOf(text: string): Leavings | null {
  const discards = /(?:^|;)\s*discard\s+(all|temp(?:orary)?)\b/i.exec(text)?.[1]?.toLowerCase();
  const isTemporary =
    /\bcreate\s+(?:(?:local|global|or\s+replace)\s+)*temp(?:orary)?\b|\binto\s+temp(?:orary)?\b|\bpg_temp\./i;
  const leavings: Leavings = {
    listens: countOf(text, /(?:^|;|\*\/)\s*listen\s/gi),
    unlistens: /\bunlisten\s*\*/i.test(text) || discards === 'all' ? 'all' : countOf(text, /\bunlisten\s/gi),
    locks: countOf(text, /\bpg_(?:try_)?advisory_lock(?:_shared)?\s*\(/gi),
    unlocks:
      /\bpg_advisory_unlock_all\s*\(/i.test(text) || discards === 'all'
        ? 'all'
        : countOf(text, /\bpg_advisory_unlock(?:_shared)?\s*\(/gi),
    hasTemporaryTable: isTemporary.test(text) && !/\bon\s+commit\s+drop\b/i.test(text),
    dropsTemporaryTables: discards !== undefined,
    prepared:
      countOf(text, /(?:^|;)\s*prepare\s+transaction\b/gi) - countOf(text, /\b(?:commit|rollback)\s+prepared\b/gi),
  };
  const { listens, unlistens, locks, unlocks, hasTemporaryTable, dropsTemporaryTables, prepared } = leavings;
  const isNothing = listens === 0 && unlistens === 0 && locks === 0 && unlocks === 0 && prepared === 0;
  return isNothing && !hasTemporaryTable && !dropsTemporaryTables ? null : leavings;
}

function countOf(text: string, pattern: RegExp): number {
  return text.match(pattern)?.length ?? 0;
}
