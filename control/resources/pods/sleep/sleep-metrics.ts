import { histogramSamples, type MetricFamily } from '../../../../core/metrics.ts';

const BOUNDS_SECONDS = [0.25, 0.5, 1, 2, 5, 10, 20, 40, 60, 120, 300] as const;

/** What this replica has put to sleep and woken since it started. */
export class SleepMetrics {
  #wakes = 0;
  #sleeps = 0;
  #kept = 0;
  readonly #counts: number[] = [...BOUNDS_SECONDS, Infinity].map(() => 0);
  #sumSeconds = 0;

  woken(): void {
    this.#wakes += 1;
  }

  slept(): void {
    this.#sleeps += 1;
  }

  /** It was to sleep, and was in use after all. */
  keptAwake(): void {
    this.#kept += 1;
  }

  wakeTook(seconds: number): void {
    const at = BOUNDS_SECONDS.findIndex((bound) => seconds <= bound);
    const bucket = at === -1 ? BOUNDS_SECONDS.length : at;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#sumSeconds += seconds;
  }

  families(): readonly MetricFamily[] {
    const counter = (name: string, help: string, value: number): MetricFamily => ({
      ...{ name, help, kind: 'counter', samples: [{ labels: {}, value }] },
    });
    return [
      counter('podgate_pod_wakes_total', 'Sleeping pods that this replica has woken for a client.', this.#wakes),
      counter('podgate_pod_sleeps_total', 'Pods that this replica has put to sleep.', this.#sleeps),
      counter(
        'podgate_pods_kept_awake_total',
        'Pods that were found in use by the last check before their sleep.',
        this.#kept,
      ),
      {
        name: 'podgate_pod_wake_seconds',
        help: 'Time from waking a pod until the gateway workers of this replica reach it.',
        kind: 'histogram',
        samples: histogramSamples({}, BOUNDS_SECONDS, { counts: this.#counts, sumSeconds: this.#sumSeconds }),
      },
    ];
  }
}
