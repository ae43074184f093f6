import type net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { backoffMs } from '../../../../core/backoff.ts';
import { kindOfError } from '../../../../core/error-code.ts';
import type { DialGuard } from '../../../../core/pod-network.ts';
import { onConnected } from '../../../socket/on-connected.ts';
import { connectTappable } from '../../../bytes/tap.ts';

/** Soon after "ready" a refusal lasts tens of milliseconds, sometimes a second or two. */
const REFUSED_BACKOFF = { firstMs: 25, maxMs: 400 };

/** Where a request goes: an address (never a name: nothing is resolved on the data path) or the API's Unix socket. */
export type Destination =
  | ({ readonly kind: 'address'; readonly address: string; readonly port: number } & DialGuard)
  | { readonly kind: 'unix'; readonly path: string };

export interface DialOptions {
  readonly connectTimeoutMs: number;
  /** Half-close is honoured on tunnels; a request's connection ends when the other side ends. */
  readonly allowHalfOpen: boolean;
}

/** Starts one connection. Calls back exactly once. The socket that fails is destroyed. */
export function connect(
  destination: Destination,
  { connectTimeoutMs, allowHalfOpen }: DialOptions,
  callback: (error: Error | null, socket: net.Socket | null) => void,
): net.Socket {
  const socket =
    destination.kind === 'unix'
      ? connectTappable({ path: destination.path, allowHalfOpen })
      : connectTappable(
          { host: destination.address, port: destination.port, allowHalfOpen, autoSelectFamily: false },
          destination,
        );
  socket.setNoDelay(true);
  socket.setKeepAlive(true, 60_000);
  const timer = setTimeout(
    () => socket.destroy(Object.assign(new Error('connect timeout'), { code: 'ETIMEDOUT' })),
    connectTimeoutMs,
  );
  const settle = (error: Error | null) => {
    clearTimeout(timer);
    socket.off('error', settle);
    socket.off('close', onClose);
    callback(error, error === null ? socket : null);
  };
  const onClose = () => settle(new Error('closed before it was connected'));
  onConnected(socket, destination.kind === 'address' ? destination : {}, () => settle(null));
  socket.once('error', settle);
  socket.once('close', onClose);
  return socket;
}

/** Connects; a refusal is tried again until `retryUntilMs` (of performance.now). Rejects when the signal aborts. */
export async function dial(
  destination: Destination,
  options: DialOptions & { readonly retryUntilMs: number },
  signal: AbortSignal,
): Promise<net.Socket> {
  for (let failures = 1; ; failures += 1) {
    try {
      return await connectOnce(destination, options, signal);
    } catch (error) {
      const pauseMs = backoffMs(failures, REFUSED_BACKOFF);
      if (kindOfError(error) !== 'refused' || performance.now() + pauseMs > options.retryUntilMs) throw error;
      await sleep(pauseMs, undefined, { signal });
    }
  }
}

function connectOnce(destination: Destination, options: DialOptions, signal: AbortSignal): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(new Error('aborted'));
      return;
    }
    const onAbort = () => started.destroy(new Error('aborted'));
    signal.addEventListener('abort', onAbort, { once: true });
    const started = connect(destination, options, (error, socket) => {
      signal.removeEventListener('abort', onAbort);
      if (socket === null) reject(error ?? new Error('not connected'));
      else resolve(socket);
    });
  });
}
