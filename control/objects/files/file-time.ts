/** The last moment whose year has four digits. */
const LATEST_MS = Date.UTC(9999, 11, 31, 23, 59, 59);

/** The time of a file, clamped to the range of Date: the file's owner can set it to anything. */
export function fileTime(ms: number): Date {
  return new Date(Number.isNaN(ms) ? 0 : Math.min(Math.max(ms, 0), LATEST_MS));
}

/** To the second, as Tapis has it. */
export function fileTimeText(ms: number): string {
  return `${fileTime(ms).toISOString().slice(0, 19)}Z`;
}
