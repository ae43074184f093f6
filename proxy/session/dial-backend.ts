import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { RefusalCode } from '../../core/errors.ts';
import { type Backend, isSameBackend } from '../../core/route.ts';
import { connect, CONNECT_TIMEOUT_MS } from '../dial/connect.ts';
import { dial, DIAL_RETRY_MS, type Dialed, type Located, refusalOfFailure } from '../dial/dial.ts';

const CONNECT = { timeoutMs: CONNECT_TIMEOUT_MS, allowHalfOpen: true };

export type NotYet = Extract<Located<Backend>, { readonly kind: 'not-yet' }>;

export type DialedBackend =
  | { readonly kind: 'connected'; readonly backend: Socket }
  | { readonly kind: 'refused'; readonly code: RefusalCode }
  /** The client went away meanwhile. */
  | { readonly kind: 'abandoned' };

/**
 * Connects to the backend that `locate` names (see `dial`). A session has no pool to remember when its pod was first used,
 * so its attempts are repeated for `retryMs` from the first one. The client's bytes stay in its socket meanwhile.
 */
export async function dialBackend(
  client: Duplex,
  locate: () => Backend | RefusalCode | NotYet,
  retryMs = DIAL_RETRY_MS,
): Promise<DialedBackend> {
  const leaving = new AbortController();
  const onClosed = (): void => leaving.abort();
  if (client.destroyed) onClosed();
  else client.once('close', onClosed);
  let retryUntilMs: number | null = null;
  const dialed = await dial<Backend, Socket>(
    {
      locate: () => {
        const located = locate();
        if (typeof located === 'string') return { kind: 'refused', code: located };
        return 'kind' in located ? located : { kind: 'place', place: located };
      },
      isSame: isSameBackend,
      retryUntilMs: () => (retryUntilMs ??= performance.now() + retryMs),
      open: (backend, signal) => connect({ kind: 'address', ...backend }, CONNECT, signal),
      isGone: (socket) => socket.destroyed,
      close: (socket) => socket.destroy(),
    },
    leaving.signal,
  );
  client.off('close', onClosed);
  return client.destroyed ? abandoned(dialed) : outcomeOf(dialed);
}

function abandoned(dialed: Dialed<Socket>): DialedBackend {
  if (dialed.kind === 'connected') dialed.connection.destroy();
  return { kind: 'abandoned' };
}

function outcomeOf(dialed: Dialed<Socket>): DialedBackend {
  switch (dialed.kind) {
    case 'connected':
      return { kind: 'connected', backend: dialed.connection };
    case 'refused':
      return dialed;
    case 'moved':
      return { kind: 'refused', code: 'route.unreachable' };
    case 'failed':
      return { kind: 'refused', code: refusalOfFailure(dialed.error) };
    case 'aborted':
      return { kind: 'abandoned' };
  }
}
