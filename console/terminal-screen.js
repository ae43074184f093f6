import { openSocket, podPath } from '/console/api.js';
import '/console/rule-sheet.js';
import { FitAddon } from '/console/xterm-fit.js';
import { Terminal } from '/console/xterm.js';

const PROTOCOL = 'podgate.terminal.v1';
/** The server takes no longer message. */
const PIECE_BYTES = 16 * 1024;
/** What the screen has not drawn yet: beyond the first the pod is asked to wait, below the second to go on. */
const BEHIND_BYTES = 512 * 1024;
const CAUGHT_UP_BYTES = 128 * 1024;
/** The server takes a pause back by itself after that long, so that nobody waits for a page that hangs. */
const PAUSE_AGAIN_MS = 500;
/** Beyond it, pasted text waits. */
const UNSENT_BYTES = 256 * 1024;
const UNSENT_AGAIN_MS = 50;
const LINES_KEPT = 5_000;

function themeOf(box) {
  const { color, backgroundColor } = getComputedStyle(box);
  return { foreground: color, background: backgroundColor, cursor: color, cursorAccent: backgroundColor };
}

/** Its style sheet has to be there before a size is measured. */
function loadStyles() {
  const href = '/console/xterm.css';
  if (document.querySelector(`link[href="${href}"]`) !== null) return Promise.resolve();
  const link = Object.assign(document.createElement('link'), { rel: 'stylesheet', href });
  document.head.append(link);
  return new Promise((resolve, reject) => {
    link.addEventListener('load', () => resolve());
    link.addEventListener('error', () => reject(new Error('The terminal could not be loaded. Reload the page.')));
  });
}

function createScreen(box, isForReaders) {
  const screen = new Terminal({
    allowProposedApi: false,
    cursorBlink: false,
    fontFamily: getComputedStyle(box).fontFamily,
    fontSize: 13,
    // Programs choose colors for a dark terminal; this one is light where the system is.
    minimumContrastRatio: 4.5,
    screenReaderMode: isForReaders,
    scrollback: LINES_KEPT,
    theme: themeOf(box),
  });
  const fit = new FitAddon();
  screen.loadAddon(fit);
  screen.open(box);
  fit.fit();
  return { screen, fit };
}

/**
 * Shows a terminal of the pod in `box` until `signal` aborts. `onEnd` gets a sentence when it has ended, `onLeave` is called
 * when the keyboard is to leave it: Tab belongs to the pod.
 */
export async function openTerminal({ box, podId, isForReaders, onOpen, onEnd, onLeave, signal }) {
  await loadStyles();
  if (signal.aborted) return null;
  const { screen, fit } = createScreen(box, isForReaders);
  const socket = openSocket(podPath(podId, '/terminal'), PROTOCOL);
  const say = (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));
  let hasOpened = false;

  showWithPauses({ screen, socket, say });
  typeInPieces({ screen, socket });
  screen.attachCustomKeyEventHandler((event) => {
    const { type, key, ctrlKey, shiftKey } = event;
    if (type !== 'keydown' || !ctrlKey) return true;
    if (key === 'Enter' && shiftKey) {
      event.preventDefault();
      onLeave();
      return false;
    }
    // The browser copies what is selected; without a selection it is the usual interrupt.
    return !(key === 'c' && screen.hasSelection());
  });
  screen.onResize(({ cols: columns, rows }) => say({ type: 'resize', columns, rows }));

  const resized = new ResizeObserver(() => fit.fit());
  const darkness = matchMedia('(prefers-color-scheme: dark)');
  const onDarkness = () => {
    screen.options.theme = themeOf(box);
  };
  resized.observe(box);
  darkness.addEventListener('change', onDarkness);
  signal.addEventListener('abort', () => {
    resized.disconnect();
    darkness.removeEventListener('change', onDarkness);
    socket.close();
    screen.dispose();
  });
  socket.addEventListener('open', () => {
    hasOpened = true;
    say({ type: 'start', columns: screen.cols, rows: screen.rows, term: 'xterm-256color' });
    screen.focus();
    onOpen();
  });
  socket.addEventListener('close', ({ reason }) => {
    if (signal.aborted) return;
    screen.options.disableStdin = true;
    screen.options.cursorInactiveStyle = 'none';
    if (hasOpened) onEnd(reason === '' ? 'The connection to Podgate was lost.' : reason);
    // Browsers do not show the response to a page.
    else onEnd('Podgate did not open a terminal. The pod must be running, and 6 at a time are open for you at most.');
  });
  return {
    setForReaders: (isWanted) => {
      screen.options.screenReaderMode = isWanted;
    },
  };
}

/** What the pod prints faster than the screen draws waits in the pod, not in the page. */
function showWithPauses({ screen, socket, say }) {
  let undrawn = 0;
  let pausing = null;
  const pause = () => {
    if (pausing !== null) return;
    say({ type: 'pause' });
    pausing = setInterval(() => say({ type: 'pause' }), PAUSE_AGAIN_MS);
  };
  const resume = () => {
    if (pausing === null) return;
    clearInterval(pausing);
    pausing = null;
    say({ type: 'resume' });
  };
  socket.addEventListener('message', ({ data }) => {
    if (typeof data === 'string') return;
    undrawn += data.byteLength;
    if (undrawn > BEHIND_BYTES) pause();
    screen.write(new Uint8Array(data), () => {
      undrawn -= data.byteLength;
      if (undrawn < CAUGHT_UP_BYTES) resume();
    });
  });
  socket.addEventListener('close', () => clearInterval(pausing));
}

function typeInPieces({ screen, socket }) {
  const waiting = [];
  let timer = null;
  const send = () => {
    timer = null;
    while (waiting.length > 0 && socket.readyState === WebSocket.OPEN) {
      if (socket.bufferedAmount > UNSENT_BYTES) {
        timer = setTimeout(send, UNSENT_AGAIN_MS);
        return;
      }
      socket.send(waiting.shift());
    }
  };
  const type = (typed) => {
    for (let at = 0; at < typed.length; at += PIECE_BYTES) waiting.push(typed.subarray(at, at + PIECE_BYTES));
    if (timer === null) send();
  };
  screen.onData((text) => type(new TextEncoder().encode(text)));
  // Reports of the mouse in its oldest encoding: each character is a byte.
  screen.onBinary((text) => type(Uint8Array.from(text, (character) => character.charCodeAt(0))));
}
