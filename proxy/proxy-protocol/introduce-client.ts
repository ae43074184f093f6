import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Route } from '../../core/route.ts';
import type { ConnectionInfo } from '../connection-info.ts';
import type { ClientProof } from '../tls/client-proof.ts';
import { canonicalAddress } from './address.ts';
import { type EndedTls, writeProxyHeader } from './write-proxy-header.ts';

/**
 * What the pod of this route is told before the client's first byte; null where it wants no PROXY header. `client` is
 * the TLS socket, or the raw one of a client whose TLS the pod ends itself.
 */
export function introduceClient(route: Route, info: ConnectionInfo, client: Socket): Buffer | null {
  if (route.sendProxyProtocol === undefined) return null;
  const source = { address: canonicalAddress(info.remoteAddress), port: info.remotePort };
  // A client that is gone has no address any more; neither has it anything to say.
  const destination = { address: canonicalAddress(client.localAddress ?? '0.0.0.0'), port: client.localPort ?? 0 };
  return writeProxyHeader(route.sendProxyProtocol, {
    id: info.id,
    source,
    destination,
    serverName: info.serverName,
    alpn: client instanceof TLSSocket && typeof client.alpnProtocol === 'string' ? client.alpnProtocol : null,
    tls: client instanceof TLSSocket ? tlsOf(client, info.proof) : null,
  });
}

function tlsOf(client: TLSSocket, proof: ClientProof | null): EndedTls {
  return {
    version: client.getProtocol() ?? '',
    cipher: client.getCipher().name,
    clientCertificate: proof?.kind === 'verified' ? proof.certificate : null,
  };
}
