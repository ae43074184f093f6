/**
 * Whether a request passes a login since its path is excluded from it: it equals one of these, or is below it. `target` as
 * the pod receives it. A path that some server could read as one outside is never excluded: its client has to log in.
 */
export function isExcluded(excluded: readonly string[], target: string): boolean {
  const end = target.indexOf('?');
  const path = end < 0 ? target : target.slice(0, end);
  return excluded.some((prefix) => isAtOrBelow(prefix, path)) && hasOneReading(path);
}

/** Byte for byte: `/public` is neither `/Public` nor `/publicity`, and a prefix contains no escapes. */
function isAtOrBelow(prefix: string, path: string): boolean {
  return path.startsWith(prefix) && (path.length === prefix.length || path[prefix.length] === '/');
}

const PRINTABLE_ASCII = /^[\x21-\x7e]+$/;
/** No `;` (parameters of Java servers), `%` (decoded twice), `\`, `:`, nor what a legacy encoding takes for one of these. */
const PLAIN = /^[\p{L}\p{M}\p{N}/ ._~!$&'()*+,=@[\]{}-]+$/u;
/** Neither empty nor of dots and blanks alone, which Windows drops. */
const NAME = /[^. ]/;

function hasOneReading(path: string): boolean {
  if (!PRINTABLE_ASCII.test(path)) return false;
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    // Not UTF-8, such as the overlong %c0%ae for a dot.
    return false;
  }
  // Fullwidth forms and the like become what they look like, as in servers that normalize.
  const folded = decoded.normalize('NFKC');
  if (!PLAIN.test(folded)) return false;
  const segments = folded.split('/').slice(1);
  // An escaped slash parts segments for some servers only.
  if (segments.length !== path.split('/').length - 1) return false;
  const last = segments.length - 1;
  return segments.every((segment, index) => NAME.test(segment) || (segment === '' && index === last));
}
