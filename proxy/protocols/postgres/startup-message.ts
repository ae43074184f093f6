import { match, needMore, reject, type Parsed } from '../../bytes/parsed.ts';
import {
  CODE_CANCEL_REQUEST,
  CODE_GSSENC_REQUEST,
  CODE_SSL_REQUEST,
  PACKET_HEADER_BYTES,
  PROTOCOL_MAJOR,
  STARTUP_MAX_BYTES,
} from '../../sniff/postgres-codes.ts';

/** What a Postgres client says first inside TLS. `length` is that of the whole packet. */
export type FirstPacket = { readonly kind: 'startup' | 'cancel'; readonly length: number };

/**
 * Is there a whole StartupMessage (or CancelRequest) at the start of `bytes`? Its parameters are left to the server:
 * the packet is passed on untouched, whatever its minor version and options.
 */
export function parseFirstPacket(bytes: Buffer): Parsed<FirstPacket> {
  // Told apart as early as possible: what is no Postgres client shall not wait for eight bytes.
  if ((bytes[0] ?? 0) !== 0 || (bytes[1] ?? 0) !== 0) return reject('not a first packet of Postgres');
  if (bytes.length < PACKET_HEADER_BYTES) return needMore(PACKET_HEADER_BYTES);
  const length = bytes.readUInt32BE(0);
  const code = bytes.readUInt32BE(4);
  if (length <= PACKET_HEADER_BYTES || length > STARTUP_MAX_BYTES) return reject('packet length out of range');
  if (code === CODE_SSL_REQUEST || code === CODE_GSSENC_REQUEST) return reject('encryption asked for inside TLS');
  if (code !== CODE_CANCEL_REQUEST && code >>> 16 !== PROTOCOL_MAJOR) return reject('unknown protocol version');
  if (bytes.length < length) return needMore(length);
  return match({ kind: code === CODE_CANCEL_REQUEST ? 'cancel' : 'startup', length });
}
