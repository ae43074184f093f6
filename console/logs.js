import { get, podPath } from '/console/api.js';
import { followEvents, refresher } from '/console/live.js';
import { html, Problem, useEffect, useMemo, useRef, useState } from '/console/ui.js';

const TAIL_BYTES = 256 * 1024;
/** More would make the page slow, and nobody reads them: search first. */
const LINES_SHOWN = 1_000;

/** What the pod prints, as it prints it, and what was done to it, read again at each of its statuses. */
function useLogs({ podId, status, isIdle, source }) {
  const [logs, setLogs] = useState({ output: '', actions: '', problem: null });
  useEffect(() => {
    const leaving = new AbortController();
    const { signal } = leaving;
    const take = (next) => signal.aborted || setLogs((before) => ({ ...before, ...next }));
    const read = async () => {
      const { logs: output, action_logs: lines } = await get(podPath(podId, `/logs?tail_bytes=${TAIL_BYTES}`));
      take({ actions: lines.join('\n'), ...(isIdle ? { output } : {}) });
    };
    void refresher(read, { fail: (problem) => take({ problem }), signal })();
    return () => leaving.abort();
  }, [podId, status, isIdle, source]);
  useEffect(() => {
    if (isIdle) return undefined;
    const leaving = new AbortController();
    const { signal } = leaving;
    let isFirst = true;
    const take = (next) => signal.aborted || setLogs((before) => ({ ...before, ...next(before) }));
    void followEvents({
      path: podPath(podId, `/logs?follow=true&tail_bytes=${TAIL_BYTES}`),
      signal,
      onOpen: () => undefined,
      onTrouble: (problem) => take(() => ({ problem })),
      onEvent: (name, { text }) => {
        if (name !== 'output') return;
        const isTail = isFirst;
        isFirst = false;
        take(({ output }) => ({ output: ((isTail ? '' : output) + text).slice(-TAIL_BYTES) }));
      },
    });
    return () => leaving.abort();
  }, [podId, isIdle]);
  return logs;
}

export function Logs({ podId, status, isIdle }) {
  const [source, setSource] = useState('output');
  const [query, setQuery] = useState('');
  const [isFollowing, setFollowing] = useState(true);
  const box = useRef(null);
  const { output, actions, problem } = useLogs({ podId, status, isIdle, source });
  const text = source === 'output' ? output : actions;
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
