import { type BlockList, isIP } from 'node:net';
import { isListed } from '../../../../core/address-range.ts';
import { plainAddress } from '../../../socket/plain-address.ts';
import { parseHost } from '../wire/host.ts';

/** Whose a request is. */
export interface RealClient {
  readonly address: string;
  /** What a trusted proxy in front of us has said; null = nobody stands between. */
  readonly passedOn: PassedOn | null;
}

/** X-Forwarded-* as a trusted proxy has set them, as far as they are what they should be. */
export interface PassedOn {
  /** From the client's address on; what a stranger wrote before it is left out. */
  readonly forwardedFor: string;
  readonly proto: 'http' | 'https';
  readonly host: string | null;
  readonly port: string | null;
}

/** More proxies in a row than this are none. */
const HOPS_MAX = 16;

/**
 * The client: the peer of the connection, unless that is a trusted proxy. Then X-Forwarded-For is read from its end,
 * which the nearest proxy wrote: the first address in it that is not a trusted proxy's is the client's.
 */
export function realClient(raw: readonly string[], peer: string, trusted: BlockList | null): RealClient {
  if (trusted === null || !isListed(trusted, peer)) return { address: peer, passedOn: null };
  const chain = [peer];
  for (const hop of valuesOf(raw, 'x-forwarded-for').reverse().slice(0, HOPS_MAX)) {
    const address = plainAddress(hop) ?? '';
    if (isIP(address) === 0) break;
    chain.unshift(address);
    if (!isListed(trusted, address)) break;
  }
  const proto = valuesOf(raw, 'x-forwarded-proto').at(-1)?.toLowerCase();
  const host = valuesOf(raw, 'x-forwarded-host').at(-1) ?? '';
  const port = valuesOf(raw, 'x-forwarded-port').at(-1) ?? '';
  return {
    address: chain[0] ?? peer,
    passedOn: {
      forwardedFor: chain.join(', '),
      proto: proto === 'http' ? 'http' : 'https',
      host: parseHost(host) === null ? null : host,
      port: /^[0-9]{1,5}$/.test(port) ? port : null,
    },
  };
}

/** The entries of a list field, however many lines it has. */
function valuesOf(raw: readonly string[], wanted: string): string[] {
  const values: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    if (name.length !== wanted.length || name.toLowerCase() !== wanted) continue;
    for (const part of (raw[index + 1] ?? '').split(',')) values.push(part.trim());
  }
  return values;
}
