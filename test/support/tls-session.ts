import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:tls';
import { makeCertificate } from '../integration/proxy/support/certificate.ts';

/** A session of a real server with these ticket keys. */
export async function sessionOf(ticketKeys: Buffer, maxVersion: 'TLSv1.2' | 'TLSv1.3'): Promise<Buffer> {
  const { certificatePem: cert, privateKeyPem: key } = makeCertificate(['a.pods.localhost']);
  const server = createServer({ cert, key, ticketKeys }, (socket) => socket.end('word'));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect({ host: '127.0.0.1', port, ca: cert, servername: 'a.pods.localhost', maxVersion });
  const [session] = (await once(client, 'session')) as [Buffer];
  client.destroy();
  server.close();
  return session;
}
