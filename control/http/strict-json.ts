import { shownPath } from './field-checks.ts';

/** Deeper than anything a body of this API holds. */
const DEPTH_MAX = 16;
/** Values of all kinds, with names and closed brackets counted as well: several times what the largest valid body has. */
const VALUES_MAX = 10_000;
const PROBLEMS_MAX = 20;
/** Names that mean something else to JavaScript objects than to JSON. */
/** Half of a surrogate pair, maybe followed by the other: the text is UTF-8, which has no other way to say it. */
const HALF_PAIR = /\\u[dD][89a-fA-F]/;
const UNPAIRED =
  'must not contain half of a UTF-16 surrogate pair (\\ud800 to \\udfff): it is no character. Send bytes that are no text as Base64.';
const FORBIDDEN: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

export type StrictJson =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'malformed' }
  /** Too deep, too many values, duplicate or forbidden names, or text that is no Unicode: a sentence about each. */
  | { readonly kind: 'refused'; readonly problems: readonly string[] };

interface Container {
  /** Names seen so far; null for an array. */
  readonly names: Set<string> | null;
  /** Whether the next string is a name. */
  expectsName: boolean;
}

/**
 * Parses a JSON text (RFC 8259). Refuses what takes long to parse and to check (depth, number of values) before it is
 * parsed, and what `JSON.parse` silently lets pass and means two things at once: a name that is there twice (section 4:
 * the receiver may take either), and `__proto__` and its like; and half of a surrogate pair (section 8.2: unpredictable),
 * which becomes U+FFFD wherever text becomes bytes.
 */
export function parseStrictJson(text: string): StrictJson {
  const bound = boundProblem(text);
  if (bound !== null) return { kind: 'refused', problems: [bound] };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { kind: 'malformed' };
  }
  const problems = [...problemsOf(text), ...(HALF_PAIR.test(text) ? surrogateProblems(value) : [])];
  return problems.length === 0 ? { kind: 'value', value } : { kind: 'refused', problems };
}

/** Counts brackets and separators outside strings, in a text that may be anything; stops at the first bound. */
function boundProblem(text: string): string | null {
  let depth = 0;
  let values = 1;
  for (let at = 0; at < text.length; at += 1) {
    switch (text.charCodeAt(at)) {
      case 0x5b: // [
      case 0x7b: // {
        depth += 1;
        values += 1;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth -= 1;
        break;
      case 0x2c: // ,
      case 0x3a: // :
        values += 1;
        break;
      case 0x22: // "
        at = endOfString(text, at);
        break;
      default:
    }
    if (depth > DEPTH_MAX) return `the body is nested deeper than ${DEPTH_MAX} levels`;
    if (values > VALUES_MAX) return `the body has more than ${VALUES_MAX} names and values`;
  }
  return null;
}

/** Walks the structure of a text that is known to be JSON. */
function problemsOf(text: string): readonly string[] {
  const problems: string[] = [];
  const open: Container[] = [];
  for (let at = 0; at < text.length && problems.length < PROBLEMS_MAX; at += 1) {
    const inner = open.at(-1);
    switch (text[at]) {
      case '{':
        open.push({ names: new Set(), expectsName: true });
        break;
      case '[':
        open.push({ names: null, expectsName: false });
        break;
      case '}':
      case ']':
        open.pop();
        break;
      case ',':
        if (inner !== undefined) inner.expectsName = inner.names !== null;
        break;
      case '"': {
        const end = endOfString(text, at);
        if (inner?.expectsName === true && inner.names !== null) {
          checkName(JSON.parse(text.slice(at, end + 1)) as string, inner.names, problems);
          inner.expectsName = false;
        }
        at = end;
        break;
      }
      default:
    }
  }
  return problems;
}

/** A sentence about each name and string of `value` that is not well-formed, at most PROBLEMS_MAX. */
function surrogateProblems(value: unknown): readonly string[] {
  const problems: string[] = [];
  const check = (inner: unknown, path: readonly string[]): void => {
    if (problems.length >= PROBLEMS_MAX) return;
    if (typeof inner === 'string') {
      if (!inner.isWellFormed()) problems.push(`${path.length === 0 ? 'body' : shownPath(path)}: ${UNPAIRED}`);
    } else if (typeof inner === 'object' && inner !== null) {
      for (const [name, field] of Object.entries(inner)) {
        const at = [...path, name];
        if (!name.isWellFormed()) problems.push(`${shownPath(at)}: the name ${UNPAIRED}`);
        check(field, at);
      }
    }
  };
  check(value, []);
  return problems.slice(0, PROBLEMS_MAX);
}

function checkName(name: string, names: Set<string>, problems: string[]): void {
  const shown = JSON.stringify(name.slice(0, 64));
  if (FORBIDDEN.has(name)) problems.push(`${shown}: this name is not allowed`);
  else if (names.has(name)) problems.push(`${shown}: is there twice in the same object`);
  names.add(name);
}

/** Index of the closing quote of the string that opens at `start`. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at;
}
