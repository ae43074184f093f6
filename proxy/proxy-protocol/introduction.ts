import type { Socket } from 'node:net';
import { compileAddressList, isListed } from '../../core/address-range.ts';
import { peekBytes } from '../bytes/peek-bytes.ts';
import { parseProxyHeader } from './parse-proxy-header.ts';
import type { ProxySource } from './proxy-header.ts';

/**
 * What becomes of the connections of those who are trusted to send PROXY headers: 'require' closes one without,
 * 'use' takes it for the sender's own, 'ignore' reads the header and does not believe it.
 */
export type ProxyPolicy = 'ignore' | 'use' | 'require';

export interface ProxyProtocolOptions {
  /** Addresses and CIDRs of load balancers. Nobody else's header is read: it could claim any address. */
  readonly from: readonly string[];
  readonly policy: ProxyPolicy;
}

/** Whose a connection is. The header, if any, has been taken out of the socket. */
export type Introduced =
  /** `client` null = the one who connected. */
  | {
      readonly kind: 'introduced';
      readonly client: { readonly address: string; readonly port: number } | null;
      /** The sender named no client, or itself, as it does when it only looks whether we are there. */
      readonly isProbe: boolean;
    }
  /** It connected and went away without a word. */
  | { readonly kind: 'probed' }
  | { readonly kind: 'refused'; readonly reason: string };

export interface Introductions {
  isTrusted(address: string): boolean;
  /** Calls back once, also when the socket is destroyed: the deadline is the caller's. */
  read(raw: Socket, sender: string, done: (introduced: Introduced) => void): void;
}

/** Null when nobody is trusted: then nothing is asked of any connection. */
export function createIntroductions({ from, policy }: ProxyProtocolOptions): Introductions | null {
  if (from.length === 0) return null;
  const trusted = compileAddressList(from);
  return {
    isTrusted: (address) => isListed(trusted, address),
    read(raw, sender, done) {
      peekBytes(raw, parseProxyHeader, (outcome) => {
        if (outcome.kind === 'ended') {
          done(raw.bytesRead === 0 ? { kind: 'probed' } : { kind: 'refused', reason: 'an unfinished header' });
        } else if (outcome.kind === 'reject') {
          done({ kind: 'refused', reason: outcome.reason });
        } else if (outcome.value === 'absent') {
          if (policy === 'require') done({ kind: 'refused', reason: 'no header' });
          else done({ kind: 'introduced', client: null, isProbe: false });
        } else {
          const { source, bytes } = outcome.value;
          raw.read(bytes);
          const client = source.kind === 'client' && policy !== 'ignore' ? source : null;
          done({ kind: 'introduced', client, isProbe: isItself(source, sender, raw.remotePort) });
        }
      });
    },
  };
}

/** Version 1 has no LOCAL: there HAProxy's checks carry the very address and port they come from. */
function isItself(source: ProxySource, sender: string, senderPort: number | undefined): boolean {
  return source.kind !== 'client' || (source.address === sender && source.port === senderPort);
}
