import { call, get, podPath } from '/console/api.js';
import { ConnectBox } from '/console/connect.js';
import { Explain, RecentConnections } from '/console/explain.js';
import { ago, bytes, cores, duration, localTime, memory, number } from '/console/format.js';
import { useLevel } from '/console/level.js';
import { followEvents, refresher } from '/console/live.js';
import { Logs } from '/console/logs.js';
import { PodFiles } from '/console/pod-files.js';
import { Permissions } from '/console/permissions.js';
import { Ribbon } from '/console/ribbon.js';
import { TerminalBox } from '/console/terminal.js';
import { Traffic } from '/console/traffic.js';
import { Action, Confirm, html, isIdle, Problem, Status, useEffect, useLive, useState, Waiting } from '/console/ui.js';

const METRICS_EVERY_MS = 5_000;
const CONNECTIONS_EVERY_MS = 3_000;

/** The pod, read again at each of its events. */
function usePod(podId) {
  const [state, setState] = useState({ pod: null, problem: null });
  useEffect(() => {
    const leaving = new AbortController();
    const { signal } = leaving;
    const fail = (problem) => {
      if (!signal.aborted) setState(({ pod }) => ({ pod, problem }));
    };
    const read = async () => {
      const pod = await get(podPath(podId));
      if (!signal.aborted) setState({ pod, problem: null });
    };
    const refresh = refresher(read, { fail, signal });
    void followEvents({
      signal,
      onTrouble: (problem) => problem !== null && fail(problem),
      onOpen: () => void refresh(),
      onEvent: (name, { pod_id: id }) => {
        if (name === 'pod' && id === podId) void refresh();
      },
    });
    return () => leaving.abort();
  }, [podId]);
  return state;
}

export function PodPage({ podId, session }) {
  const { pod, problem } = usePod(podId);
  const may = useLevel(podPath(podId), session);
  const [failure, setFailure] = useState(null);
  const [isDeleting, setDeleting] = useState(false);
  if (pod === null) {
    return html`<p class="crumb"><a href="#/pods">Pods</a></p>
      <h1>${podId}</h1>
      ${problem === null ? html`<${Waiting} />` : html`<${Problem} text=${problem} />`}`;
  }
  const { status } = pod;
  const send = (act) => () => call('POST', podPath(podId, `/${act}`));
  const remove = async () => {
    await call('DELETE', podPath(podId));
    location.hash = '#/pods';
  };
  return html`<p class="crumb"><a href="#/pods">Pods</a></p>
    <div class="head">
      <h1>${podId}</h1>
      <span role="status"><${Status} status=${status} /></span>
      <span class="space"></span>
      ${
        isIdle(status)
          ? html`<${Action} kind="primary" label="Start" act=${send('start')} onError=${setFailure} />
              ${status === 'ASLEEP' && html`<${Action} label="Stop" act=${send('stop')} onError=${setFailure} />`}`
          : html`<${Action}
                label="Stop"
                disabled=${status === 'SHUTTING_DOWN'}
                act=${send('stop')}
                onError=${setFailure}
              />
              <${Action}
                label="Restart"
                disabled=${status === 'SHUTTING_DOWN'}
                act=${send('restart')}
                onError=${setFailure}
              />`
      }
      <button type="button" class="danger" onClick=${() => setDeleting(true)}>Delete</button>
    </div>
    ${pod.description !== '' && html`<p class="description">${pod.description}</p>`}
    <${Problem} text=${failure ?? problem} onClose=${failure === null ? undefined : () => setFailure(null)} />
    ${pod.sleep !== null && sleepText(pod) !== '' && html`<p class="description">${sleepText(pod)}</p>`}
    ${status === 'ERROR' && html`<${Problem} text=${pod.status_container.message ?? 'The pod failed. The action log says more.'} />`}
    ${
      isDeleting &&
      html`<${Confirm}
        title="Delete ${podId}?"
        text="The pod and the data of its persistent volume are deleted. Named volumes are kept. This cannot be undone."
        label="Delete ${podId}"
        act=${remove}
        onClose=${() => setDeleting(false)}
      />`
    }
    ${status === 'RUNNING' && html`<${Usage} pod=${pod} />`}
    <${Ribbon} podId=${podId} status=${status} />
    <section aria-labelledby="connect">
      <h2 id="connect">Connect</h2>
      <${ConnectBox} pod=${pod} session=${session} />
    </section>
    <section aria-labelledby="logs">
      <h2 id="logs">Logs</h2>
      <${Logs} podId=${podId} status=${status} isIdle=${isIdle(status)} />
    </section>
    ${
      may('ADMIN') &&
      html`<section aria-labelledby="terminal">
        <h2 id="terminal">Terminal</h2>
        <${TerminalBox} podId=${podId} isRunning=${status === 'RUNNING'} />
      </section>`
    }
    <section aria-labelledby="files">
      <h2 id="files">Volumes and files</h2>
      <${PodFiles} pod=${pod} isRunning=${status === 'RUNNING'} mayBrowse=${may('ADMIN')} />
    </section>
    <section aria-labelledby="connections">
      <h2 id="connections">Connections</h2>
      <${Explain} podId=${podId} />
      <${Connections} podId=${podId} />
    </section>
    ${
      may('USER') &&
      html`<section aria-labelledby="permissions">
        <h2 id="permissions">Permissions</h2>
        <${Permissions} path=${podPath(podId, '/permissions')} />
      </section>`
    }
    <section aria-labelledby="settings">
      <h2 id="settings">Settings</h2>
      <${Settings} pod=${pod} session=${session} />
    </section>`;
}

