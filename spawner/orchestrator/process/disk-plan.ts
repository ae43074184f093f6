/** What a pod uses of the disk. */
export interface DiskUse {
  readonly homeBytes: number;
  readonly volumeBytes: number;
  /** Files and directories of both. */
  readonly files: number;
  /** Of named volumes that it can write to. Absent: there are none. */
  readonly shared?: readonly SharedUse[];
}

export interface SharedUse {
  readonly name: string;
  readonly bytes: number;
  readonly limitMiB: number;
}

/** Null: no bound. */
export interface DiskLimits {
  /** Of a pod's home, which goes with each stop. */
  readonly homeMiB: number | null;
  readonly volumeMiB: number | null;
  readonly files: number | null;
}

export type DiskVerdict =
  | { readonly kind: 'within' }
  /** `text` is for the user, and the same until it gets worse. */
  | { readonly kind: 'near'; readonly text: string }
  | { readonly kind: 'beyond'; readonly text: string };

const MIB = 1024 * 1024;
/** A pod is warned at these percentages of a bound, and stopped beyond the last. */
const WARN_PERCENT = [100, 95, 90] as const;
const STOP_PERCENT = 105;
/** By how much a volume that a former run has left beyond its bound may grow: enough to delete from a database. */
const LEEWAY_BYTES = 64 * MIB;

const CHECK_MIN_MS = 1_000;
const CHECK_MAX_MS = 60_000;
/** Measuring takes at most this part of one core. */
const COST = 1 / 20;
/** The same for a check that the file system asks for. */
const EARLY_COST = 1 / 4;
const EARLY_BYTES = 16 * MIB;
const EARLY_FILES = 1_000;

/** `volumeBytesBefore`: of the volume when this run began. */
export function judgeDisk(use: DiskUse, limits: DiskLimits, volumeBytesBefore: number): DiskVerdict {
  const parts = partsOf(use, limits, volumeBytesBefore);
  const beyond = parts.find(({ used, stopAt }) => used > stopAt);
  if (beyond !== undefined) {
    const { what, usedText, limitText } = beyond;
    return { kind: 'beyond', text: `${what} ${usedText} of ${limitText}: stopped so that it does not fill the disk` };
  }
  const texts = parts.flatMap(({ what, used, limit, limitText }) => {
    const percent = WARN_PERCENT.find((each) => used >= (limit * each) / 100);
    return percent === undefined ? [] : [`${what} more than ${percent} % of ${limitText}`];
  });
  if (texts.length === 0) return { kind: 'within' };
  return { kind: 'near', text: `${texts.join('; ')}; a pod is stopped beyond ${STOP_PERCENT} %` };
}

/** What is left until the pod is stopped. */
export function roomOf(use: DiskUse, limits: DiskLimits, volumeBytesBefore: number) {
  const parts = partsOf(use, limits, volumeBytesBefore);
  const least = (unit: 'bytes' | 'files'): number =>
    Math.max(0, Math.min(...parts.filter((each) => each.unit === unit).map(({ used, stopAt }) => stopAt - used)));
  return { bytes: least('bytes'), files: least('files') };
}

/**
 * When a pod is measured again: while it grows, after half of the time in which it would reach its bound. `tookMs`: how
 * long measuring takes.
 */
export function nextCheckMs(check: {
  readonly room: { readonly bytes: number; readonly files: number };
  readonly grewBytes: number;
  readonly grewFiles: number;
  readonly sinceMs: number;
  readonly tookMs: number;
}): number {
  const { room, grewBytes, grewFiles, sinceMs, tookMs } = check;
  const untilFull = (left: number, grew: number): number => (grew <= 0 ? Infinity : (left / grew) * sinceMs);
  const halfwayMs = Math.min(untilFull(room.bytes, grewBytes), untilFull(room.files, grewFiles)) / 2;
  return Math.max(CHECK_MIN_MS, tookMs / COST, Math.min(CHECK_MAX_MS, halfwayMs));
}

/** Has the whole file system lost so much since the last check that this pod may be close to its bound? */
export function isCheckDueEarly(check: {
  readonly room: { readonly bytes: number; readonly files: number };
  readonly lostBytes: number;
  readonly lostFiles: number;
  readonly sinceMs: number;
  readonly tookMs: number;
}): boolean {
  const { room, lostBytes, lostFiles, sinceMs, tookMs } = check;
  if (sinceMs < tookMs / EARLY_COST) return false;
  return lostBytes >= Math.max(EARLY_BYTES, room.bytes / 2) || lostFiles >= Math.max(EARLY_FILES, room.files / 2);
}

function partsOf(
  { homeBytes, volumeBytes, files, shared = [] }: DiskUse,
  limits: DiskLimits,
  volumeBytesBefore: number,
) {
  const bytes = (what: string, used: number, limitMiB: number | null, before: number) => {
    if (limitMiB === null) return [];
    const limit = limitMiB * MIB;
    const stopAt = Math.max((limit * STOP_PERCENT) / 100, before > limit ? before + LEEWAY_BYTES : 0);
    const texts = { usedText: `${Math.ceil(used / MIB)} MiB`, limitText: `${limitMiB} MiB` };
    return [{ what, used, limit, stopAt, unit: 'bytes' as const, ...texts }];
  };
  return [
    ...bytes('its home uses', homeBytes, limits.homeMiB, 0),
    ...bytes('its volume uses', volumeBytes, limits.volumeMiB, volumeBytesBefore),
    ...shared.flatMap(({ name, bytes: used, limitMiB }) => bytes(`volume ${name} has`, used, limitMiB, 0)),
    ...(limits.files === null
      ? []
      : [
          {
            what: 'it has',
            used: files,
            limit: limits.files,
            stopAt: (limits.files * STOP_PERCENT) / 100,
            unit: 'files' as const,
            usedText: String(files),
            limitText: `${limits.files} files`,
          },
        ]),
  ];
}
