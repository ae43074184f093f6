const PATH_MAX_BYTES = 4_096;
/** NAME_MAX of Linux file systems. */
const NAME_MAX_BYTES = 255;
const DEPTH_MAX = 64;

export type VolumePath =
  { readonly kind: 'path'; readonly names: readonly string[] } | { readonly kind: 'refused'; readonly problem: string };

/**
 * A path within a volume as the names of its directories and, last, of its file; the root has none. Slashes at the start,
 * at the end and in a row mean nothing, as in Tapis. What could lead elsewhere is refused, not tidied up.
 */
export function parseVolumePath(text: string): VolumePath {
  const refused = (problem: string): VolumePath => ({ kind: 'refused', problem });
  if (Buffer.byteLength(text) > PATH_MAX_BYTES) return refused(`must have at most ${PATH_MAX_BYTES} bytes`);
  if (/\p{Cc}/u.test(text)) return refused('must not contain control characters');
  const names = text.split('/').filter((name) => name !== '');
  if (names.length > DEPTH_MAX) return refused(`must have at most ${DEPTH_MAX} directories`);
  if (names.includes('.') || names.includes('..')) return refused('must not contain "." or ".." as a name');
  if (names.some((name) => Buffer.byteLength(name) > NAME_MAX_BYTES)) {
    return refused(`must have at most ${NAME_MAX_BYTES} bytes in each name`);
  }
  return { kind: 'path', names };
}
