import type { Socket } from 'node:net';
import { errorCode } from '../../core/error-code.ts';
import type { DialGuard } from '../../core/pod-network.ts';
import { connectTappable } from '../bytes/tap.ts';
import { onConnected } from '../socket/on-connected.ts';

/** How long one attempt may take: no SYN is answered where packets are dropped. */
export const CONNECT_TIMEOUT_MS = 5_000;
export const KEEP_ALIVE_MS = 60_000;

/** Where to: an address (never a name: nothing is resolved on the data path) or the API's Unix socket. */
export type Destination =
  | ({ readonly kind: 'address'; readonly address: string; readonly port: number } & DialGuard)
  | { readonly kind: 'unix'; readonly path: string };

export interface ConnectOptions {
  readonly timeoutMs: number;
  /** Sessions and tunnels honor half-close; a request's connection ends when the other side ends. */
  readonly allowHalfOpen: boolean;
}

/** No connection was made, so nothing was sent: another attempt repeats nothing. `code` is that of the cause. */
export class ConnectFailed extends Error {
  readonly code: string;

  constructor(cause: Error) {
    super(cause.message, { cause });
    this.code = errorCode(cause) ?? 'UNKNOWN';
  }
}

/** Makes one attempt. Rejects with ConnectFailed, also when the signal aborts; the socket is destroyed then. */
export function connect(
  destination: Destination,
  { timeoutMs, allowHalfOpen }: ConnectOptions,
  signal: AbortSignal,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(new ConnectFailed(new Error('aborted')));
      return;
    }
    const socket =
      destination.kind === 'unix'
        ? connectTappable({ path: destination.path, allowHalfOpen })
        : connectTappable(
            { host: destination.address, port: destination.port, allowHalfOpen, autoSelectFamily: false },
            destination,
          );
    socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS);
    let failure = new Error('closed before it was connected');
    const onAbort = (): void => void socket.destroy();
    const timer = setTimeout(() => {
      failure = Object.assign(new Error('connect timeout'), { code: 'ETIMEDOUT' });
      socket.destroy();
    }, timeoutMs);
    // An error is followed by 'close'.
    const onError = (error: Error): void => void (failure = error);
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      // Until its next owner listens, an error must not be thrown.
      socket.on('error', ignore).off('error', onError).off('close', onClose);
    };
    const onClose = (): void => {
      settle();
      reject(new ConnectFailed(failure));
    };
    socket.on('error', onError).on('close', onClose);
    signal.addEventListener('abort', onAbort, { once: true });
    onConnected(socket, destination.kind === 'address' ? destination : {}, () => {
      settle();
      resolve(socket);
    });
  });
}

function ignore(): void {
  // 'close' follows and settles the attempt or reaches the next owner.
}
