import type { z } from 'zod';

const PROBLEMS_MAX = 100;
const NAME_SHOWN_MAX = 64;

export interface CheckedFields<V> {
  /** The fields that are as their schema wants them. */
  readonly values: Partial<V>;
  /** A sentence about each that is not, after its name: `networking.default.port: must be at most 65535`. */
  readonly problems: readonly string[];
  /** Top-level names of the fields with a problem. */
  readonly refused: ReadonlySet<string>;
}

type Values<S extends z.core.$ZodShape> = { [K in keyof S]: z.core.output<S[K]> };

/**
 * Checks each field of a body by itself, so that one bad field hides no problem of another, and the rules that look at
 * several fields can go on with those that are good. Unknown fields are refused.
 */
export function checkFields<S extends z.core.$ZodShape>(
  schema: z.ZodObject<S>,
  body: unknown,
): CheckedFields<Values<S>> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    return { values: {}, problems: ['body: must be a JSON object'], refused: new Set(Object.keys(schema.shape)) };
  }
  const given = body as Readonly<Record<string, unknown>>;
  const values: Record<string, unknown> = {};
  const problems: string[] = [];
  const refused = new Set<string>();
  for (const [name, field] of Object.entries(schema.shape)) {
    const result = (field as z.ZodType).safeParse(Object.hasOwn(given, name) ? given[name] : undefined);
    if (result.success) {
      if (result.data !== undefined) values[name] = result.data;
      continue;
    }
    refused.add(name);
    for (const issue of worthSaying(result.error.issues)) {
      if (problems.length >= PROBLEMS_MAX) break;
      problems.push(...sentencesOf(issue, [name]));
    }
  }
  for (const name of Object.keys(given)) {
    if (problems.length >= PROBLEMS_MAX) break;
    if (!Object.hasOwn(schema.shape, name)) problems.push(`${shownName(name)}: unknown field`);
  }
  return { values: values as Partial<Values<S>>, problems: problems.slice(0, PROBLEMS_MAX), refused };
}

/** A number beyond what can be counted breaks the field's own bound as well, which is the one to tell. */
function worthSaying(issues: readonly z.core.$ZodIssue[]): readonly z.core.$ZodIssue[] {
  const bounded = issues.filter(
    (issue) =>
      !(issue.code === 'too_big' && issue.maximum === Number.MAX_SAFE_INTEGER) &&
      !(issue.code === 'too_small' && issue.minimum === Number.MIN_SAFE_INTEGER),
  );
  return bounded.length === 0 ? issues : bounded;
}

function sentencesOf(issue: z.core.$ZodIssue, before: readonly PropertyKey[]): readonly string[] {
  const path = [...before, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.slice(0, PROBLEMS_MAX).map((key) => `${shownPath([...path, key])}: unknown field`);
  }
  if (issue.code === 'invalid_key') {
    return issue.issues.map((inner) => `${shownPath(path)}: the name ${sentenceOf(inner)}`);
  }
  return [`${shownPath(path)}: ${sentenceOf(issue)}`];
}

function sentenceOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.input === undefined && issue.message.endsWith('received undefined')) return 'is required';
      return `must be ${expectedShown(issue.expected)}`;
    case 'too_big':
      return `must ${unitOf(issue.origin, `at most ${issue.maximum}`)}`;
    case 'too_small':
      return `must ${unitOf(issue.origin, `at least ${issue.minimum}`)}`;
    case 'invalid_value':
      return `must be one of ${issue.values.map(String).join(', ')}`;
    case 'invalid_format':
    case 'custom':
    case 'not_multiple_of':
    case 'unrecognized_keys':
    case 'invalid_union':
    case 'invalid_key':
    case 'invalid_element':
      return issue.message;
  }
}

function unitOf(origin: string, bound: string): string {
  if (origin === 'string') return `have ${bound} characters`;
  if (origin === 'array' || origin === 'object') return `have ${bound} entries`;
  return `be ${bound}`;
}

function expectedShown(expected: string): string {
  switch (expected) {
    case 'int':
      return 'a whole number';
    case 'number':
      return 'a number';
    case 'string':
      return 'a string';
    case 'boolean':
      return 'true or false';
    case 'array':
      return 'a list';
    case 'object':
    case 'record':
      return 'an object';
    default:
      return `of type ${expected}`;
  }
}

/** A name that a stranger chose, bounded, and quoted where it could be mistaken for something else. */
function shownName(name: PropertyKey): string {
  const text = String(name).slice(0, NAME_SHOWN_MAX);
  return /^[\w-]+$/.test(text) ? text : JSON.stringify(text);
}

/** Names from the outside to the inside, such as `networking.default.port`. */
export function shownPath(path: readonly PropertyKey[]): string {
  return path.map(shownName).join('.');
}
