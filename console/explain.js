import { get, podPath } from '/console/api.js';
import { ago, localTime, milliseconds } from '/console/format.js';
import { html, Problem, useState } from '/console/ui.js';

const STEPS = [
  ['tcp_ms', 'TCP'],
  ['tls_ms', 'TLS'],
  ['route_ms', 'route'],
  ['dial_ms', 'dial'],
  ['first_byte_ms', 'first byte'],
];
const TONES = { ok: 'good', warn: 'busy', fail: 'bad' };
const WORDS = { ok: 'Good', warn: 'Note', fail: 'Problem' };

/** The steps of a connection, each behind those before it. */
function Waterfall({ steps }) {
  const taken = STEPS.map(([key, name]) => ({ name, ms: steps[key] ?? null })).filter(({ ms }) => ms !== null);
  const total = taken.reduce((sum, { ms }) => sum + ms, 0) || 1;
  let before = 0;
  return html`<ol class="waterfall">
    ${taken.map(({ name, ms }) => {
      const start = before;
      before += ms;
      return html`<li>
        <span>${name}</span>
        <span class="track" aria-hidden="true"
          ><i
            style=${{
              marginLeft: `${Math.min(98, (100 * start) / total)}%`,
              width: `${Math.max(2, (100 * ms) / total)}%`,
            }}
          ></i
        ></span>
        <span class="number">${milliseconds(ms)}</span>
      </li>`;
    })}
  </ol>`;
}

function Finding({ level, message, remedy }) {
  return html`<li>
    <p>
      <span class="status ${TONES[level]}"><i aria-hidden="true"></i>${WORDS[level]}</span> ${message}
    </p>
    ${remedy !== '' && html`<p class="minor">${remedy}</p>`}
  </li>`;
}

/** Why the pod can or cannot be reached, when the user asks. */
export function Explain({ podId }) {
  const [address, setAddress] = useState('');
  const [isBusy, setBusy] = useState(false);
  const [result, setResult] = useState(null);
  const [problem, setProblem] = useState(null);
  const ask = async (event) => {
    event.preventDefault();
    setBusy(true);
    const query = address === '' ? '' : `?address=${encodeURIComponent(address)}`;
    try {
      setResult(await get(podPath(podId, `/explain${query}`)));
      setProblem(null);
    } catch (error) {
      setProblem(error.message);
    }
    setBusy(false);
  };
  return html`<form class="bar" onSubmit=${ask}>
      <label class="inline"
        ><span class="hidden">Address of a client</span
        ><input
          placeholder="Address (optional)"
          autocomplete="off"
          spellcheck="false"
          value=${address}
          onInput=${(event) => setAddress(event.target.value.trim())}
      /></label>
      <button type="submit" disabled=${isBusy}>${isBusy ? 'Trying' : 'Explain'}</button>
      <span class="minor">Checks name, route, certificate and addresses, and tries each entry once.</span>
    </form>
    <${Problem} text=${problem} />
    <div role="status">
      ${
        result !== null &&
        html`<ul class="findings">
          <${Finding} ...${result.summary} />
        </ul>`
      }
    </div>
    ${(result?.stanzas ?? []).map(
      ({ stanza, host, findings, attempt }) =>
        html`<h3>${stanza}: ${host}</h3>
          <ul class="findings">
            ${findings.map((finding) => html`<${Finding} ...${finding} />`)}
          </ul>
          ${attempt !== null && html`<${Waterfall} steps=${attempt} />`}`,
    )}`;
}

function outcomeOf({ code, end, status }) {
  if (code !== null) return code;
  if (end === null) return 'open';
  return status === null ? end : `status ${status}`;
}

/** The last connections; each opens to its steps. */
export function RecentConnections({ recent }) {
  if (recent.length === 0) return null;
  return html`<h3>Last connections</h3>
    <ol class="recent">
      ${recent.map(
        (each) =>
          html`<li key=${`${each.request_id} ${each.replica}`}>
            <details>
              <summary>
                <time datetime=${each.time} title=${localTime(each.time)}>${ago(each.time)}</time>
                <span>${each.address}</span>
                <span class=${each.code === null ? 'minor' : 'refused'}>${outcomeOf(each)}</span>
                <span class="number">${each.total_ms === null ? '' : milliseconds(each.total_ms)}</span>
              </summary>
              <${Waterfall} steps=${each} />
              <p class="minor">${each.stanza} · ${each.protocol} · <code>${each.request_id}</code></p>
            </details>
          </li>`,
      )}
    </ol>`;
}
