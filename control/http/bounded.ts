import { z } from 'zod';

/**
 * Schemas that check a size before they examine what is inside. Zod's own `max` of a list or a record runs after every
 * entry has been examined, and its `max` of a text does not keep the patterns behind it from running.
 */

/** A text of at most so many characters; further checks run only within the bound. */
export function boundedText(maxLength: number): z.ZodString {
  return z.string().max(maxLength, { abort: true });
}

/** Says why with the sentence of a rule that is written elsewhere. */
export function ruled(problemOf: (text: string) => string | null): z.core.CheckFn<string> {
  return (payload) => {
    const problem = problemOf(payload.value);
    if (problem !== null) payload.issues.push({ code: 'custom', message: problem, input: payload.value });
  };
}

export function boundedList<Item extends z.ZodType>(item: Item, most: number) {
  return sizedFirst('array', most).pipe(z.array(item).max(most));
}

/** Names and values by their own schemas. */
export function boundedRecord<Value extends z.ZodType>(
  name: z.ZodString,
  value: Value,
  { least = 0, most }: { readonly least?: number; readonly most: number },
) {
  return sizedFirst('object', most).pipe(
    z.record(name, value).refine((all) => Object.keys(all).length >= least, `must have at least ${least} entries`),
  );
}

/** Lets pass whatever is not of the origin: the schema behind says that it is not. */
function sizedFirst(origin: 'array' | 'object', most: number) {
  return z.any().check((payload) => {
    const value: unknown = payload.value;
    const size = origin === 'array' ? lengthOf(value) : entriesOf(value, most);
    if (size <= most) return;
    payload.issues.push({ code: 'too_big', origin, maximum: most, inclusive: true, input: value });
  });
}

function lengthOf(value: unknown): number {
  return Array.isArray(value) ? value.length : 0;
}

/** Counts no further than one beyond the bound. */
function entriesOf(value: unknown, most: number): number {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 0;
  let count = 0;
  for (const name in value) if (Object.hasOwn(value, name) && ++count > most) break;
  return count;
}
