import { call, get, podPath } from '/console/api.js';
import { ago, bytes, cores, localTime, memory, number } from '/console/format.js';
import { watchPods } from '/console/live.js';
import { noteTraffic, Sparkline } from '/console/sparkline.js';
import {
  Action,
  html,
  isIdle,
  Problem,
  Status,
  useEffect,
  useLayoutEffect,
  useLive,
  useMemo,
  useRef,
  useState,
  Waiting,
} from '/console/ui.js';

/** Rows beyond the visible ones, above and below. */
const OVERSCAN = 6;
const METRICS_EVERY_MS = 5_000;
/** Of one call. */
const METRICS_MAX = 100;

/** What the pods of these ids use now, by id, and their traffic: one call for all of them. */
async function readMetrics(ids) {
  if (ids.length === 0) return new Map();
  const found = await get(`/v3/pods/metrics?pod_ids=${ids.join(',')}`);
  noteTraffic(found);
  return new Map(found.map((each) => [each.pod_id, each]));
}

export function PodsPage() {
  const [pods, setPods] = useState(null);
  const [problem, setProblem] = useState(null);
  const [query, setQuery] = useState('');
  useEffect(() => {
    const leaving = new AbortController();
    void watchPods({ take: setPods, fail: setProblem, signal: leaving.signal });
    return () => leaving.abort();
  }, []);
  const found = useMemo(() => {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const isFound = ({ id, status, template }) => {
      const text = `${id} ${status.toLowerCase()} ${template}`;
      return words.every((word) => text.includes(word));
    };
    return (pods ?? []).filter(isFound);
  }, [pods, query]);
  return html`<div class="head">
      <h1>Pods</h1>
      <label class="search"
        ><span class="hidden">Search by name, status or template</span
        ><input type="search" placeholder="Search" value=${query} onInput=${(event) => setQuery(event.target.value)}
      /></label>
      <a class="button primary" href="#/new">New pod</a>
    </div>
    <${Problem} text=${problem} />
    ${
      pods === null
        ? html`<${Waiting} />`
        : html`<p class="hidden" role="status">${number(found.length)} ${found.length === 1 ? 'pod' : 'pods'}</p>
            ${
              found.length === 0
                ? html`<p class="empty">
                    ${pods.length === 0 ? html`No pods yet. <a href="#/new">Create the first one</a>.` : `No pod matches “${query}”.`}
                  </p>`
                : html`<${PodTable} pods=${found} onError=${setProblem} />`
            }`
    }`;
}

/** Only the rows in view exist: thousands of pods cost no more than a screenful. */
function PodTable({ pods, onError }) {
  const body = useRef(null);
  const [view, setView] = useState({ first: 0, last: 30, height: 49 });
  useLayoutEffect(() => {
    const measure = () => {
      const height = body.current.querySelector('[role=row]')?.offsetHeight ?? 49;
      const top = Math.max(0, -body.current.getBoundingClientRect().top);
      const first = Math.max(0, Math.floor(top / height) - OVERSCAN);
      const last = Math.min(pods.length, Math.ceil((top + innerHeight) / height) + OVERSCAN);
      setView((before) =>
        before.first === first && before.last === last && before.height === height ? before : { first, last, height },
      );
    };
    measure();
    addEventListener('scroll', measure, { passive: true });
    addEventListener('resize', measure);
    return () => {
      removeEventListener('scroll', measure);
      removeEventListener('resize', measure);
    };
  }, [pods.length]);
  const shown = pods.slice(view.first, view.last);
  const running = shown.filter(({ status }) => status === 'RUNNING').slice(0, METRICS_MAX);
  const ids = running.map(({ id }) => id);
  // Rows that are scrolled past are not asked about; the figures of the last rows stay until the next ones are there.
  const { value: metrics } = useLive(() => readMetrics(ids), METRICS_EVERY_MS, [ids.join()], true);
  return html`<div class="pods" role="table" aria-label="Pods" aria-rowcount=${pods.length + 1}>
    <div role="rowgroup">
      <div class="pod-row titles" role="row" aria-rowindex="1">
        ${['Name', 'Status', 'Template', 'Memory', 'CPU cores', 'Traffic', 'Changed'].map((name) => html`<span role="columnheader">${name}</span>`)}
        <span role="columnheader"><span class="hidden">Actions</span></span>
      </div>
    </div>
    <div role="rowgroup" ref=${body} style=${{ height: `${pods.length * view.height}px` }}>
      <div class="window" style=${{ transform: `translateY(${view.first * view.height}px)` }}>
        ${shown.map((pod, index) => html`<${PodRow} key=${pod.id} pod=${pod} used=${pod.status === 'RUNNING' ? metrics?.get(pod.id) : undefined} index=${view.first + index + 2} onError=${onError} />`)}
      </div>
    </div>
  </div>`;
}

function PodRow({ pod, used, index, onError }) {
  const { id, status } = pod;
  const [act, label] = isIdle(status) ? ['start', 'Start'] : ['stop', 'Stop'];
  return html`<div class="pod-row" role="row" aria-rowindex=${index}>
    <span role="cell" class="name"><a href="#/pods/${id}">${id}</a></span>
    <span role="cell" title=${pod.reason || undefined}><${Status} status=${status} /></span>
    <span role="cell" class="minor template" title=${pod.template}>${pod.template}</span>
    <span role="cell" class="minor number">${ofLimit(used?.memory_bytes, bytes, memory(pod.memory))}</span>
    <span role="cell" class="minor number">${ofLimit(used?.cpu_millis, cores, cores(pod.cpu))}</span>
    <span role="cell" class="minor traffic">${status === 'RUNNING' && html`<${Sparkline} id=${id} />`}</span>
    <span role="cell" class="minor" title=${localTime(pod.updated)}>${ago(pod.updated)}</span>
    <span role="cell" class="act"
      ><${Action}
        kind="quiet"
        label=${label}
        title="${label} ${id}"
        disabled=${status === 'SHUTTING_DOWN'}
        onError=${onError}
        act=${() => call('POST', podPath(id, `/${act}`))}
    /></span>
  </div>`;
}

/** "62 MiB of 256 MiB"; the limit alone where nothing is known. */
function ofLimit(value, text, limit) {
  return value === undefined || value === null ? limit : html`${text(value)} <span class="of">of ${limit}</span>`;
}
