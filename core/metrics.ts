/** Metrics of one part, in Prometheus' terms: a counter only grows, a gauge goes up and down. */
export interface MetricFamily {
  /** `podgate_...`; a counter ends in `_total`, and units are spelled out: `_seconds`, `_bytes`. */
  readonly name: string;
  readonly help: string;
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly samples: readonly MetricSample[];
}

export interface MetricSample {
  /** Values come from closed sets, never from what a stranger sent: the number of series stays bounded. */
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /** What a histogram's samples have behind the family's name; none otherwise. */
  readonly suffix?: '_bucket' | '_sum' | '_count';
}

/** Asked at every scrape: quick, and from memory where it can be. */
export type MetricSource = () => readonly MetricFamily[] | Promise<readonly MetricFamily[]>;

/** One number without labels. */
export function gauge(name: string, help: string, value: number): MetricFamily {
  return { name, help, kind: 'gauge', samples: [{ labels: {}, value }] };
}

/** One number for each value of one label. */
export function byLabel(
  kind: MetricFamily['kind'],
  name: string,
  help: string,
  label: string,
  values: Readonly<Record<string, number>>,
): MetricFamily {
  return {
    name,
    help,
    kind,
    samples: Object.entries(values).map(([key, value]) => ({ labels: { [label]: key }, value })),
  };
}

/** A histogram's samples for one set of labels. `counts[i]`: how many were at most `bounds[i]` and above the one before. */
export function histogramSamples(
  labels: Readonly<Record<string, string>>,
  bounds: readonly number[],
  { counts, sumSeconds }: { readonly counts: readonly number[]; readonly sumSeconds: number },
): readonly MetricSample[] {
  let sofar = 0;
  const buckets = counts.map((count, at): MetricSample => {
    sofar += count;
    return {
      labels: { ...labels, le: at < bounds.length ? String(bounds[at]) : '+Inf' },
      value: sofar,
      suffix: '_bucket',
    };
  });
  return [...buckets, { labels, value: sumSeconds, suffix: '_sum' }, { labels, value: sofar, suffix: '_count' }];
}
