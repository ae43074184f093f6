import type { Duplex } from 'node:stream';
import type { Refusal } from '../../connection/refusal.ts';
import { endWith } from '../../bytes/end-with.ts';
import { BoltConversation } from './conversation.ts';

export interface RefuseBoltOptions {
  /** Time limit for the whole conversation, in ms. */
  readonly deadlineMs: number;
  /** host:port that clients dial for this name, as listed in routing tables. */
  readonly address: string;
}

/**
 * Refuses a client over Bolt. Takes over a socket (inside TLS, or plain for 'tls.required') from the first byte of the magic
 * on; returns at once, and closes the socket by itself.
 */
export function refuseBolt(socket: Duplex, refusal: Refusal, { deadlineMs, address }: RefuseBoltOptions): void {
  const conversation = new BoltConversation(refusal, address);
  const deadline = setTimeout(() => socket.destroy(), deadlineMs);
  deadline.unref();
  socket.once('close', () => clearTimeout(deadline));
  socket.on('error', () => socket.destroy());
  socket.once('end', () => socket.end());
  const onData = (bytes: Buffer): void => {
    const step = conversation.receive(bytes);
    if (step.end) {
      socket.off('data', onData);
      endWith(socket, step.bytes);
    } else if (step.bytes.length > 0 && !socket.write(step.bytes)) {
      // Reads no more from a client that does not read its responses.
      socket.pause();
      socket.once('drain', () => socket.resume());
    }
  };
  socket.on('data', onData);
}
