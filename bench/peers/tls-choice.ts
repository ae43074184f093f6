import { connect } from 'node:tls';

/** What every client offers, and nothing else: servers differ in what they would choose. */
export const CIPHER = 'TLS_AES_256_GCM_SHA384';
export const GROUP = 'X25519';
/** That OpenSSL sends by default after a full handshake of TLS 1.3. */
const TICKETS = 2;
const LISTEN_MS = 300;

/** Throws when a server agrees on anything else than the others: then the comparison would not be fair. */
export async function demandSameTls(name: string, port: number, host: string, ca: string): Promise<void> {
  const found = await new Promise<string>((resolve, reject) => {
    let tickets = 0;
    const socket = connect({ host: '127.0.0.1', port, servername: host, ca, ciphers: CIPHER, ecdhCurve: GROUP });
    socket.on('error', reject);
    socket.on('session', () => (tickets += 1));
    socket.once('secureConnect', () => {
      const { name: group } = socket.getEphemeralKeyInfo() as { name?: string };
      const agreed = `${socket.getProtocol() ?? ''} ${socket.getCipher().standardName} ${group ?? ''}`;
      socket.write('\n');
      setTimeout(() => {
        socket.destroy();
        resolve(`${agreed} ${tickets} tickets`);
      }, LISTEN_MS);
    });
  });
  const wanted = `TLSv1.3 ${CIPHER} ${GROUP} ${TICKETS} tickets`;
  if (found !== wanted) throw new Error(`${name} agrees on ${found}, the others on ${wanted}`);
}
