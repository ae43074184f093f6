/** What a gateway worker measures, as histograms: a phase, and the protocol where it differs by that. A closed set. */
export const DURATIONS = [
  'handshake',
  'connect http',
  'connect tcp',
  'connect postgres',
  'first-byte http',
  'first-byte tcp',
  'first-byte postgres',
  'request http',
  'session tcp',
  'session postgres',
] as const;
export type DurationName = (typeof DURATIONS)[number];

/** In seconds. */
const QUICK = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;
const LONG = [1, 10, 60, 600, 3_600, 21_600, 86_400] as const;

/** Upper bounds in seconds, growing; one more bucket is for what is above them all. */
export function durationBounds(name: DurationName): readonly number[] {
  return name.startsWith('session') ? LONG : QUICK;
}

/** Changed in place. `counts[i]`: how many were at most the bound i and above the one before. */
export interface Histogram {
  readonly counts: number[];
  sumSeconds: number;
}

export type Durations = Readonly<Record<DurationName, Histogram>>;

export function newDurations(): Durations {
  const entries = DURATIONS.map((name): [string, Histogram] => [
    name,
    {
      counts: durationBounds(name)
        .map(() => 0)
        .concat(0),
      sumSeconds: 0,
    },
  ]);
  return Object.fromEntries(entries) as Durations;
}

export function observe(durations: Durations, name: DurationName, ms: number): void {
  const seconds = ms / 1_000;
  const bounds = durationBounds(name);
  const histogram = durations[name];
  let at = 0;
  while (at < bounds.length && seconds > (bounds[at] ?? Infinity)) at++;
  histogram.counts[at] = (histogram.counts[at] ?? 0) + 1;
  histogram.sumSeconds += seconds;
}
