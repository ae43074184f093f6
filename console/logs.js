import { get, podPath } from '/console/api.js';
import { html, Problem, useEffect, useLive, useMemo, useRef, useState } from '/console/ui.js';

const EVERY_MS = 1_500;
const TAIL_BYTES = 256 * 1024;
/** More would make the page slow, and nobody reads them: search first. */
const LINES_SHOWN = 1_000;

export function Logs({ podId }) {
  const [source, setSource] = useState('output');
  const [query, setQuery] = useState('');
  const [isFollowing, setFollowing] = useState(true);
  const box = useRef(null);
  const { value, problem } = useLive(() => get(podPath(podId, `/logs?tail_bytes=${TAIL_BYTES}`)), EVERY_MS, [podId]);
  const text = value === null ? '' : source === 'output' ? value.logs : value.action_logs.join('\n');
  const lines = useMemo(() => {
    const all = text.replace(/\n$/, '').split('\n');
    const wanted = query.toLowerCase();
    return (query === '' ? all : all.filter((line) => line.toLowerCase().includes(wanted))).slice(-LINES_SHOWN);
  }, [text, query]);
  useEffect(() => {
    if (isFollowing && box.current !== null) box.current.scrollTop = box.current.scrollHeight;
  }, [lines, isFollowing]);
  const onScroll = ({ target }) => {
    setFollowing(target.scrollHeight - target.scrollTop - target.clientHeight < 24);
  };
  return html`<div class="bar">
      <label class="inline"
        ><span class="hidden">Source</span
        ><select value=${source} onChange=${(event) => setSource(event.target.value)}>
          <option value="output">Output</option>
          <option value="actions">Actions</option>
        </select></label
      >
      <label class="search"
        ><span class="hidden">Search the log</span
        ><input type="search" placeholder="Search" value=${query} onInput=${(event) => setQuery(event.target.value)}
      /></label>
      <label class="check"
        ><input type="checkbox" checked=${isFollowing} onChange=${(event) => setFollowing(event.target.checked)} />
        Follow</label
      >
    </div>
    <${Problem} text=${problem} />
    <pre
      class="code log"
      tabindex="0"
      role="log"
      aria-label="Log of ${podId}"
      aria-live="off"
      ref=${box}
      onScroll=${onScroll}
    >
${text === '' ? 'Nothing yet.' : lines.length === 0 ? `No line contains “${query}”.` : lines.join('\n')}</pre>`;
}
