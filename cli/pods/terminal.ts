import { constants } from 'node:os';
import { WebSocket } from 'ws';
import { CliError, EXIT_FAILED } from '../cli-error.ts';
import { noResponse, parseReply, refusalOf, wayTo } from '../target/call-api.ts';
import { textOf } from '../target/response.ts';
import type { Target } from '../target/target.ts';
import { podPath } from './pod.ts';

const PROTOCOL = 'podgate.terminal.v1';
const CONNECT_MS = 30_000;
/** Of what is typed or pasted and has not left yet: beyond it, nothing more is read. */
const UNSENT_MAX_BYTES = 1024 * 1024;
/** Leaves the other screen, shows the cursor, and turns off reports of the mouse and of pastes. */
const RESET = '\u001b[?1049l\u001b[?25h\u001b[?1000l\u001b[?1002l\u001b[?1003l\u001b[?1006l\u001b[?2004l\u001b[0m\r\n';
const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/** Connects this terminal with one in a pod, until the command there has ended. Returns its exit code. */
export async function openTerminal(target: Target, podId: string, command: readonly string[]): Promise<number> {
  const socket = await connect(target, podId);
  const { stdin, stdout } = process;
  const size = (): object => sizeOf(stdout);
  const send = (message: object): void => socket.send(JSON.stringify(message));
  const restore = makeRaw();
  const ended: { code?: number } = {};

  socket.on('message', (data, isBinary) => {
    if (!Buffer.isBuffer(data)) return;
    if (!isBinary) Object.assign(ended, exitOf(data.toString()));
    else if (!stdout.write(data)) {
      socket.pause();
      stdout.once('drain', () => socket.resume());
    }
  });
  const onTyped = (bytes: Buffer): void => {
    socket.send(bytes, () => {
      if (stdin.isPaused() && socket.bufferedAmount === 0) stdin.resume();
    });
    if (socket.bufferedAmount > UNSENT_MAX_BYTES) stdin.pause();
  };
  const onResize = (): void => send({ type: 'resize', ...size() });
  const onGone = (): void => socket.terminate();
  stdin.on('data', onTyped).once('end', onGone);
  stdout.on('resize', onResize);
  try {
    send({ type: 'start', command, ...size(), ...(isTerm(process.env['TERM']) ? { term: process.env['TERM'] } : {}) });
    // Not once(): it would reject with an 'error', which a 'close' follows.
    const reason = await new Promise<string>((resolve) => {
      socket.once('close', (_, text) => resolve(text.toString()));
    });
    if (ended.code !== undefined) return ended.code;
    // What ran had no time to tidy up.
    stdout.write(RESET);
    throw new CliError(EXIT_FAILED, reason === '' ? 'the connection to Podgate was lost' : reason);
  } finally {
    stdin.off('data', onTyped).off('end', onGone).pause();
    stdout.off('resize', onResize);
    restore();
  }
}

async function connect(target: Target, podId: string): Promise<WebSocket> {
  const { isTls, host, port, ...way } = wayTo(target);
  const address = host.includes(':') ? `[${host}]` : host;
  const url = `${isTls ? 'wss' : 'ws'}://${address}:${port}${podPath(podId, '/terminal')}`;
  const socket = new WebSocket(url, PROTOCOL, { ...way, handshakeTimeout: CONNECT_MS, perMessageDeflate: false });
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', (error) => reject(noResponse(target, error, false)));
    socket.once('unexpected-response', (request, response) => {
      const { statusCode: status = 0 } = response;
      textOf(response)
        .then((text) => reject(refusalOf(target, parseReply(target, status, text))), reject)
        .finally(() => request.destroy());
    });
  });
  // A 'close' follows.
  socket.on('error', () => undefined);
  return socket;
}

/** Every key goes to the pod. Returns what makes the terminal what it was before; that happens at any end but SIGKILL. */
function makeRaw(): () => void {
  const { stdin } = process;
  const wasRaw = stdin.isRaw;
  const onExit = (): void => void stdin.setRawMode(wasRaw);
  const onSignal = (signal: NodeJS.Signals): void => {
    process.stdout.write(RESET);
    process.exit(128 + constants.signals[signal]);
  };
  process.once('exit', onExit);
  for (const signal of ENDING_SIGNALS) process.once(signal, onSignal);
  stdin.setRawMode(true);
  return () => {
    onExit();
    process.off('exit', onExit);
    for (const signal of ENDING_SIGNALS) process.off(signal, onSignal);
  };
}

/** Some pseudo-terminals have no size (0 by 0): then that of a terminal from the time when all were alike. */
function sizeOf({ columns, rows }: Pick<NodeJS.WriteStream, 'columns' | 'rows'>): object {
  return columns > 0 && rows > 0 ? { columns, rows } : { columns: 80, rows: 24 };
}

function exitOf(text: string): { readonly code?: number } {
  const { type, code } = JSON.parse(text) as { readonly type?: unknown; readonly code?: unknown };
  return type === 'exit' && typeof code === 'number' ? { code } : {};
}

function isTerm(term: string | undefined): boolean {
  return term !== undefined && /^[\w.+-]{1,64}$/.test(term);
}
