import type { AuditChange } from '../../../core/audit.ts';

/** Of an entry. */
const CHANGES_MAX = 50;
/** Of a value, as JSON. */
const VALUE_MAX_LENGTH = 256;
const FIELD_MAX_LENGTH = 128;

/** A value that nobody may read: all that is recorded is that it was changed. `text` is the same as long as it is. */
export class HiddenValue {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Fields of an object by the names that its users know; those of a plain object are recorded one by one. */
export type AuditedFields = Readonly<Record<string, unknown>>;

/** What differs. Null = there is no such object. */
export function auditChanges(before: AuditedFields | null, after: AuditedFields | null): readonly AuditChange[] {
  const [former, latter] = [flattened(before ?? {}), flattened(after ?? {})];
  const changes: AuditChange[] = [];
  for (const field of [...new Set([...former.keys(), ...latter.keys()])].sort()) {
    const [was, is] = [former.get(field), latter.get(field)];
    if (comparable(was) === comparable(is)) continue;
    changes.push({ field: field.slice(0, FIELD_MAX_LENGTH), before: shown(was), after: shown(is) });
    if (changes.length === CHANGES_MAX) break;
  }
  return changes;
}

/** What is empty is left out: most of the fields of a new object are. */
function flattened(fields: AuditedFields): ReadonlyMap<string, unknown> {
  const flat = new Map<string, unknown>();
  for (const [name, value] of Object.entries(fields)) {
    if (isPlain(value)) for (const [key, inner] of Object.entries(value)) flat.set(`${name}.${key}`, inner);
    else if (value !== '' && value !== null && value !== undefined) flat.set(name, value);
  }
  return flat;
}

function isPlain(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function comparable(value: unknown): string | undefined {
  return value instanceof HiddenValue ? value.text : JSON.stringify(value);
}

function shown(value: unknown): unknown {
  if (value === undefined) return null;
  if (value instanceof HiddenValue) return '(hidden)';
  const json = JSON.stringify(value);
  return json.length <= VALUE_MAX_LENGTH ? value : `${json.slice(0, VALUE_MAX_LENGTH)}...`;
}
