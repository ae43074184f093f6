import type { Socket } from 'node:net';
import { webSocketGoodbyes } from '../../../goodbye/websocket-close.ts';
import type { CutReason } from '../../../policy/standing.ts';
import { type Observer, splice } from '../../../session/splice.ts';
import type { SessionUse } from '../../../use/session-use.ts';

export interface Switched {
  readonly client: Socket;
  readonly backend: Socket;
  /** The protocol that is spoken from now on. */
  readonly protocol: string;
  /** What each side has sent after its head already. */
  readonly fromBackend: Buffer;
  readonly fromClient: Buffer;
  readonly halfClosedMs: number;
  /** Of a pod that may sleep. */
  readonly use: SessionUse | null;
}

/** Passes bytes both ways after a 101. Owns both sockets; calls back once the client's is closed. Returns how to cut it. */
export function openTunnel(
  { client, backend, protocol, fromBackend, fromClient, halfClosedMs, use }: Switched,
  onEnded: () => void,
): (reason: CutReason) => void {
  const goodbyes = protocol.trim().toLowerCase() === 'websocket' ? webSocketGoodbyes(use) : null;
  goodbyes?.client.follower.follow(fromBackend);
  goodbyes?.backend.follower.follow(fromClient);
  if (fromBackend.length > 0) client.write(fromBackend);
  if (fromClient.length > 0) backend.write(fromClient);
  // Frames tell data from pings; of another protocol, all that is said is use.
  const touch = use === null || goodbyes !== null ? null : touching(use);
  return splice(client, backend, onEnded, { halfClosedMs, observer: touch, clientObserver: touch, goodbyes });
}

function touching(use: SessionUse): Observer {
  return () => {
    use.touch();
    return true;
  };
}
