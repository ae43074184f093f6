import { match, needMore, reject, type Parsed } from '../../../bytes/parsed.ts';
import { CODE_CANCEL_REQUEST, PACKET_HEADER_BYTES } from '../../../sniff/postgres-codes.ts';
import { CANCEL_KEY_MAX_BYTES, CANCEL_KEY_MIN_BYTES } from './backend-key.ts';

/** The key (process id and secret in one) of the CancelRequest at the start of `bytes`. What follows is left alone. */
export function parseCancelRequest(bytes: Buffer): Parsed<Buffer> {
  if (bytes.length < PACKET_HEADER_BYTES) return needMore(PACKET_HEADER_BYTES);
  const length = bytes.readUInt32BE(0);
  if (bytes.readUInt32BE(4) !== CODE_CANCEL_REQUEST) return reject('not a CancelRequest');
  const keyBytes = length - PACKET_HEADER_BYTES;
  if (keyBytes < CANCEL_KEY_MIN_BYTES || keyBytes > CANCEL_KEY_MAX_BYTES) return reject('key length out of range');
  if (bytes.length < length) return needMore(length);
  // A copy: the key outlives the client's bytes.
  return match(Buffer.from(bytes.subarray(PACKET_HEADER_BYTES, length)));
}

/** The packet for this key (Postgres 18 documentation, 54.7). */
export function cancelRequest(key: Buffer): Buffer {
  const packet = Buffer.alloc(PACKET_HEADER_BYTES + key.length);
  packet.writeUInt32BE(packet.length, 0);
  packet.writeUInt32BE(CODE_CANCEL_REQUEST, 4);
  key.copy(packet, PACKET_HEADER_BYTES);
  return packet;
}
