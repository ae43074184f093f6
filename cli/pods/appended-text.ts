/** Enough of the end of what was shown to find it again. */
const ANCHOR_LENGTH = 512;

/**
 * What `now` has beyond `before`, where both are windows on the end of a growing text; all of `now` when it does not go
 * on where `before` ended: another run, or more than a window in between. Pure.
 */
export function appendedText(before: string, now: string): { readonly text: string; readonly isContinued: boolean } {
  if (now.startsWith(before)) return { text: now.slice(before.length), isContinued: true };
  const anchor = before.slice(-ANCHOR_LENGTH);
  const at = now.lastIndexOf(anchor);
  return at === -1 ? { text: now, isContinued: false } : { text: now.slice(at + anchor.length), isContinued: true };
}

/** The last lines of a text; what follows the last line break counts as one. Pure. */
export function lastLines(text: string, count: number): string {
  if (count === 0) return '';
  let at = text.endsWith('\n') ? text.length - 1 : text.length;
  for (let left = count; left > 0; left--) {
    at = text.lastIndexOf('\n', at - 1);
    if (at === -1) return text;
  }
  return text.slice(at + 1);
}
