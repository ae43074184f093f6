import type { SnapshotStatus } from '../../../core/volume.ts';

const DAY_MS = 86_400_000;
const KEEP_MAX = 1_000;
const DAYS_MAX = 36_500;

export interface Retention {
  /** How many of the newest stay; null: any number. */
  readonly keep: number | null;
  /** None stays longer; null: for ever. */
  readonly days: number | null;
}

/** `keep=7`, `days=30`, or both with a comma; '' keeps all. Null: it is none of these. */
export function parseRetention(text: string): Retention | null {
  let retention: Retention = { keep: null, days: null };
  if (text === '') return retention;
  for (const part of text.split(',')) {
    const match = /^\s*(keep|days)\s*=\s*(\d{1,5})\s*$/.exec(part);
    const field = match?.[1] === 'keep' ? 'keep' : 'days';
    const value = Number(match?.[2] ?? 0);
    if (value < 1 || value > (field === 'keep' ? KEEP_MAX : DAYS_MAX) || retention[field] !== null) return null;
    retention = { ...retention, [field]: value };
  }
  return retention;
}

export const RETENTION_FORM = `must be "keep=N" (1 to ${KEEP_MAX} snapshots), "days=N" (1 to ${DAYS_MAX}), both with a comma, or empty`;

/**
 * Those that do not stay: pure. One that has failed never takes the place of one that is complete, and stays while it is
 * the newest.
 */
export function expiredOf<T extends { readonly createdAtMs: number; readonly status: SnapshotStatus }>(
  made: readonly T[],
  { keep, days }: Retention,
  nowMs: number,
): readonly T[] {
  if (keep === null && days === null) return [];
  const newestFirst = made.toSorted((a, b) => b.createdAtMs - a.createdAtMs);
  const complete = newestFirst.filter(({ status }) => status !== 'ERROR');
  return newestFirst.filter((each, index) =>
    each.status === 'ERROR'
      ? index > 0
      : (keep !== null && complete.indexOf(each) >= keep) ||
        (days !== null && nowMs - each.createdAtMs > days * DAY_MS),
  );
}
