const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };
const MAX_SECONDS = 10 * 365 * 86_400;

/** Seconds of `90`, `15m`, `12h` or `30d`; null when it is none of these, or more than ten years. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,10})([smhd]?)$/.exec(text);
  if (match === null) return null;
  const seconds = Number(match[1]) * (UNIT_SECONDS[match[2] === '' ? 's' : (match[2] ?? 's')] ?? 1);
  return seconds >= 1 && seconds <= MAX_SECONDS ? seconds : null;
}

/** `45 s`, `12 min`, `5 h`, `3 d`: how long, at a glance. */
export function shortDuration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}
