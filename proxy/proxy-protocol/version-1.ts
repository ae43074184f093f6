import { isIPv4 } from 'node:net';
import { match, needMore, reject, type Parsed } from '../bytes/parsed.ts';
import { canonicalIPv6, isPlainIPv6 } from './address.ts';
import type { ProxyHeader } from './proxy-header.ts';

export const VERSION_1_SIGNATURE = Buffer.from('PROXY ', 'latin1');

/** The longest possible line, including CRLF (section 2.1). */
export const VERSION_1_MAX_BYTES = 107;
const CR = 0x0d;
const LF = 0x0a;
/** `PROXY UNKNOWN` including CRLF. */
const SHORTEST_BYTES = 15;

/** One line in US-ASCII, fields separated by exactly one space (section 2.1). `bytes` begin with the signature. */
export function parseVersion1(bytes: Buffer): Parsed<ProxyHeader> {
  const line = bytes.subarray(0, VERSION_1_MAX_BYTES);
  const end = line.indexOf(CR);
  const feed = line.indexOf(LF);
  // CR or LF alone does not end the line.
  if (feed >= 0 && feed !== end + 1) return reject('LF without CR');
  if (end < 0) {
    if (bytes.length >= VERSION_1_MAX_BYTES) return reject('no end of the line');
    return needMore(Math.max(SHORTEST_BYTES, bytes.length + 1));
  }
  if (end + 2 > VERSION_1_MAX_BYTES) return reject('no end of the line');
  if (bytes.length < end + 2) return needMore(end + 2);
  if (feed !== end + 1) return reject('CR without LF');
  const [family, ...fields] = bytes.toString('latin1', VERSION_1_SIGNATURE.length, end).split(' ');
  const header = (source: ProxyHeader['source']): Parsed<ProxyHeader> => match({ source, bytes: end + 2 });
  // Whatever follows UNKNOWN must be ignored.
  if (family === 'UNKNOWN') return header({ kind: 'unknown' });
  if (family !== 'TCP4' && family !== 'TCP6') return reject('neither TCP4, TCP6 nor UNKNOWN');
  const isAddress = family === 'TCP4' ? isIPv4 : isPlainIPv6;
  const [address = '', destination = '', port = '', destinationPort = '', ...more] = fields;
  if (more.length > 0 || !isAddress(address) || !isAddress(destination)) return reject('not two addresses');
  const ports = [portOf(port), portOf(destinationPort)];
  if (ports[0] === undefined || ports.includes(NaN)) return reject('not two ports');
  return header({ kind: 'client', address: family === 'TCP4' ? address : canonicalIPv6(address), port: ports[0] });
}

/** A decimal port without leading zeros; NaN for anything else. */
function portOf(text: string): number {
  const port = /^(0|[1-9]\d{0,4})$/.test(text) ? Number(text) : NaN;
  return port <= 65_535 ? port : NaN;
}
