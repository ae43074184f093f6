/** The last moment whose year has four digits. */
const LATEST_MS = Date.UTC(9999, 11, 31, 23, 59, 59);

/** A time of a file. Whoever writes the file sets it to what they like: it is brought within what a date can be. */
export function fileTime(ms: number): Date {
  return new Date(Number.isNaN(ms) ? 0 : Math.min(Math.max(ms, 0), LATEST_MS));
}

/** To the second, as Tapis has it. */
export function fileTimeText(ms: number): string {
  return `${fileTime(ms).toISOString().slice(0, 19)}Z`;
}