/** Memory and CPU in use, and why they are not known. */
function Usage({ pod: { pod_id: podId, resources } }) {
  const { value, problem } = useLive(() => call('GET', podPath(podId, '/metrics')), METRICS_EVERY_MS, [podId]);
  if (value === null) return html`<${Problem} text=${problem} />`;
  const { memory_bytes: used, cpu_millis: millis } = value.result;
  const texts = [
    ...(used === null ? [] : [`${bytes(used)} of ${memory(resources.mem_limit)} of memory`]),
    ...(millis === null ? [] : [`${cores(millis)} of ${cores(resources.cpu_limit)} CPU cores`]),
  ];
  if (texts.length > 0) return html`<p class="usage">Uses ${texts.join(' and ')}.</p>`;
  return html`<p class="usage minor">${value.metadata.note ?? 'Memory and CPU are not measured yet.'}</p>`;
}

function countsText({ sessions_now: sessions, requests_now: requests }) {
  return `${number(sessions)} ${sessions === 1 ? 'session' : 'sessions'} and ${number(requests)} ${requests === 1 ? 'request' : 'requests'} now.`;
}

function Connections({ podId }) {
  const { value, problem } = useLive(() => get(podPath(podId, '/connections')), CONNECTIONS_EVERY_MS, [podId]);
  if (value === null) return html`<${Problem} text=${problem} />`;
  const stanzas = Object.entries(value.stanzas);
  return html`<${Problem} text=${problem} />
    <p>${countsText(value)}</p>
    <${Traffic} connections=${value} />
    ${
      stanzas.length > 0 &&
      html`<div class="scroll" tabindex="0" role="region" aria-label="Traffic">
        <table>
          <thead>
            <tr>
              <th>Entry</th>
              <th class="number">Sessions</th>
              <th class="number">Requests</th>
              <th class="number">Refused</th>
              <th class="number">Received</th>
              <th class="number">Sent</th>
            </tr>
          </thead>
          <tbody>
            ${stanzas.map(
              ([name, counts]) =>
                html`<tr>
                  <th scope="row">${name}</th>
                  <td class="number">${number(counts.sessions_total)}</td>
                  <td class="number">${number(counts.requests_total)}</td>
                  <td class="number">${number(counts.refusals_total)}</td>
                  <td class="number">${bytes(counts.bytes_in)}</td>
                  <td class="number">${bytes(counts.bytes_out)}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>`
    }
    ${
      value.refusals.length > 0 &&
      html`<h3>Refused</h3>
        <ol class="refusals">
          ${value.refusals.map(
            (refusal) =>
              html`<li>
                <p>${refusal.message}</p>
                <p class="minor">
                  <time datetime=${refusal.time} title=${localTime(refusal.time)}>${ago(refusal.time)}</time> ·${' '}
                  ${refusal.address} · ${refusal.protocol} · <code>${refusal.request_id}</code>
                </p>
              </li>`,
          )}
        </ol>`
    }
    <${RecentConnections} recent=${value.recent} />`;
}

function timesText({ creation_ts: created, start_instance_ts: started }) {
  return `Created ${localTime(created)}${started === null ? '' : `, started ${localTime(started)}`}.`;
}

/** What keeps it awake, or what wakes it. */
function sleepText({ asleep_since: since, last_used_ts: used, awake_because: reasons }) {
  if (since !== null) return `Asleep since ${localTime(since)}. A client that connects wakes it.`;
  const last = used === null ? [] : [`Last used ${ago(used)}.`];
  return [...(reasons?.length > 0 ? [`Awake: ${reasons.join(', ')}.`] : []), ...last].join(' ');
}

/** How long what the pod writes outside named volumes is kept. */
function dataText({ persistent_volume: hasVolume }, { pods_are_processes: areProcesses }) {
  return hasVolume || areProcesses ? 'kept until the pod is deleted' : 'deleted when the pod stops';
}

/** As docs say: a change of these acts on a running pod at once, of the others at its next start. */
function Settings({ pod, session }) {
  const { resources } = pod;
  const allowed = Object.entries(pod.networking)
    .filter(([, { ip_allow_list: list }]) => list.length > 0)
    .map(([name, { ip_allow_list: list }]) => `${name}: ${list.join(', ')}`);
  const groups = [
    [
      'Changes take effect at once',
      [
        [
          'Stops',
          pod.time_to_stop_ts === null
            ? duration(pod.time_to_stop_instance ?? pod.time_to_stop_default)
            : localTime(pod.time_to_stop_ts),
        ],
        ['Sleeps', pod.sleep === null ? 'never' : `${duration(pod.sleep.after_seconds)} without use`],
        ['Allowed addresses', allowed.length === 0 ? 'all' : allowed.join('; ')],
        ['Description', pod.description || 'none'],
      ],
    ],
    [
      'Changes take effect at the next start',
      [
        ['Template', pod.pod_template],
        ['Command', [...(pod.command ?? []), ...(pod.arguments ?? [])].join(' ') || 'of the template'],
        ['Memory', `${memory(resources.mem_request)} to ${memory(resources.mem_limit)}`],
        ['CPU cores', `${cores(resources.cpu_request)} to ${cores(resources.cpu_limit)}`],
        [
          'Networking',
          Object.entries(pod.networking)
            .map(([name, { protocol, port }]) => `${name}: ${protocol} ${port}`)
            .join(', '),
        ],
        ['Data', dataText(pod, session)],
        ['Variables', Object.keys(pod.environment_variables).join(', ') || 'none'],
      ],
    ],
  ];
  return html`${groups.map(
      ([title, items]) =>
        html`<h3>${title}</h3>
          <dl>
            ${items.map(
              ([name, value]) =>
                html`<div>
                  <dt>${name}</dt>
                  <dd>${value}</dd>
                </div>`,
            )}
          </dl>`,
    )}
    <p class="minor">${timesText(pod)}</p>`;
}
