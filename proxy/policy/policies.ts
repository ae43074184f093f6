import type { RefusalCode } from '../../core/errors.ts';
import type { Route } from '../../core/route.ts';
import type { ClientProof } from '../tls/client-proof.ts';
import { isAddressAllowed } from './ip-allow-list.ts';

/** What is known of a client, as far as policies decide by it. */
export interface ClientIdentity {
  readonly remoteAddress: string;
  /** Null when no certificate was asked for. */
  readonly proof: ClientProof | null;
  /** Who has logged in to the pod; absent or null: nobody. */
  readonly user?: string | null;
  /** Where the pod has a login and nobody has: what was asked for without one. */
  readonly target?: string;
}

/** Where the TLS of a connection ends: here, or at the pod. */
export type TlsEnd = 'gateway' | 'pod';

/** One reason to keep a client away from a pod, whatever the pod's state; null = it does not apply. */
export type Policy = (route: Route, client: ClientIdentity, tlsEnd: TlsEnd) => RefusalCode | null;

/** For every protocol, in this order. A policy that decides by the request itself is the login of a pod, asked after these. */
const POLICIES: readonly Policy[] = [allowedAddress, sameTlsEnd, clientCertificate];

/** Why this client may not connect to this pod; null = it may. */
export function refusalByPolicy(route: Route, client: ClientIdentity, tlsEnd: TlsEnd): RefusalCode | null {
  for (const policy of POLICIES) {
    const refusal = policy(route, client, tlsEnd);
    if (refusal !== null) return refusal;
  }
  return null;
}

function allowedAddress(route: Route, { remoteAddress }: ClientIdentity): RefusalCode | null {
  return isAddressAllowed(route, remoteAddress) ? null : 'route.forbidden';
}

/** Where the pod's TLS ends has changed since the handshake: the client needs a new one. */
function sameTlsEnd(route: Route, _client: ClientIdentity, tlsEnd: TlsEnd): RefusalCode | null {
  return (route.tls === 'passthrough') === (tlsEnd === 'pod') ? null : 'route.misdirected';
}

function clientCertificate({ clientCa }: Route, { proof }: ClientIdentity): RefusalCode | null {
  if (clientCa === undefined) return null;
  // The authority has changed since the handshake.
  if (proof?.authorities !== clientCa) return 'route.misdirected';
  return proof.kind === 'verified' ? null : 'route.certificate';
}
