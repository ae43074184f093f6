/**
 * node --expose-gc bench/certificates.ts [NAMES = 100000] [CERTIFICATES = 10000]
 * Memory of a gateway worker that knows so many names of routes and holds so many certificates, before and after clients
 * have come for 3,000 of them: contexts that are ready are 1,024 at most.
 */
import { createServer, type AddressInfo } from 'node:net';
import { connect } from 'node:tls';
import { RouteTable } from '../proxy/routes/route-table.ts';
import { TlsTerminator } from '../proxy/tls/tls-terminator.ts';
import { silentLog } from '../test/support/silent-log.ts';
import { createTestAuthority } from '../test/support/test-authority.ts';
import { machine } from './measure.ts';
import { helpIfAsked } from '../scripts/help.ts';

helpIfAsked(import.meta.filename);

const NAMES = Number(process.argv[2] ?? 100_000);
const CERTIFICATES = Number(process.argv[3] ?? 10_000);
const CLIENTS = 3_000;

const hostOf = (number: number): string => `pod${number}.pods.example.org`;
const { ca, certificate, key } = await createTestAuthority(['*.pods.example.org']);

let before = memoryMiB();
const told = (what: string): void => {
  const now = memoryMiB();
  console.log(`${what}: ${(now - before).toFixed(0)} MiB more`);
  before = now;
};

console.log(machine());
const table = new RouteTable(() => true);
table.replace(
  Array.from({ length: NAMES }, (_, number) => ({
    host: hostOf(number),
    tenant: 'dev',
    podId: `pod${number}`,
    uid: `uid-${number}`,
    stanza: 'default',
    protocol: 'http' as const,
    status: 'RUNNING' as const,
    backend: {
      uid: `uid-${number}`,
      address: `10.${number >> 16}.${(number >> 8) & 255}.${number & 255}`,
      port: 80,
      service: null,
    },
    ipAllowList: [],
  })),
);
told(`${NAMES} routes`);

const terminator = new TlsTerminator({
  onSecure: (secure) => {
    secure.on('error', () => undefined);
    secure.end();
  },
  onFailed: (raw) => raw.destroy(),
  clock: { now: () => Date.now() },
  log: silentLog,
});
terminator.replaceCertificates(
  Array.from({ length: CERTIFICATES }, (_, number) => ({
    id: `certificate-${number}`,
    source: 'per-host' as const,
    names: [hostOf(number)],
    notAfterMs: Date.now() + 86_400_000,
    // A text of its own for each, as real ones are; their chain is the same, as those of one issuer are.
    certificatePem: `${number}\n${certificate}${ca}`,
    privateKeyPem: `${number}\n${key}`,
  })),
);
told(`${CERTIFICATES} certificates`);

let asked = 0;
const server = createServer((raw) => {
  raw.on('error', () => undefined);
  terminator.accept(raw, { serverName: hostOf(asked++), alpn: null, keepsSession: true, clientCa: null });
});
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const { port } = server.address() as AddressInfo;
for (let client = 0; client < CLIENTS; client++) {
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, servername: hostOf(client), ca, ecdhCurve: 'X25519' });
    socket.on('error', reject);
    socket.on('close', () => resolve());
    socket.resume();
  });
}
server.close();
told(`${CLIENTS} clients, each for another name`);

/** Of the whole process, after a collection. */
function memoryMiB(): number {
  globalThis.gc?.();
  return process.memoryUsage.rss() / 2 ** 20;
}
