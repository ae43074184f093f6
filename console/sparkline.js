import { bytes } from '/console/format.js';
import { html } from '/console/ui.js';

const WIDTH = 100;
const HEIGHT = 20;
const WINDOW_MS = 5 * 60_000;
/** Those that were read last. */
const PODS_KEPT = 500;

/** By pod: `{samples, picture}`, the one read longest ago first. Kept while other pages are shown. */
const known = new Map();
let firstMs = null;

/** Takes the totals that the workers keep, from a list of metrics. A picture is drawn once, not at each scroll. */
export function noteTraffic(metrics) {
  const ms = performance.now();
  firstMs ??= ms;
  for (const { pod_id: id, traffic } of metrics) {
    if (traffic === null) continue;
    const former = known.get(id)?.samples ?? [];
    const samples = [...former, { ms, bytes: traffic.bytes_in + traffic.bytes_out }].filter(
      (each) => each.ms >= ms - WINDOW_MS,
    );
    known.delete(id);
    known.set(id, { samples, picture: pictureOf(samples) });
  }
  for (const id of known.keys()) if (known.size > PODS_KEPT) known.delete(id);
}

/** Rates from one sample to the next. Totals fall when a worker is replaced: what it had counted is gone. */
function pictureOf(samples) {
  if (samples.length < 2) return null;
  const now = samples.at(-1).ms;
  const span = Math.min(WINDOW_MS, now - firstMs);
  const rates = samples.slice(1).map(({ ms, bytes: total }, index) => {
    const before = samples[index];
    return { ms, rate: Math.max(0, (1000 * (total - before.bytes)) / (ms - before.ms)) };
  });
  const most = Math.max(...rates.map(({ rate }) => rate));
  // All rows have the same time axis. The first rate holds since the sample before it.
  const points = [{ ms: samples[0].ms, rate: rates[0].rate }, ...rates].map(({ ms, rate }) => {
    const x = WIDTH * (1 - (now - ms) / span);
    return `${x.toFixed(1)},${(HEIGHT - 1 - (rate / (most || 1)) * (HEIGHT - 2)).toFixed(1)}`;
  });
  const seconds = Math.round((now - samples[0].ms) / 1000);
  return { points: points.join(' '), rate: rates.at(-1).rate, most, seconds };
}

/** The traffic of a pod in the last minutes, and now; nothing while it is not known. */
export function Sparkline({ id }) {
  const picture = known.get(id)?.picture ?? null;
  if (picture === null) return null;
  const { points, rate, most, seconds } = picture;
  const time = seconds < 120 ? `${seconds} seconds` : `${Math.round(seconds / 60)} minutes`;
  const label = `In the last ${time}, at most ${bytes(most)}/s`;
  return html`<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${label}>
      <title>${label}</title>
      <polyline points=${points} vector-effect="non-scaling-stroke" /></svg
    ><span class="rate">${bytes(rate)}/s</span>`;
}
