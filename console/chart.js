import { html } from '/console/ui.js';

const WIDTH = 600;
const HEIGHT = 80;

/** Room above the greatest value, and something to see where all are 0. */
const topOf = (values) => Math.max(...values, 0) * 1.1 || 1;

function Frame({ title, legend, top, ends, label, children }) {
  return html`<figure class="chart">
    <figcaption><span>${title}</span>${legend}<span class="minor number">${top}</span></figcaption>
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${label}>${children}</svg>
    <div class="ends minor" aria-hidden="true"><span>${ends[0]}</span><span>${ends[1]}</span></div>
  </figure>`;
}

/** Lines over time. `series`: `{name, values}` of the same length, oldest first; `text` says a value with its unit. */
export function LineChart({ title, series, text, ends }) {
  const top = topOf(series.flatMap(({ values }) => values));
  const latest = series.map(({ name, values }) => `${name} ${text(values.at(-1) ?? 0)}`).join(', ');
  return html`<${Frame}
    title=${title}
    legend=${series.map(({ name }, index) => html`<span class="key"><i class="line-${index}"></i>${name}</span>`)}
    top=${`${text(top / 1.1)} at most`}
    ends=${ends}
    label=${`${title}. Now: ${latest}.`}
  >
    ${series.map(({ values }, index) => {
      const points = values.map((value, at) => {
        const x = values.length === 1 ? WIDTH : (at / (values.length - 1)) * WIDTH;
        return `${x.toFixed(1)},${(HEIGHT - (value / top) * HEIGHT).toFixed(1)}`;
      });
      return html`<polyline class="line-${index}" points=${points.join(' ')} vector-effect="non-scaling-stroke" />`;
    })}
  <//>`;
}

/** A bar for each value, oldest first, by its logarithm: values differ by more than a height can show. */
export function BarChart({ title, bars, text, ends }) {
  const values = bars.map(({ value }) => value);
  const top = Math.log1p(topOf(values));
  const sorted = [...values].sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  const width = WIDTH / Math.max(bars.length, 20);
  return html`<${Frame}
    title=${title}
    legend=${html`<span class="minor">median ${text(median)}</span>`}
    top=${`${text(sorted.at(-1))} at most`}
    ends=${ends}
    label=${`${title}. Median ${text(median)}, at most ${text(sorted.at(-1))}.`}
  >
    ${bars.map(({ value, note }, index) => {
      const height = Math.max(2, (Math.log1p(value) / top) * HEIGHT);
      const x = WIDTH - (bars.length - index) * width;
      return html`<rect x=${x + 1} y=${HEIGHT - height} width=${width - 2} height=${height}
        ><title>${note}</title></rect
      >`;
    })}
  <//>`;
}
