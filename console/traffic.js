import { BarChart, LineChart } from '/console/chart.js';
import { bytes, localTime, milliseconds } from '/console/format.js';
import { html, useEffect, useState } from '/console/ui.js';

/** Ten minutes, read every three seconds. */
const SAMPLES_KEPT = 200;
const LEAST_SAMPLES = 2;

function totalsOf({ stanzas }) {
  const sum = (name) => Object.values(stanzas).reduce((total, counts) => total + counts[name], 0);
  return {
    ms: performance.now(),
    began: sum('requests_total') + sum('sessions_total'),
    refused: sum('refusals_total'),
    received: sum('bytes_in'),
    sent: sum('bytes_out'),
  };
}

/** Per second, from one sample to the next. Totals fall when a worker is replaced: what it had counted is gone. */
function ratesOf(samples, name) {
  return samples.slice(1).map((sample, index) => {
    const before = samples[index];
    return Math.max(0, (1000 * (sample[name] - before[name])) / (sample.ms - before.ms));
  });
}

const perSecond = (value) => `${value < 10 ? Number(value.toFixed(1)) : Math.round(value)}/s`;
const bytesPerSecond = (value) => `${bytes(value)}/s`;

/** From the totals that the workers keep: the page draws what it has seen since it was opened. */
export function Traffic({ connections }) {
  const [samples, setSamples] = useState([]);
  useEffect(() => {
    setSamples((before) => [...before, totalsOf(connections)].slice(-SAMPLES_KEPT));
  }, [connections]);
  const answered = connections.recent.filter(({ first_byte_ms: ms }) => ms !== null).toReversed();
  if (samples.length <= LEAST_SAMPLES && answered.length === 0) return null;
  const seconds = samples.length < 2 ? 0 : Math.round((samples.at(-1).ms - samples[0].ms) / 1000);
  const ends = [seconds < 120 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`, 'now'];
  return html`<div class="charts">
    ${
      samples.length > LEAST_SAMPLES &&
      html`<${LineChart}
          title="Requests and sessions"
          text=${perSecond}
          ends=${ends}
          series=${[
            { name: 'begun', values: ratesOf(samples, 'began') },
            { name: 'refused', values: ratesOf(samples, 'refused') },
          ]}
        />
        <${LineChart}
          title="Traffic"
          text=${bytesPerSecond}
          ends=${ends}
          series=${[
            { name: 'sent', values: ratesOf(samples, 'sent') },
            { name: 'received', values: ratesOf(samples, 'received') },
          ]}
        />`
    }
    ${
      answered.length > 0 &&
      html`<${BarChart}
        title="Time to the pod's first byte"
        text=${milliseconds}
        ends=${[`the last ${answered.length}`, 'newest']}
        bars=${answered.map(({ time, dial_ms: dial, first_byte_ms: ms }) => ({
          value: (dial ?? 0) + ms,
          note: `${milliseconds((dial ?? 0) + ms)} at ${localTime(time)}`,
        }))}
      />`
    }
  </div>`;
}
