import { match, reject, type Parsed } from '../../bytes/parsed.ts';
import { PACKET_HEADER_BYTES } from '../../sniff/postgres-codes.ts';
import { parseFirstPacket } from './startup-message.ts';

/** Both are what came, a character for each byte (latin1): servers take any encoding, and nothing may be lost. */
export interface StartupParameter {
  readonly name: string;
  readonly value: string;
}

export interface StartupParameters {
  /** Of the packet that was read. */
  readonly length: number;
  /** As they came. */
  readonly parameters: readonly StartupParameter[];
}

/**
 * The parameters of the StartupMessage at the start of `bytes` (Postgres 18 documentation, 54.7), as strict as a server
 * is: pairs of terminated strings, and one more NUL, which is the last byte.
 */
export function parseStartupParameters(bytes: Buffer): Parsed<StartupParameters> {
  const packet = parseFirstPacket(bytes);
  if (packet.kind !== 'match') return packet;
  const { kind, length } = packet.value;
  if (kind !== 'startup') return reject('not a StartupMessage');
  const parameters: StartupParameter[] = [];
  let offset = PACKET_HEADER_BYTES;
  while (offset < length && bytes[offset] !== 0) {
    const nameEnd = bytes.indexOf(0, offset);
    const valueEnd = nameEnd < 0 ? -1 : bytes.indexOf(0, nameEnd + 1);
    if (valueEnd < 0 || valueEnd >= length) return reject('a parameter cut short');
    parameters.push({
      name: bytes.toString('latin1', offset, nameEnd),
      value: bytes.toString('latin1', nameEnd + 1, valueEnd),
    });
    offset = valueEnd + 1;
  }
  return offset === length - 1 ? match({ length, parameters }) : reject('no terminator as the last byte');
}

/** The StartupMessage with these parameters and the protocol version of `original`. */
export function withParameters(original: Buffer, parameters: readonly StartupParameter[]): Buffer {
  const text = parameters.map(({ name, value }) => `${name}\0${value}\0`).join('');
  const body = Buffer.from(`${text}\0`, 'latin1');
  const packet = Buffer.allocUnsafe(PACKET_HEADER_BYTES + body.length);
  packet.writeUInt32BE(packet.length, 0);
  original.copy(packet, 4, 4, PACKET_HEADER_BYTES);
  body.copy(packet, PACKET_HEADER_BYTES);
  return packet;
}

/** pg_isready shows itself: it sends its name, and ends the connection at the first answer, whatever that is. */
export function asksWhetherReady({ parameters }: StartupParameters): boolean {
  return parameters.some(({ name, value }) => name === 'application_name' && value === 'pg_isready');
}
