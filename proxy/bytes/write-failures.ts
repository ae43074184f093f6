import { Socket } from 'node:net';
import { errorCode } from '../../core/error-code.ts';

type WriteCallback = (error?: Error | null) => void;

export interface WriteFailureListener {
  /** A write has failed with this error code; writes are dropped from now on. */
  failed?(code: string): void;
  /** The end was read, too: the socket is of no more use. `isReset`: the other side did not end properly. */
  gone?(isReset: boolean): void;
}

interface State {
  /** Of the first write that failed. */
  code: string | null;
  listener: WriteFailureListener;
}

/** A socket whose writes have failed is destroyed when nothing has been read from it for so long. */
const UNREAD_MS = 60_000;

const states = new WeakMap<Socket, State>();

/**
 * Keeps a socket readable when a write to it fails. Node destroys a socket on a failed write (EPIPE, ECONNRESET) and with it
 * all that was received and not yet read: the 413 of a server that closes during an upload, the close frame of a WebSocket.
 * The kernel still has those bytes, on Linux also after a reset. From the failed write on, writes are dropped and reads go on
 * to the end. Called again for the same socket, it replaces the listener.
 */
export function surviveFailedWrites(socket: Socket, listener: WriteFailureListener = {}): void {
  const known = states.get(socket);
  if (known === undefined) keepReadable(socket, { code: null, listener });
  else {
    known.listener = listener;
    if (known.code !== null) tell(socket, known, known.code);
  }
}

/** The error code of the first write that failed, or null. */
export function writeFailure(socket: Socket): string | null {
  return states.get(socket)?.code ?? null;
}

/**
 * Whether an end that is read now is no proper one. The failed write has consumed the socket's error, so that the end after a
 * reset reads like a FIN; only EPIPE says that a FIN came before (tcp_reset in Linux: EPIPE in CLOSE_WAIT, else ECONNRESET).
 */
export function endsByReset(socket: Socket): boolean {
  const code = writeFailure(socket);
  return code !== null && code !== 'EPIPE';
}

function keepReadable(socket: Socket, state: State): void {
  states.set(socket, state);
  const { prototype } = Socket;
  // A Writable has at most one write in progress, so one callback per socket is enough.
  let pending: WriteCallback = ignore;
  const settle: WriteCallback = (error) => {
    const callback = pending;
    pending = ignore;
    if (error !== null && error !== undefined && !socket.destroyed) fail(socket, state, error);
    callback(null);
  };
  socket._write = (chunk: unknown, encoding, callback) => {
    if (state.code !== null) {
      callback();
      return;
    }
    pending = callback;
    prototype._write.call(socket, chunk, encoding, settle);
  };
  socket._writev = (chunks, callback) => {
    if (state.code !== null) {
      callback();
      return;
    }
    pending = callback;
    prototype._writev?.call(socket, chunks, settle);
  };
}

function fail(socket: Socket, state: State, error: Error): void {
  const code = errorCode(error) ?? 'UNKNOWN';
  state.code = code;
  socket.setTimeout(UNREAD_MS, () => socket.destroy());
  tell(socket, state, code);
}

function tell(socket: Socket, { listener }: State, code: string): void {
  listener.failed?.(code);
  const gone = (): void => listener.gone?.(endsByReset(socket));
  if (socket.readableEnded) gone();
  else socket.once('end', gone);
}

function ignore(): void {
  // Nothing waits.
}
