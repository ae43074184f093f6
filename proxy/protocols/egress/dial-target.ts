import type { Socket } from 'node:net';
import { kindOfError } from '../../../core/error-code.ts';
import { connect, CONNECT_TIMEOUT_MS } from '../../dial/connect.ts';

/** Addresses that are dialed, one after the other: a name can have any number. */
const ATTEMPTS_MAX = 4;
const CONNECT = { timeoutMs: CONNECT_TIMEOUT_MS, allowHalfOpen: true };

export type DialedTarget =
  | { readonly kind: 'connected'; readonly socket: Socket; readonly address: string }
  | { readonly kind: 'failed'; readonly outcome: 'unreachable' | 'no-descriptors' }
  /** The pod's connection was closed meanwhile. */
  | { readonly kind: 'abandoned' };

/** Connects to the first of these addresses that accepts. The caller chooses their order and which are allowed. */
export async function dialTarget(addresses: readonly string[], port: number, client: Socket): Promise<DialedTarget> {
  const leaving = new AbortController();
  const onClosed = (): void => leaving.abort();
  client.once('close', onClosed);
  try {
    let outcome: 'unreachable' | 'no-descriptors' = 'unreachable';
    for (const address of addresses.slice(0, ATTEMPTS_MAX)) {
      if (client.destroyed) break;
      try {
        const socket = await connect({ kind: 'address', address, port }, CONNECT, leaving.signal);
        // Only this machine connects to itself from the same address: one assigned a moment ago, or known only to its routes.
        if (socket.localAddress !== socket.remoteAddress) return { kind: 'connected', socket, address };
        socket.destroy();
        outcome = 'unreachable';
      } catch (error) {
        outcome = kindOfError(error) === 'no-descriptors' ? 'no-descriptors' : 'unreachable';
      }
    }
    return client.destroyed ? { kind: 'abandoned' } : { kind: 'failed', outcome };
  } finally {
    client.off('close', onClosed);
  }
}
