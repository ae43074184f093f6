import type { Socket } from 'node:net';
import { kindOfError } from '../../../core/error-code.ts';
import { connectTappable } from '../../bytes/tap.ts';
import { KEEP_ALIVE_MS } from '../../session/dial.ts';

/** Of one address. The system would wait for minutes. */
const ATTEMPT_MS = 5_000;
/** Addresses that are dialed, one after the other: a name can have any number. */
const ATTEMPTS_MAX = 4;

export type DialedTarget =
  | { readonly kind: 'connected'; readonly socket: Socket; readonly address: string }
  | { readonly kind: 'failed'; readonly outcome: 'unreachable' | 'no-descriptors' }
  /** The pod's connection was closed meanwhile. */
  | { readonly kind: 'abandoned' };

/** Connects to the first of these addresses that accepts. Their order and what is allowed are the caller's matter. */
export async function dialTarget(addresses: readonly string[], port: number, client: Socket): Promise<DialedTarget> {
  let outcome: 'unreachable' | 'no-descriptors' = 'unreachable';
  for (const address of addresses.slice(0, ATTEMPTS_MAX)) {
    if (client.destroyed) return { kind: 'abandoned' };
    const dialed = await dial(address, port, client);
    if (dialed.kind !== 'failed') return dialed;
    outcome = dialed.outcome;
  }
  return { kind: 'failed', outcome };
}

function dial(address: string, port: number, client: Socket): Promise<DialedTarget> {
  return new Promise((resolve) => {
    let outcome: 'unreachable' | 'no-descriptors' = 'unreachable';
    const socket = connectTappable({ host: address, port, allowHalfOpen: true });
    socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS);
    const abandon = (): void => void socket.destroy();
    const late = setTimeout(abandon, ATTEMPT_MS);
    client.once('close', abandon);
    const settle = (dialed: DialedTarget): void => {
      clearTimeout(late);
      client.off('close', abandon);
      socket.off('close', onClosed).off('error', onError);
      resolve(dialed);
    };
    const onError = (error: Error): void => {
      if (kindOfError(error) === 'no-descriptors') outcome = 'no-descriptors';
    };
    const onClosed = (): void => settle(client.destroyed ? { kind: 'abandoned' } : { kind: 'failed', outcome });
    socket.on('error', onError).once('close', onClosed);
    socket.once('connect', () => {
      // An address is its own peer on this machine alone: one that it got a moment ago, or that only its routes know.
      if (socket.localAddress === socket.remoteAddress) socket.destroy();
      else settle({ kind: 'connected', socket, address });
    });
  });
}
