import htm from '/console/htm.js';
import { h } from '/console/preact.js';
import { useEffect, useRef, useState } from '/console/preact-hooks.js';

export { render } from '/console/preact.js';
export { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from '/console/preact-hooks.js';

export const html = htm.bind(h);

const TONES = {
  RUNNING: 'good',
  COMPLETE: 'done',
  ERROR: 'bad',
  STOPPED: 'off',
  ASLEEP: 'off',
};

/** Nothing runs: a start is what there is to do. */
const IDLE = new Set(['STOPPED', 'COMPLETE', 'ERROR', 'ASLEEP']);
export const isIdle = (status) => IDLE.has(status);

export const toneOf = (status) => TONES[status] ?? 'busy';

/** A colored dot and the word: color alone says nothing. */
export function Status({ status }) {
  return html`<span class="status ${toneOf(status)}"><i aria-hidden="true"></i>${statusText(status)}</span>`;
}

export function statusText(status) {
  return status.charAt(0) + status.slice(1).toLowerCase().replaceAll('_', ' ');
}

/** Runs `act`, and shows that it is under way and what went wrong. */
export function Action({ label, act, kind = '', title, disabled = false, onError }) {
  const [busy, setBusy] = useState(false);
  const run = async () => {
    setBusy(true);
    try {
      await act();
    } catch (error) {
      onError(error.message);
    }
    setBusy(false);
  };
  return html`<button
    type="button"
    class=${kind}
    aria-label=${title}
    title=${title}
    disabled=${disabled || busy}
    onClick=${run}
  >
    ${label}
  </button>`;
}

export function Copy({ text, label = 'Copy' }) {
  const [said, setSaid] = useState(null);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(typeof text === 'function' ? await text() : text);
      setSaid('Copied');
    } catch (error) {
      setSaid(error.name === 'NotAllowedError' ? 'Select it instead' : error.message);
    }
    setTimeout(() => setSaid(null), 2000);
  };
  return html`<button type="button" class="quiet" onClick=${copy}>
    <span aria-live="polite">${said ?? label}</span>
  </button>`;
}

export function Problem({ text, onClose }) {
  if (text === null) return null;
  return html`<div class="problem" role="alert">
    <p>${text}</p>
    ${onClose && html`<button type="button" class="quiet" onClick=${onClose}>Dismiss</button>`}
  </div>`;
}

/** Longer than any call that Podgate has room for. */
const PATIENCE_MS = 4_000;

/** In place of what is being read; says what to do when that takes long. Whoever shows it tries again. */
export function Waiting() {
  const [isLong, setLong] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLong(true), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, []);
  if (!isLong) return html`<p class="waiting" role="status">Loading</p>`;
  return html`<p class="waiting" role="status">
    Podgate does not respond. It may be busy or starting again.<br />
    This page continues as soon as it responds. If that takes longer than a minute, run <code>./podgate doctor</code> on
    the machine that runs Podgate.
  </p>`;
}

/** Tabs as WAI-ARIA describes them: arrow keys move between them. */
export function Tabs({ label, names, chosen, choose, children }) {
  const list = useRef(null);
  const id = `tabs-${label.toLowerCase().replaceAll(/\W+/g, '-')}`;
  const onKeyDown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = (names.indexOf(chosen) + step + names.length) % names.length;
    choose(names[next]);
    list.current.children[next].focus();
  };
  return html`<div class="tabs">
    <div role="tablist" aria-label=${label} ref=${list} onKeyDown=${onKeyDown}>
      ${names.map(
        (name) =>
          html`<button
            type="button"
            role="tab"
            id="${id}-${name}"
            aria-controls="${id}-panel"
            aria-selected=${name === chosen ? 'true' : 'false'}
            tabindex=${name === chosen ? 0 : -1}
            onClick=${() => choose(name)}
          >
            ${name}
          </button>`,
      )}
    </div>
    <div role="tabpanel" id="${id}-panel" aria-labelledby="${id}-${chosen}">${children}</div>
  </div>`;
}

/** Asks before something that cannot be undone; Escape and Cancel close it. */
export function Confirm({ title, text, act, label, onClose }) {
  const dialog = useRef(null);
  const [problem, setProblem] = useState(null);
  useEffect(() => dialog.current.showModal(), []);
  return html`<dialog ref=${dialog} aria-labelledby="confirm-title" onClose=${onClose}>
    <h2 id="confirm-title">${title}</h2>
    <p>${text}</p>
    <${Problem} text=${problem} />
    <div class="buttons">
      <button type="button" onClick=${() => dialog.current.close()}>Cancel</button>
      <${Action} kind="danger" label=${label} onError=${setProblem} act=${act} />
    </div>
  </dialog>`;
}

/** Long enough for a list to stop scrolling. */
const SETTLED_MS = 200;

/**
 * The value of `read`, again every `everyMs` while the page is visible; `problem` is why the newest try failed. When
 * `inputs` change, it begins anew; with `isKept` it shows the former value until then, and waits a moment for more changes.
 */
export function useLive(read, everyMs, inputs, isKept = false) {
  const [state, setState] = useState({ value: null, problem: null });
  useEffect(() => {
    let timer;
    let ended = false;
    const turn = async () => {
      if (document.visibilityState === 'visible') {
        try {
          const value = await read();
          if (!ended) setState({ value, problem: null });
        } catch (error) {
          if (!ended) setState((before) => ({ value: before.value, problem: error.message }));
        }
      }
      if (!ended) timer = setTimeout(turn, everyMs);
    };
    if (isKept) timer = setTimeout(turn, SETTLED_MS);
    else {
      setState({ value: null, problem: null });
      void turn();
    }
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }, inputs);
  return state;
}
