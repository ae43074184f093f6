import { call, get } from '/console/api.js';
import { ago, localTime, number } from '/console/format.js';
import { html, Problem, useLive, Waiting } from '/console/ui.js';

const EVERY_MS = 5_000;
const DAY_MS = 86_400_000;
/** As long as public CAs issue certificates; the development CA's are shorter. */
const RUNWAY_DAYS = 90;
const CERTIFICATES_SHOWN = 200;
const OPEN = [
  ['podgate_connections_active', 'Connections'],
  ['podgate_sessions_active', 'Sessions of TCP and Postgres'],
  ['podgate_http_requests_active', 'HTTP requests'],
];

/** Names in `/readyz` that an operator need not know. */
const READINESS_LABELS = {
  followers: 'Workers that receive routes',
  configuredOtherwise: 'Replicas with other settings',
  health: 'Health loop',
};

/** Samples of Prometheus text with that name, added up by the values of a label; '' for the sum of all. */
export function sumBy(metrics, name, label) {
  const sums = new Map();
  for (const line of metrics.split('\n')) {
    if (!line.startsWith(`${name}{`) && !line.startsWith(`${name} `)) continue;
    const key = label === '' ? '' : (new RegExp(`[{,]${label}="([^"]*)"`).exec(line)?.[1] ?? '');
    sums.set(key, (sums.get(key) ?? 0) + Number(line.slice(line.lastIndexOf(' ') + 1)));
  }
  return [...sums].sort((a, b) => b[1] - a[1]);
}

export function OperatorPage() {
  const { value, problem } = useLive(
    async () => {
      const [ready, view, certificates] = await Promise.all([
        call('GET', '/readyz'),
        get('/console/operator'),
        get('/v3/pods/certificates'),
      ]);
      return { ready, view, certificates };
    },
    EVERY_MS,
    [],
  );
  if (value === null) {
    return html`<h1>Operator</h1>
      ${problem === null ? html`<${Waiting} />` : html`<${Problem} text=${problem} />`}`;
  }
  const { ready, view, certificates } = value;
  return html`<h1>Operator</h1>
    <${Problem} text=${problem} />
    <section aria-labelledby="ready">
      <h2 id="ready">Readiness</h2>
      <${Readiness} ready=${ready} />
    </section>
    <section aria-labelledby="queue">
      <h2 id="queue">Queue</h2>
      <${Queue} queue=${view.queue} />
    </section>
    <section aria-labelledby="gateway">
      <h2 id="gateway">Gateway</h2>
      <${Gateway} metrics=${view.metrics} />
    </section>
    <section aria-labelledby="certificates">
      <h2 id="certificates">Certificates</h2>
      <${Certificates} report=${certificates} />
    </section>`;
}

function textOf(value) {
  if (Array.isArray(value)) return value.map(textOf).join(', ') || 'none';
  if (value === null || typeof value !== 'object') return String(value);
  return Object.entries(value)
    .map(([name, each]) => `${name}: ${textOf(each)}`)
    .join(', ');
}

function Readiness({ ready }) {
  return html`<p role="status" class="status ${ready.status === 'success' ? 'good' : 'bad'}">
      <i aria-hidden="true"></i>${ready.message}
    </p>
    <dl>
      ${Object.entries(ready.result ?? {}).map(
        ([name, value]) =>
          html`<div>
            <dt>${READINESS_LABELS[name] ?? name.replace(/([A-Z])/g, ' $1').toLowerCase()}</dt>
            <dd>${textOf(value)}</dd>
          </div>`,
      )}
    </dl>`;
}

function Queue({ queue }) {
  const { due, leased, delayed, parked } = queue;
  return html`<p>
      ${`${number(due)} due, ${number(leased)} in progress, ${number(delayed)} delayed, ${number(parked)} parked.`}
    </p>
    ${
      queue.keys.length > 0 &&
      html`<ol class="refusals">
        ${queue.keys.map(
          ({ key, reason, sinceMs }) =>
            html`<li>
              <p><strong>${key}</strong>: ${reason}</p>
              <p class="minor">
                parked ${ago(new Date(sinceMs).toISOString())}; retry now:${' '}
                <code>./podgate queue retry ${key}</code>
              </p>
            </li>`,
        )}
      </ol>`
    }`;
}

/** Bars as long as their share of the largest. */
function Bars({ label, rows, empty }) {
  if (rows.length === 0) return html`<p class="minor">${empty}</p>`;
  const [[, most]] = rows;
  return html`<table class="bars" aria-label=${label}>
    <tbody>
      ${rows.map(
        ([name, count]) =>
          html`<tr>
            <th scope="row">${name || 'all'}</th>
            <td class="bar-cell" aria-hidden="true">
              <i style=${{ width: `${(100 * count) / Math.max(most, 1)}%` }}></i>
            </td>
            <td class="number">${number(count)}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

function Gateway({ metrics }) {
  const open = OPEN.map(([name, label]) => [label, sumBy(metrics, name, '')[0]?.[1] ?? 0]);
  const refusals = sumBy(metrics, 'podgate_refusals_total', 'code').filter(([, count]) => count > 0);
  return html`<div class="pair">
    <div>
      <h3>Now</h3>
      <dl>
        ${open.map(
          ([label, count]) =>
            html`<div>
              <dt>${label}</dt>
              <dd>${number(count)}</dd>
            </div>`,
        )}
      </dl>
    </div>
    <div>
      <h3>Refused, by reason</h3>
      <${Bars} label="Refusals by reason" rows=${refusals} empty="None since the workers started." />
    </div>
  </div>`;
}

function Certificates({ report }) {
  const rows = report.certificates
    .map((each) => ({
      ...each,
      days: each.not_after === null ? null : (Date.parse(each.not_after) - Date.now()) / DAY_MS,
    }))
    .sort((a, b) => (a.days ?? -1) - (b.days ?? -1));
  return html`<ul class="runway">
      ${rows.slice(0, CERTIFICATES_SHOWN).map(
        ({ names, source, days, not_after: end, lapse, last_error: error }) =>
          html`<li class=${lapse === 'no' ? '' : 'late'}>
            <span class="name">${names.join(', ')}</span>
            <span class="track" aria-hidden="true"
              ><i style=${{ width: `${Math.max(1, Math.min(100, ((days ?? 0) / RUNWAY_DAYS) * 100))}%` }}></i
            ></span>
            <span class="number" title=${end === null ? undefined : localTime(end)}
              >${days === null ? 'not issued' : `${Math.floor(days)} days`}</span
            >
            <span class="minor">${source}${error === null ? '' : `: ${error.message}`}</span>
          </li>`,
      )}
    </ul>
    ${rows.length === 0 && html`<p class="minor">Only the development CA's certificates are served.</p>`}
    ${rows.length > CERTIFICATES_SHOWN && html`<p class="minor">And ${number(rows.length - CERTIFICATES_SHOWN)} more that are valid for longer.</p>`}
    ${report.budgets.map(({ domain, limit, used, left }) => html`<p>${domain}: ${number(used)} of ${number(limit)} new certificates this week, ${number(left)} left.</p>`)}`;
}
