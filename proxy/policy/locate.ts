import type { RefusalCode } from '../../core/errors.ts';
import { refusalOfStatus, type Backend, type Route } from '../../core/route.ts';
import type { ClientProof } from '../tls/client-proof.ts';
import { isAddressAllowed } from './ip-allow-list.ts';

/** Who comes, and how, as far as it decides whether he may. */
export interface ClientIdentity {
  readonly remoteAddress: string;
  /** Null when no certificate was asked for. */
  readonly proof: ClientProof | null;
}

/** Where the TLS of a connection ends: here, or at the pod. */
export type TlsEnd = 'gateway' | 'pod';

/**
 * Where a new connection for this route goes, or why it is refused. Who may not connect learns nothing of the pod's
 * state; an address that nobody has confirmed for too long may be another pod's by now and is not dialled.
 */
export function locate(
  route: Route | undefined,
  identity: ClientIdentity,
  isStale: boolean,
  tlsEnd: TlsEnd = 'gateway',
): Backend | RefusalCode {
  if (route === undefined) return 'route.unknown';
  const barrier = barrierOf(route, identity, tlsEnd);
  if (barrier !== null) return barrier;
  if (route.backend === null) return refusalOfStatus(route.status);
  return isStale ? 'route.unreachable' : route.backend;
}

/** Why this client may not come to this pod, whatever the pod's state; null = it may. */
export function barrierOf(route: Route, { remoteAddress, proof }: ClientIdentity, tlsEnd: TlsEnd): RefusalCode | null {
  if (!isAddressAllowed(route, remoteAddress)) return 'route.forbidden';
  // What the pod asks of TLS has changed since the handshake: it takes another one.
  if ((route.tls === 'passthrough') !== (tlsEnd === 'pod')) return 'route.misdirected';
  if (route.clientCa === undefined) return null;
  if (proof?.authorities !== route.clientCa) return 'route.misdirected';
  return proof.kind === 'verified' ? null : 'route.certificate';
}
