/** Deeper than anything a body of this API holds. */
const DEPTH_MAX = 16;
const PROBLEMS_MAX = 20;
/** Names that mean something else to JavaScript objects than to JSON. */
const FORBIDDEN: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

export type StrictJson =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'malformed' }
  /** JSON, but with duplicate names, forbidden ones or too deep: a sentence about each. */
  | { readonly kind: 'refused'; readonly problems: readonly string[] };

interface Container {
  /** Names seen so far; null for an array. */
  readonly names: Set<string> | null;
  /** Whether the next string is a name. */
  expectsName: boolean;
}

/**
 * Parses a JSON text (RFC 8259) and refuses what `JSON.parse` silently lets pass and means two things at once: a name
 * that is there twice (section 4: the receiver may take either), and `__proto__` and its like.
 */
export function parseStrictJson(text: string): StrictJson {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { kind: 'malformed' };
  }
  const problems = problemsOf(text);
  return problems.length === 0 ? { kind: 'value', value } : { kind: 'refused', problems };
}

/** Walks the structure of a text that is known to be JSON. */
function problemsOf(text: string): readonly string[] {
  const problems: string[] = [];
  const open: Container[] = [];
  for (let at = 0; at < text.length && problems.length < PROBLEMS_MAX; at += 1) {
    const inner = open.at(-1);
    switch (text[at]) {
      case '{':
      case '[':
        if (open.length === DEPTH_MAX) return [`the body is nested deeper than ${DEPTH_MAX} levels`];
        open.push(text[at] === '{' ? { names: new Set(), expectsName: true } : { names: null, expectsName: false });
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
