import type { Socket } from 'node:net';
import { webSocketGoodbyes } from '../../../goodbye/websocket-close.ts';
import type { CutReason } from '../../../policy/standing.ts';
import { splice } from '../../../session/splice.ts';

export interface Switched {
  readonly client: Socket;
  readonly backend: Socket;
  /** The protocol that is spoken from now on. */
  readonly protocol: string;
  /** What each side has sent after its head already. */
  readonly fromBackend: Buffer;
  readonly fromClient: Buffer;
  readonly halfClosedMs: number;
}

/** Passes bytes both ways after a 101. Owns both sockets; calls back once the client's is closed. Returns how to cut it. */
export function openTunnel(
  { client, backend, protocol, fromBackend, fromClient, halfClosedMs }: Switched,
  onEnded: () => void,
): (reason: CutReason) => void {
  const goodbyes = protocol.trim().toLowerCase() === 'websocket' ? webSocketGoodbyes() : null;
  goodbyes?.client.follower.follow(fromBackend);
  goodbyes?.backend.follower.follow(fromClient);
  if (fromBackend.length > 0) client.write(fromBackend);
  if (fromClient.length > 0) backend.write(fromClient);
  return splice(client, backend, onEnded, { halfClosedMs, goodbyes });
}
