/** Header and trailer fields: an allow-list grammar (RFC 9110 5, RFC 9112 5). What it does not know it refuses. */

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** HTAB, SP, VCHAR and obs-text: no control character, so neither a bare CR or LF nor a NUL gets through. */
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Is it a field's name? */
export function isFieldName(name: string): boolean {
  return TOKEN.test(name);
}

/** Is it a field's value, without white space around it? */
export function isFieldValue(value: string): boolean {
  return VALUE.test(value) && !isBlank(value.charCodeAt(0)) && !isBlank(value.charCodeAt(value.length - 1));
}

const TAB = 0x09;
const SPACE = 0x20;

/**
 * The fields in `text` (latin1) from `at` to its end, lines parted by CRLF, as a flat name, value list; or the rule that one
 * of them breaks: an obs-fold, white space before the colon, an empty name, a line end that is not CRLF.
 */
export function parseFields(text: string, at: number): string[] | string {
  const fields: string[] = [];
  let from = at;
  while (from < text.length) {
    let end = text.indexOf('\r\n', from);
    if (end < 0) end = text.length;
    const colon = text.indexOf(':', from);
    if (colon < 0 || colon >= end) return lineFault(text.slice(from, end));
    const name = text.slice(from, colon);
    const value = trimmed(text, colon + 1, end);
    if (!TOKEN.test(name)) return lineFault(text.slice(from, end));
    if (!VALUE.test(value)) return 'The value of a header field contains a control character.';
    fields.push(name, value);
    from = end + 2;
  }
  return fields;
}

/** Why a line is no field. Nothing of it is quoted: it may be anything. */
function lineFault(line: string): string {
  if (isBlank(line.charCodeAt(0))) return 'A header field is folded over several lines.';
  if (!line.includes(':')) return 'A header line has no colon.';
  if (/^[^:]*[\t ]:/.test(line)) return 'A header field has whitespace before its colon.';
  return 'The name of a header field contains a character that is not allowed.';
}

/** Without the optional white space around it. */
function trimmed(text: string, start: number, end: number): string {
  let from = start;
  let to = end;
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

function isBlank(code: number): boolean {
  return code === SPACE || code === TAB;
}

/** All values of a field, joined by commas. */
export function valuesOf(fields: readonly string[], name: string): string {
  let values = '';
  for (let index = 0; index + 1 < fields.length; index += 2) {
    const field = fields[index] ?? '';
    if (field.length !== name.length || field.toLowerCase() !== name) continue;
    values = values === '' ? (fields[index + 1] ?? '') : `${values},${fields[index + 1] ?? ''}`;
  }
  return values;
}
