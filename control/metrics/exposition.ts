import type { MetricFamily, MetricSource } from '../../core/metrics.ts';
import { errorText } from '../../core/errors.ts';
import type { Logger } from '../../core/logger.ts';

export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/**
 * The numbers of all sources as text. A source that fails is left out and told to the log: the others still count.
 * Families of one name are put together, as the format wants them.
 */
export async function collectMetrics(sources: readonly MetricSource[], log: Logger): Promise<string> {
  const families = await Promise.all(
    sources.map(async (source) => {
      try {
        return await source();
      } catch (error) {
        log.warn({ error: errorText(error) }, 'failed to collect some metrics');
        return [];
      }
    }),
  );
  return exposition(families.flat());
}

/** Prometheus text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats): pure. */
export function exposition(families: readonly MetricFamily[]): string {
  const byName = new Map<string, MetricFamily>();
  for (const family of families) {
    const known = byName.get(family.name);
    byName.set(
      family.name,
      known === undefined ? family : { ...known, samples: [...known.samples, ...family.samples] },
    );
  }
  return [...byName.values()].flatMap(linesOf).join('');
}

function linesOf({ name, help, kind, samples }: MetricFamily): string[] {
  return [
    `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n`,
    `# TYPE ${name} ${kind}\n`,
    ...samples.map(({ labels, value, suffix = '' }) => `${name}${suffix}${labelsShown(labels)} ${valueShown(value)}\n`),
  ];
}

function labelsShown(labels: Readonly<Record<string, string>>): string {
  const shown = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return shown.length === 0 ? '' : `{${shown.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function valueShown(value: number): string {
  if (Number.isFinite(value)) return String(value);
  if (Number.isNaN(value)) return 'NaN';
  return value > 0 ? '+Inf' : '-Inf';
}
