import { randomBytes } from 'node:crypto';
import { isIPv4, type Socket } from 'node:net';
import type { Route } from '../../core/route.ts';
import type { ConnectionInfo } from '../connection/connection-info.ts';
import type { ClientCertificate } from '../tls/client-proof.ts';
import { canonicalAddress } from './address.ts';
import { writeProxyHeader } from './write-proxy-header.ts';

/**
 * The PROXY header to send to this route's pod before the client's first byte; null if the pod does not expect one.
 * `client` is the client's socket, TLS or plain.
 */
export function introduceClient(route: Route, info: ConnectionInfo, client: Socket): Buffer | null {
  if (route.sendProxyProtocol === undefined) return null;
  const source = { address: canonicalAddress(info.remoteAddress), port: info.remotePort };
  // The socket of a client that has disconnected no longer has an address, and there is nothing to forward.
  const destination = { address: canonicalAddress(client.localAddress ?? '0.0.0.0'), port: client.localPort ?? 0 };
  return writeProxyHeader(route.sendProxyProtocol, {
    id: info.id,
    source,
    destination,
    serverName: info.serverName,
    alpn: info.tls?.alpn ?? null,
    tls: info.tls === null ? null : { ...info.tls, clientCertificate: certificateOf(info) },
  });
}

function certificateOf({ proof }: ConnectionInfo): ClientCertificate | null {
  return proof?.kind === 'verified' ? proof.certificate : null;
}

/**
 * The same for a client that cancels a session. Its connection may belong to another worker, and is closed, so only its
 * address is known.
 */
export function introduceCanceller(route: Route, address: string): Buffer | null {
  if (route.sendProxyProtocol === undefined) return null;
  const source = { address: canonicalAddress(address), port: 0 };
  const destination = { address: isIPv4(source.address) ? '0.0.0.0' : '::', port: 0 };
  const id = randomBytes(9).toString('base64url');
  const connection = {
    id,
    source,
    destination,
    serverName: route.host,
    alpn: null,
    tls: null,
    clientCertificate: null,
  };
  return writeProxyHeader(route.sendProxyProtocol, connection);
}
