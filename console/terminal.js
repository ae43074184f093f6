import { html, useEffect, useRef, useState } from '/console/ui.js';

/** Screen readers get what appears as text of its own, which takes five times as long to draw. */
const READERS = 'podgate.screen-reader';

/** A shell in the pod, once the user asks for it: its code is larger than all the rest of the console. */
export function TerminalBox({ podId, isRunning }) {
  // closed, opening, open or ended.
  const [state, setState] = useState({ kind: 'closed', reason: null });
  const [isForReaders, setForReaders] = useState(localStorage.getItem(READERS) !== null);
  const box = useRef(null);
  const leaving = useRef(null);
  const toggle = useRef(null);
  const close = () => {
    leaving.current?.abort();
    leaving.current = null;
  };
  useEffect(() => close, []);
  const screen = useRef(null);
  const setReaders = ({ target: { checked } }) => {
    if (checked) localStorage.setItem(READERS, 'yes');
    else localStorage.removeItem(READERS);
    setForReaders(checked);
    screen.current?.setForReaders(checked);
  };
  const open = async () => {
    close();
    const { signal } = (leaving.current = new AbortController());
    setState({ kind: 'opening', reason: null });
    const take = (next) => signal.aborted || setState(next);
    try {
      const { openTerminal } = await import('/console/terminal-screen.js');
      screen.current = await openTerminal({
        ...{ box: box.current, podId, isForReaders, signal },
        onOpen: () => take({ kind: 'open', reason: null }),
        onEnd: (reason) => take({ kind: 'ended', reason }),
        onLeave: () => toggle.current.focus(),
      });
    } catch (error) {
      take({ kind: 'ended', reason: error.message });
    }
  };
  const { kind, reason } = state;
  const isOpen = kind === 'opening' || kind === 'open';
  const shut = () => {
    close();
    setState({ kind: 'closed', reason: null });
  };
  return html`<div class="bar">
      <button type="button" ref=${toggle} disabled=${!isOpen && !isRunning} onClick=${isOpen ? shut : open}>
        ${isOpen ? 'Close terminal' : 'Open terminal'}
      </button>
      <label class="check"
        ><input type="checkbox" checked=${isForReaders} onChange=${setReaders} /> Screen reader</label
      >
      <span class="minor">
        ${
          isRunning || isOpen
            ? html`Runs as the user of the pod, and ends with this page. <kbd>Ctrl+Shift+Enter</kbd> leaves it by the
                keyboard.`
            : 'The pod is not running.'
        }
      </span>
    </div>
    <p role="status" class=${reason === null ? 'hidden' : 'minor'}>
      ${reason ?? (kind === 'open' ? 'The terminal is open.' : '')}
    </p>
    <div class="screen" ref=${box} hidden=${kind === 'closed'}></div>`;
}
