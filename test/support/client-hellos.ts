import { randomBytes } from 'node:crypto';
import { Duplex } from 'node:stream';
import { connect, type ConnectionOptions } from 'node:tls';
import { sessionOf } from './tls-session.ts';

const ASKED: readonly ConnectionOptions[] = [
  { servername: 'mypg.pods.localhost', ALPNProtocols: ['h2', 'http/1.1'] },
  { servername: 'a.pods.localhost', maxVersion: 'TLSv1.2' },
  { ALPNProtocols: ['postgresql'], ecdhCurve: 'X25519' },
];

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;

/** What OpenSSL sends first, also to resume a session, as Node's clients use it; and the same in records of a few bytes. */
export async function realClientHellos(): Promise<readonly Buffer[]> {
  const sessions = await Promise.all(VERSIONS.map((version) => sessionOf(randomBytes(48), version)));
  const resuming = sessions.map((session): ConnectionOptions => ({ servername: 'mypg.pods.localhost', session }));
  const hellos = await Promise.all([...ASKED, ...resuming].map(realHello));
  return [...hellos, ...hellos.map((hello) => inRecords(hello, 300))];
}

/** The first bytes a real TLS client (OpenSSL) sends. */
export function realHello(options: ConnectionOptions): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({
      read: () => undefined,
      write(chunk: Buffer, _encoding, callback) {
        resolve(chunk);
        callback();
      },
    });
    connect({ ...options, socket: wire }).on('error', () => undefined);
  });
}

/** The same handshake message in records of at most `size` bytes. */
export function inRecords(hello: Buffer, size: number): Buffer {
  const message = hello.subarray(5);
  const records: Buffer[] = [];
  for (let offset = 0; offset < message.length; offset += size) {
    const fragment = message.subarray(offset, offset + size);
    records.push(Buffer.from([22, 3, 1, fragment.length >> 8, fragment.length & 255]), fragment);
  }
  return Buffer.concat(records);
}
