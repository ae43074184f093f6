import { CANCEL_SEND_MS } from '../../../../core/cancel-answer.ts';
import type { Backend } from '../../../../core/route.ts';
import { connectGuarded } from '../../../socket/connect-guarded.ts';
import { onConnected } from '../../../socket/on-connected.ts';
import { cancelRequest } from './cancel-request.ts';

export interface OutgoingCancel {
  readonly backend: Omit<Backend, 'uid' | 'service'>;
  readonly key: Buffer;
  /** What the pod has to hear before any first byte; null for most. */
  readonly introduction: Buffer | null;
}

/**
 * Writes a CancelRequest to a backend, which never answers, and waits for it to close the connection: Postgres does once
 * it has signalled the session (Postgres 18 documentation, 54.2.10). `done` is called once: did it, within CANCEL_SEND_MS?
 */
export function sendCancel({ backend, key, introduction }: OutgoingCancel, done: (isDelivered: boolean) => void): void {
  let isWritten = false;
  let isLate = false;
  const socket = connectGuarded({ host: backend.address, port: backend.port }, backend).setNoDelay(true);
  const deadline = setTimeout(() => {
    isLate = true;
    socket.destroy();
  }, CANCEL_SEND_MS);
  socket.on('error', () => {
    // 'close' follows.
  });
  socket.once('close', () => {
    clearTimeout(deadline);
    done(isWritten && !isLate);
  });
  onConnected(socket, backend, () => {
    if (introduction !== null) socket.write(introduction);
    socket.write(cancelRequest(key), (error) => {
      isWritten = error === undefined || error === null;
    });
  });
  // A pod that answers all the same is not listened to; without a reader its end would not be noticed.
  socket.resume();
}
