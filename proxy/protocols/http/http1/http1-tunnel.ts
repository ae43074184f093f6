import type { Socket } from 'node:net';
import { webSocketGoodbyes } from '../../../goodbye/websocket-close.ts';
import type { CutReason } from '../../../policy/standing.ts';
import { splice } from '../../../session/splice.ts';
import type { CurrentRequest } from './current-request.ts';
import { fieldOf } from '../exchange/headers.ts';
import type { ResponseHead } from '../wire/head.ts';

export interface Switched {
  readonly client: Socket;
  readonly backend: Socket;
  /** The pod's 101. */
  readonly head: ResponseHead;
  /** What each side has said behind its head already. */
  readonly fromBackend: Buffer;
  readonly fromClient: Buffer;
  readonly halfClosedMs: number;
}

/** Passes bytes both ways from a 101 on. Owns both sockets; calls back once the client's is closed. Returns how to cut it. */
export function openTunnel(
  request: CurrentRequest | null,
  { client, backend, head, fromBackend, fromClient, halfClosedMs }: Switched,
  onEnded: () => void,
): (reason: CutReason) => void {
  const upgrade = fieldOf(head.rawHeaders, 'upgrade') ?? request?.upgrade ?? '';
  const goodbyes = upgrade.trim().toLowerCase() === 'websocket' ? webSocketGoodbyes() : null;
  goodbyes?.client.follower.follow(fromBackend);
  goodbyes?.backend.follower.follow(fromClient);
  request?.answer.switching(head, request.upgrade ?? '');
  if (fromBackend.length > 0) client.write(fromBackend);
  if (fromClient.length > 0) backend.write(fromClient);
  if (request !== null) {
    request.telemetry.status = head.status;
    request.telemetry.firstByteMs = performance.now();
  }
  return splice(
    client,
    backend,
    () => {
      if (request !== null) {
        if (request.telemetry.end !== 'cut') request.telemetry.end = 'tunnel';
        request.telemetry.bytesIn = backend.bytesWritten;
        request.telemetry.bytesOut = backend.bytesRead;
      }
      onEnded();
    },
    { halfClosedMs, goodbyes },
  );
}
