import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import { route, runningRoute } from '../support/gateway-fixture.ts';
import { BOLT_HELLO, certificate, createStage } from '../support/stage.ts';
import { openPlain, startBackend } from '../support/streams.ts';

const { start, backends } = createStage();
/** application_data that nobody has encrypted. */
const BROKEN = Buffer.concat([Buffer.from('1703030030', 'hex'), Buffer.alloc(48, 0x5a)]);
const STARTUP = Buffer.concat([Buffer.from('0000001300030000', 'hex'), Buffer.from('user\0name\0\0')]);
const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from('000000040000000000', 'hex'),
]);

const pods: Server[] = [];
afterEach(() => {
  for (const pod of pods.splice(0)) pod.close();
});

interface Pods {
  /** Whatever a pod still holds open. */
  readonly held: Set<Socket>;
  readonly tcpPort: number;
  readonly httpPort: number;
}

/** Neither ends by itself, and neither closes because its client says that it has. */
async function startPods(): Promise<Pods> {
  const held = new Set<Socket>();
  const hold = (socket: Socket): void => {
    held.add(socket);
    socket.on('error', () => undefined).once('close', () => held.delete(socket));
  };
  const tcp = await startBackend((socket) => {
    hold(socket);
    socket.on('data', (data) => socket.write(data));
  });
  backends.push(tcp);
  const waiting: ServerResponse[] = [];
  const http = createServer({ keepAliveTimeout: 0 }, (_, response) => {
    waiting.push(response);
    response.writeHead(200).write('begun');
  });
  http.on('connection', hold).on('upgrade', (_, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    socket.resume();
  });
  pods.push(http);
  await once(http.listen(0, '127.0.0.1'), 'listening');
  return { held, tcpPort: tcp.port, httpPort: (http.address() as AddressInfo).port };
}

interface Stage {
  readonly name: string;
  readonly alpn: readonly string[];
  /** Said first; then something is heard, unless it is 'nothing'. */
  readonly words: Buffer;
  readonly hears: 'something' | 'nothing';
}

const get = (host: string, more = ''): Buffer => Buffer.from(`GET / HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`);
const UPGRADE = 'Connection: Upgrade\r\nUpgrade: websocket\r\n';

const STAGES: readonly (readonly [string, Stage])[] = [
  ['before a request of HTTP/1.1', { name: 'web', alpn: ['http/1.1'], words: Buffer.alloc(0), hears: 'nothing' }],
  ['in the head of a request', { name: 'web', alpn: ['http/1.1'], words: Buffer.from('GET / HT'), hears: 'nothing' }],
  [
    'in an answer of HTTP/1.1',
    { name: 'web', alpn: ['http/1.1'], words: get('web.pods.localhost'), hears: 'something' },
  ],
  [
    'in a WebSocket',
    { name: 'web', alpn: ['http/1.1'], words: get('web.pods.localhost', UPGRADE), hears: 'something' },
  ],
  ['in HTTP/2', { name: 'web', alpn: ['h2'], words: PREFACE, hears: 'something' }],
  ['in a session of TCP', { name: 'raw', alpn: [], words: Buffer.from('word'), hears: 'something' }],
  ['in a session of Postgres', { name: 'pg', alpn: ['postgresql'], words: STARTUP, hears: 'something' }],
  ['before the StartupMessage', { name: 'pg', alpn: ['postgresql'], words: Buffer.alloc(0), hears: 'nothing' }],
  ['in a refusal of Bolt', { name: 'off', alpn: [], words: BOLT_HELLO, hears: 'something' }],
  [
    'in a refusal whose protocol is not known yet',
    { name: 'nobody', alpn: [], words: Buffer.alloc(0), hears: 'nothing' },
  ],
  [
    'in a refusal of Postgres',
    { name: 'pgoff', alpn: ['postgresql'], words: STARTUP.subarray(0, 12), hears: 'nothing' },
  ],
  ['in a refusal of HTTP/2', { name: 'off', alpn: ['h2', 'http/1.1'], words: PREFACE, hears: 'nothing' }],
  ['where a pod that ends TLS itself is away', { name: 'pass', alpn: [], words: BOLT_HELLO, hears: 'something' }],
];

async function openOver(plain: Socket, options: ConnectionOptions): Promise<TLSSocket> {
  const client = connectTls({ socket: plain, ca: certificate.certificatePem, ...options });
  client.on('error', () => undefined);
  await once(client, 'secureConnect');
  return client;
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)(
  'a record that cannot be decrypted ends the connection and its backend at once, %s',
  (maxVersion) => {
    it.each(STAGES)('%s', async (_when, { name, alpn, words, hears }) => {
      const { held, tcpPort, httpPort } = await startPods();
      const { httpsPort, gateway } = await start({
        routes: [
          runningRoute('raw.pods.localhost', tcpPort),
          runningRoute('pg.pods.localhost', tcpPort, { protocol: 'postgres' }),
          runningRoute('web.pods.localhost', httpPort, { protocol: 'http' }),
          route('off.pods.localhost', { status: 'STOPPED' }),
          route('pgoff.pods.localhost', { status: 'STOPPED', protocol: 'postgres' }),
          route('pass.pods.localhost', { status: 'STOPPED', tls: 'passthrough' }),
        ],
        // Long enough that no deadline ends it in its place.
        limits: { handshakeTimeoutMs: 300_000 },
      });
      const plain = await openPlain(httpsPort);
      const servername = `${name}.pods.localhost`;
      const client = await openOver(plain, { servername, ALPNProtocols: [...alpn], maxVersion });
      const heard = hears === 'something' ? once(client, 'data') : null;
      if (words.length > 0) client.write(words);
      await heard;
      const alert = new Promise<Error>((resolve) => client.once('error', resolve));
      plain.write(BROKEN);
      expect(String(await alert)).toContain('alert number 20');
      await until('both sides are gone', () => held.size === 0 && gateway.activeConnections() === 0, {
        timeoutMs: 5_000,
      });
      client.destroy();
    });
  },
);
