import { connect } from 'node:net';
import { cancelRequest } from './cancel-request.ts';

/** From dialling to the end of the connection: a server closes it once it has signalled. */
const SEND_CANCEL_MS = 5_000;

export interface OutgoingCancel {
  readonly address: string;
  readonly port: number;
  readonly key: Buffer;
  /** What the pod has to hear before any first byte; null for most. */
  readonly introduction: Buffer | null;
}

/** Writes a CancelRequest to a backend, which never answers. `done` is called once: was the packet delivered? */
export function sendCancel(
  { address, port, key, introduction }: OutgoingCancel,
  done: (isDelivered: boolean) => void,
): void {
  let isDelivered = false;
  const socket = connect({ host: address, port, noDelay: true });
  const deadline = setTimeout(() => socket.destroy(), SEND_CANCEL_MS);
  socket.on('error', () => {
    // The 'close' that follows tells.
  });
  socket.once('close', () => {
    clearTimeout(deadline);
    done(isDelivered);
  });
  if (introduction !== null) socket.write(introduction);
  socket.write(cancelRequest(key), (error) => {
    isDelivered = error === undefined || error === null;
  });
  // A pod that answers all the same is not listened to; without a reader its end would not be noticed.
  socket.resume();
}
