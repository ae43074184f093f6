import type { Socket } from 'node:net';
import { compileAddressList, isListed } from '../../core/address-range.ts';
import { peekBytes } from '../bytes/peek-bytes.ts';
import { parseProxyHeader } from './parse-proxy-header.ts';
import type { ProxySource } from './proxy-header.ts';

/**
 * How to treat connections from trusted senders of PROXY headers: 'require' closes a connection without a header, 'use'
 * treats it as the sender's own, 'ignore' reads the header and disregards it.
 */
export type ProxyPolicy = 'ignore' | 'use' | 'require';

export interface ProxyProtocolOptions {
  /** Addresses and CIDRs of load balancers. Headers from other senders are not read: they could claim any address. */
  readonly from: readonly string[];
  readonly policy: ProxyPolicy;
}

/** The origin of a connection. The header, if any, has been consumed. */
export type Introduced =
  /** `client` null = the peer itself. */
  | {
      readonly kind: 'introduced';
      readonly client: { readonly address: string; readonly port: number } | null;
      /** The sender named no client, or itself, as in a health check. */
      readonly isProbe: boolean;
    }
  /** It disconnected without sending anything. */
  | { readonly kind: 'probed' }
  | { readonly kind: 'refused'; readonly reason: string };

export interface Introductions {
  isTrusted(address: string): boolean;
  /** Calls back once, also when the socket is destroyed. The caller enforces the deadline. */
  read(raw: Socket, sender: string, done: (introduced: Introduced) => void): void;
}

/** Null if no sender is trusted: connections are not examined then. */
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

/** Version 1 has no LOCAL command: HAProxy's health checks carry the address and port they are sent from. */
function isItself(source: ProxySource, sender: string, senderPort: number | undefined): boolean {
  return source.kind !== 'client' || (source.address === sender && source.port === senderPort);
}
