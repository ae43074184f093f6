/**
 * The placeholders of the Tapis Pods API: what a `secret_map` may say, and what environment variables, commands and
 * arguments may contain. Everything here is pure and linear in the length of the text. Any other `${...}` is left as it
 * is: programs and shells have their own.
 */

/** One value of a `secret_map`. */
export type SecretReference =
  /** `${secret:name}`, or `${secret:user:name}` with the user who created it. */
  | { readonly kind: 'secret'; readonly owner: string | null; readonly name: string }
  /** `${pods:default:value}` or `${pods:default:value:?description}`: not a secret, and replaceable in a template. */
  | { readonly kind: 'default'; readonly value: string; readonly description: string }
  /** `${:?description}`: users of the template must provide a value. */
  | { readonly kind: 'required'; readonly description: string }
  /** `${pods:random:N}`: made once for each pod; letters and digits. */
  | { readonly kind: 'random'; readonly length: number };

const RANDOM_MIN_LENGTH = 8;
const RANDOM_MAX_LENGTH = 128;

/** Names of the entries of a `secret_map`. */
export const SECRET_KEY = /^(?!__proto__$)[A-Za-z_][A-Za-z0-9_]{0,127}$/;
/** Ids of secrets. */
export const SECRET_ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$/;

/** Null: not a reference. */
export function parseSecretReference(text: string): SecretReference | null {
  if (!text.startsWith('${') || !text.endsWith('}')) return null;
  const inner = text.slice(2, -1);
  if (inner.startsWith('secret:')) return parseNamedSecret(inner.slice('secret:'.length));
  if (inner.startsWith(':?')) return { kind: 'required', description: inner.slice(2) };
  if (inner.startsWith('pods:default:')) {
    const rest = inner.slice('pods:default:'.length);
    const end = rest.lastIndexOf(':?');
    if (end === -1) return { kind: 'default', value: rest, description: '' };
    return { kind: 'default', value: rest.slice(0, end), description: rest.slice(end + 2) };
  }
  if (inner.startsWith('pods:random:')) {
    const digits = inner.slice('pods:random:'.length);
    const length = /^\d{1,3}$/.test(digits) ? Number(digits) : 0;
    return length < RANDOM_MIN_LENGTH || length > RANDOM_MAX_LENGTH ? null : { kind: 'random', length };
  }
  return null;
}

function parseNamedSecret(text: string): SecretReference | null {
  const parts = text.split(':');
  const name = parts.pop() ?? '';
  if (!SECRET_ID.test(name) || parts.length > 1) return null;
  const [owner = null] = parts;
  return owner === '' ? null : { kind: 'secret', owner, name };
}

/** What a placeholder in a text stands for. */
export type Placeholder =
  | { readonly kind: 'secret'; readonly key: string }
  | { readonly kind: 'networking'; readonly stanza: string; readonly field: NetworkingField };
const NETWORKING_FIELDS = ['url', 'hostname', 'port', 'protocol'] as const;
export type NetworkingField = (typeof NETWORKING_FIELDS)[number];

/** A part of a text: literal text, a placeholder, or an unknown placeholder. */
export type TextPart =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'placeholder'; readonly placeholder: Placeholder }
  | { readonly kind: 'unknown'; readonly text: string };

const OPENING = '${pods:';

/** The text, taken apart: its parts one after the other are the text again. */
export function placeholderParts(text: string): readonly TextPart[] {
  const parts: TextPart[] = [];
  let from = 0;
  for (;;) {
    const start = text.indexOf(OPENING, from);
    const end = start === -1 ? -1 : text.indexOf('}', start);
    if (end === -1) break;
    if (start > from) parts.push({ kind: 'text', text: text.slice(from, start) });
    const whole = text.slice(start, end + 1);
    const placeholder = parsePlaceholder(text.slice(start + OPENING.length, end));
    parts.push(placeholder === null ? { kind: 'unknown', text: whole } : { kind: 'placeholder', placeholder });
    from = end + 1;
  }
  if (from < text.length) parts.push({ kind: 'text', text: text.slice(from) });
  return parts;
}

function parsePlaceholder(inner: string): Placeholder | null {
  if (inner === 'url') return { kind: 'networking', stanza: 'default', field: 'url' };
  const [what, name = '', field, ...others] = inner.split(':');
  if (what === 'secrets' && field === undefined && SECRET_KEY.test(name)) return { kind: 'secret', key: name };
  const known = NETWORKING_FIELDS.find((each) => each === field);
  if (what !== 'networking' || known === undefined || others.length > 0 || !/^[a-z0-9]+$/.test(name)) return null;
  return { kind: 'networking', stanza: name, field: known };
}

/** The text with its placeholders replaced, or the first that has no value, as it was written. */
export function fillPlaceholders(
  text: string,
  valueOf: (placeholder: Placeholder) => string | null,
): { readonly kind: 'filled'; readonly text: string } | { readonly kind: 'unresolved'; readonly placeholder: string } {
  if (!text.includes(OPENING)) return { kind: 'filled', text };
  let filled = '';
  for (const part of placeholderParts(text)) {
    if (part.kind === 'text') {
      filled += part.text;
      continue;
    }
    const value = part.kind === 'unknown' ? null : valueOf(part.placeholder);
    if (value === null) {
      return { kind: 'unresolved', placeholder: part.kind === 'unknown' ? part.text : written(part.placeholder) };
    }
    filled += value;
  }
  return { kind: 'filled', text: filled };
}

function written(placeholder: Placeholder): string {
  if (placeholder.kind === 'secret') return `\${pods:secrets:${placeholder.key}}`;
  return `\${pods:networking:${placeholder.stanza}:${placeholder.field}}`;
}
