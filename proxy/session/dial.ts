import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { backoffMs } from '../../core/backoff.ts';
import type { Clock } from '../../core/clock.ts';
import { kindOfError } from '../../core/error-code.ts';
import type { RefusalCode } from '../../core/errors.ts';
import { type Backend, isSameBackend } from '../../core/route.ts';
import { onConnected } from '../socket/on-connected.ts';
import { connectTappable } from '../bytes/tap.ts';

/** A refused dial right after "ready" is tried again this long: kube-proxy lags a second or two behind. */
const DIAL_RETRY_WINDOW_MS = 3_000;
/** Without any answer a single attempt ends after this. */
const DIAL_ATTEMPT_MS = 5_000;
const RETRY_BACKOFF = { firstMs: 20, maxMs: 400 };

export const KEEP_ALIVE_MS = 60_000;

export type Dialled =
  | { readonly kind: 'connected'; readonly backend: Socket }
  | { readonly kind: 'refused'; readonly code: RefusalCode }
  /** The client went away meanwhile. */
  | { readonly kind: 'abandoned' };

/**
 * Connects to the backend that `locate` names, which is asked again before every attempt, since the pod may have moved
 * or stopped, and after it: an address that was given to another pod meanwhile gets no byte. Calls `done` once. The
 * client's bytes stay in its socket meanwhile.
 */
export function dialBackend(
  client: Duplex,
  locate: () => Backend | RefusalCode,
  clock: Clock,
  done: (dialled: Dialled) => void,
): void {
  const startedMs = clock.monotonicMs();
  let failures = 0;
  let timer: NodeJS.Timeout | undefined;
  let dialling: Socket | null = null;
  let failure: RefusalCode = 'route.unreachable';

  const finish = (dialled: Dialled): void => {
    clearTimeout(timer);
    client.off('close', onClientClosed);
    done(dialled);
  };
  const onClientClosed = (): void => {
    dialling?.destroy();
    finish({ kind: 'abandoned' });
  };
  const attempt = (): void => {
    const backend = locate();
    if (typeof backend === 'string') {
      finish({ kind: 'refused', code: backend });
      return;
    }
    const { address: host, port } = backend;
    const socket = connectTappable({ host, port, allowHalfOpen: true }, backend);
    socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS);
    dialling = socket;
    failure = 'route.unreachable';
    timer = setTimeout(() => socket.destroy(), DIAL_ATTEMPT_MS);
    const onError = (error: Error): void => {
      if (kindOfError(error) === 'no-descriptors') failure = 'route.no-descriptors';
    };
    const onFailed = (): void => {
      // An error is followed by 'close'; only 'close' counts, so that each attempt fails once.
      clearTimeout(timer);
      dialling = null;
      if (client.destroyed) return;
      if (clock.monotonicMs() - startedMs >= DIAL_RETRY_WINDOW_MS) {
        finish({ kind: 'refused', code: failure });
        return;
      }
      failures += 1;
      timer = setTimeout(attempt, backoffMs(failures, RETRY_BACKOFF));
    };
    socket.on('error', onError).on('close', onFailed);
    onConnected(socket, backend, () => {
      // After whatever of the route feed has come in the same turn of the event loop.
      setImmediate(() => {
        if (socket.destroyed) return;
        const located = locate();
        if (typeof located === 'string' || !isSameBackend(backend, located)) {
          socket.destroy();
          return;
        }
        socket.off('error', onError).off('close', onFailed);
        finish({ kind: 'connected', backend: socket });
      });
    });
  };

  if (client.destroyed) {
    done({ kind: 'abandoned' });
    return;
  }
  client.on('close', onClientClosed);
  attempt();
}
