import { Cron } from 'croner';

const CRON_MAX_LENGTH = 100;
const MINUTE_MS = 60_000;

/** A sentence on why this is no schedule of minute, hour, day of month, month and day of week, or null. '' = never. */
export function cronProblem(text: string): string | null {
  if (text === '') return null;
  if (text.length > CRON_MAX_LENGTH) return `must have at most ${CRON_MAX_LENGTH} characters`;
  const wrong = 'must be five fields such as "30 3 * * *" (minute, hour, day of month, month, day of week; in UTC)';
  // croner also takes dates and names such as @daily.
  if (!/^\S+( +\S+){4}$/.test(text.trim())) return wrong;
  try {
    return parsed(text).nextRun() === null ? 'never comes' : null;
  } catch {
    return wrong;
  }
}

/**
 * The last time of a valid schedule that lies after one moment and not after another, by halving, since there may be
 * years of minutes between them; null: there is none. Wall clock ms.
 */
export function lastTimeBetween(text: string, afterMs: number, untilMs: number): number | null {
  const cron = parsed(text);
  const firstAfter = (ms: number): number => cron.nextRun(new Date(ms))?.getTime() ?? Infinity;
  if (firstAfter(afterMs) > untilMs) return null;
  let [low, high] = [afterMs, untilMs];
  while (high - low > MINUTE_MS) {
    const middle = Math.floor((low + high) / 2);
    if (firstAfter(middle) <= untilMs) low = middle;
    else high = middle;
  }
  return firstAfter(low);
}

function parsed(text: string): Cron {
  return new Cron(text.trim(), { paused: true, utcOffset: 0, mode: '5-part' });
}
