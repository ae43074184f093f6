import type { Socket } from 'node:net';
import type { DialGuard } from '../../core/pod-network.ts';
import { isPeerOwnedBy } from './peer-owner.ts';

/** Calls `connected` once the socket is connected to whom it should be; one that is not is destroyed with an error. */
export function onConnected(socket: Socket, { ownerUid }: DialGuard, connected: () => void): void {
  socket.once('connect', () => {
    if (ownerUid === undefined) {
      connected();
      return;
    }
    void isPeerOwnedBy(socket, ownerUid).then((isOwned) => {
      if (socket.destroyed) return;
      if (isOwned) connected();
      else socket.destroy(Object.assign(new Error('another program listens there'), { code: 'ECONNREFUSED' }));
    });
  });
}
