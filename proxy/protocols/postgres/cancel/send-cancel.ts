import { connect } from 'node:net';
import { cancelRequest } from './cancel-request.ts';

/** From dialling to the end of the connection: a server closes it once it has signalled. */
const SEND_CANCEL_MS = 5_000;

/** Writes a CancelRequest to a backend, which never answers. `done` is called once: was the packet delivered? */
export function sendCancel(address: string, port: number, key: Buffer, done: (isDelivered: boolean) => void): void {
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
  socket.write(cancelRequest(key), (error) => {
    isDelivered = error === undefined || error === null;
  });
  // A pod that answers all the same is not listened to; without a reader its end would not be noticed.
  socket.resume();
}
