import type { Socket } from 'node:net';
import type { RefusalCode } from '../../../core/errors.ts';
import { match, reject } from '../../bytes/parsed.ts';
import { peekBytes } from '../../bytes/peek-bytes.ts';
import { CODE_SSL_REQUEST, PACKET_HEADER_BYTES } from '../../sniff/postgres-codes.ts';

/** A Postgres answers at once, before it does anything else. */
const ANSWER_MS = 10_000;
const YES = 0x53;

/**
 * Asks a pod for TLS as its client has asked us (Postgres 18 documentation, 54.2.11). `done` is called once, unless the
 * client goes away: with null when the pod is willing, and else the backend is destroyed.
 */
export function requestTls(backend: Socket, client: Socket, done: (problem: RefusalCode | null) => void): void {
  const deadline = setTimeout(() => backend.destroy(), ANSWER_MS);
  const abandon = (): void => void backend.destroy();
  client.once('close', abandon);
  // The 'close' that follows tells.
  backend.on('error', abandon);
  const request = Buffer.alloc(PACKET_HEADER_BYTES);
  request.writeUInt32BE(PACKET_HEADER_BYTES, 0);
  request.writeUInt32BE(CODE_SSL_REQUEST, 4);
  backend.write(request);
  peekBytes(
    backend,
    // One byte and no more: what came before the handshake would be plaintext taken for encrypted (CVE-2021-23222).
    (bytes) => (bytes.length === 1 && bytes[0] === YES ? match('willing') : reject('unwilling')),
    (outcome) => {
      clearTimeout(deadline);
      client.off('close', abandon);
      backend.off('error', abandon);
      if (client.destroyed) {
        backend.destroy();
        return;
      }
      if (outcome.kind === 'match') backend.read(1);
      else backend.on('error', () => undefined).destroy();
      done(outcome.kind === 'match' ? null : 'route.unreachable');
    },
  );
}
