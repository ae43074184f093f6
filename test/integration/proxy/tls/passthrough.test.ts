import acme from 'acme-client';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import { createSecureServer, type Http2SecureServer, type ServerHttp2Stream } from 'node:http2';
import { type AddressInfo } from 'node:net';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openAccount } from '../../../../certs/acme/acme-account.ts';
import { carryOutOrder, type ChallengeAnswers, type ChallengeType } from '../../../../certs/acme/acme-order.ts';
import { makePrivateKey } from '../../../../certs/acme/private-key.ts';
import type { Certificate } from '../../../../core/certificates.ts';
import type { Route } from '../../../../core/route.ts';
import { systemClock } from '../../../../main/system-clock.ts';
import { parseProxyHeader } from '../../../../proxy/proxy-protocol/parse-proxy-header.ts';
import { freePorts } from '../../../support/free-ports.ts';
import { Pebble } from '../../../support/pebble.ts';
import { run } from '../../../support/run.ts';
import { until } from '../../../support/until.ts';
import { makeCertificate } from '../support/certificate.ts';
import { route, runningRoute } from '../support/gateway-fixture.ts';
import { BOLT_HELLO, createStage, echoes } from '../support/stage.ts';
import { closed, openPlain, readAll, readAndEnd, startBackend } from '../support/streams.ts';

const { start, echo, backends } = createStage();
const HOST = 'own.pods.localhost';
/** The pod's own, of which the gateway knows nothing. */
const own: Certificate = makeCertificate([HOST]);

const servers: (HttpsServer | Http2SecureServer)[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    if ('closeAllConnections' in server) server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function listening(server: HttpsServer | Http2SecureServer): Promise<number> {
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

function startHttpsPod(body = 'the pod'): Promise<number> {
  return listening(
    createHttpsServer({ cert: own.certificatePem, key: own.privateKeyPem }, (_request, response) => response.end(body)),
  );
}

const passing = (port: number, changes: Partial<Route> = {}): Route =>
  runningRoute(HOST, port, { protocol: 'http', tls: 'passthrough', ...changes });

async function get(client: TLSSocket): Promise<string> {
  client.write(`GET / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`);
  return String(await readAndEnd(client));
}

describe('a route whose pod terminates TLS', () => {
  it('presents the certificate of the pod, and its responses', async () => {
    const { connect: open, gateway } = await start({ routes: [passing(await startHttpsPod())] });
    const client = await open(HOST, { ca: own.certificatePem });
    expect(await get(client)).toMatch(/^HTTP\/1\.1 200 [\s\S]*the pod$/);
    await expect(open(HOST)).rejects.toThrow();
    expect(gateway.counters.ended.finished).toBeGreaterThan(0);
    await until('every place is given back', () => gateway.activeConnections() === 0);
  });

  it('leaves ALPN to client and pod: curl speaks HTTP/2 with it', async () => {
    const pod = createSecureServer({ cert: own.certificatePem, key: own.privateKeyPem });
    pod.on('stream', (stream: ServerHttp2Stream) => {
      stream.respond({ ':status': 200 });
      stream.end('over h2');
    });
    const { httpsPort } = await start({ routes: [passing(await listening(pod))] });
    const dir = mkdtempSync(join(tmpdir(), 'podgate-passthrough-'));
    writeFileSync(join(dir, 'ca.pem'), own.certificatePem);
    const answer = await run('curl', [
      ...['-sS', '--http2', '--cacert', join(dir, 'ca.pem'), '--resolve', `${HOST}:${httpsPort}:127.0.0.1`],
      ...['-w', ' %{http_version}', `https://${HOST}:${httpsPort}/`],
    ]);
    rmSync(dir, { recursive: true });
    expect(answer).toMatchObject({ stdout: 'over h2 2', code: 0 });
  });

  it('passes the exact bytes of the ClientHello and all others, in both directions, to the end', async () => {
    const hello = await realHello();
    const pod = await startBackend((socket) => {
      let heard = Buffer.alloc(0);
      socket.on('data', (chunk: Buffer) => (heard = Buffer.concat([heard, chunk])));
      socket.once('end', () => socket.end(heard));
    });
    backends.push(pod);
    const { httpsPort } = await start({ routes: [passing(pod.port)] });
    const noise = randomBytes(300_000);
    for (const pieces of [
      [hello, noise],
      [Buffer.concat([hello, noise])],
      [hello.subarray(0, 100), hello.subarray(100), noise],
    ]) {
      const socket = await openPlain(httpsPort);
      const back = readAll(socket);
      for (const piece of pieces)
        await new Promise<void>((resolve) => socket.write(piece, () => setImmediate(resolve)));
      socket.end();
      expect((await back).equals(Buffer.concat([hello, noise]))).toBe(true);
    }
  });

  it('tells the pod the client’s address before the ClientHello if it requires a PROXY header', async () => {
    const hello = await realHello();
    for (const version of ['v1', 'v2'] as const) {
      const heard: Buffer[] = [];
      const pod = await startBackend((socket) => socket.on('data', (chunk: Buffer) => heard.push(chunk)));
      backends.push(pod);
      const { httpsPort } = await start({ routes: [passing(pod.port, { sendProxyProtocol: version })] });
      const socket = await openPlain(httpsPort);
      socket.write(hello);
      await until('all of it is there', () => Buffer.concat(heard).length > hello.length);
      const bytes = Buffer.concat(heard);
      const parsed = parseProxyHeader(bytes);
      if (parsed.kind !== 'match' || parsed.value === 'absent') throw new Error('no header');
      expect(parsed.value.source).toEqual({ kind: 'client', address: '127.0.0.1', port: socket.localPort });
      expect(bytes.subarray(parsed.value.bytes).equals(hello)).toBe(true);
      expect(bytes.includes(HOST)).toBe(true);
      socket.destroy();
    }
  });

  it('changes with its option, immediately for new connections', async () => {
    const port = await startHttpsPod();
    const plain = await echo();
    const {
      connect: open,
      feed,
      gateway,
    } = await start({
      routes: [runningRoute(HOST, plain.port, { protocol: 'tcp' })],
    });
    const before = await open(HOST);
    expect(await echoes(before)).toBe(true);
    feed.change([passing(port)]);
    await until('the change is there', () => gateway.table.get(HOST)?.tls === 'passthrough');
    expect(await get(await open(HOST, { ca: own.certificatePem }))).toContain('the pod');
    before.destroy();
  });
});

describe('a client whose pod terminates TLS itself and cannot be reached', () => {
  const off = (protocol: Route['protocol'], changes: Partial<Route> = {}): Route =>
    route(HOST, { protocol, tls: 'passthrough', status: 'STOPPED', ...changes });

  it.each([
    ['stopped', off('http'), 503, 'is not running'],
    ['starting', off('http', { status: 'CREATING_CONTAINER' }), 503, 'is starting'],
    ['closed to it', passing(1, { ipAllowList: ['192.0.2.1'] }), 403, 'may not connect'],
  ])(
    'gets in HTTP, with the best available certificate, the message that it is %s',
    async (_what, given, status, sentence) => {
      const { connect: open } = await start({ routes: [given] });
      const page = await get(await open(HOST, { ALPNProtocols: ['h2', 'http/1.1'] }));
      expect(page).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
      expect(page).toContain(sentence);
    },
  );

  it('gets it in Postgres and in Bolt', async () => {
    const { connect: open, httpsPort, gateway } = await start({ routes: [off('postgres')] });
    const asking = await openPlain(httpsPort);
    asking.write(Buffer.from('0000000804d2162f', 'hex'));
    const [answer] = (await once(asking, 'data')) as [Buffer];
    expect(String(answer)).toBe('S');
    const client = await open(HOST, { socket: asking });
    client.write(Buffer.concat([Buffer.from('0000001300030000', 'hex'), Buffer.from('user\0name\0\0')]));
    expect((await readAndEnd(client)).toString()).toContain('C57P03\0');
    const bolt = await open(HOST);
    const said = once(bolt, 'data') as Promise<[Buffer]>;
    bolt.write(BOLT_HELLO);
    expect((await said)[0]).toHaveLength(4);
    bolt.destroy();
    expect(gateway.counters.refused['route.stopped']).toBe(2);
  });

  it('gets it when the dial is given up, or the pod is at its limit', async () => {
    const gone = await echo();
    await gone.close();
    let isTaken = false;
    const silent = await startBackend((socket) => {
      isTaken = true;
      socket.resume();
    });
    backends.push(silent);
    const { connect: open, httpsPort } = await start({
      routes: [
        passing(gone.port),
        runningRoute('full.pods.localhost', silent.port, { protocol: 'http', tls: 'passthrough' }),
      ],
      limits: { maxConnectionsPerPod: 1 },
    });
    expect(await get(await open(HOST))).toMatch(/^HTTP\/1\.1 502 /);
    const holding = await openPlain(httpsPort);
    holding.write(await realHello('full.pods.localhost'));
    await until('the place is taken', () => isTaken);
    expect(await get(await open('full.pods.localhost'))).toMatch(/^HTTP\/1\.1 503 [\s\S]*Too many connections/);
    holding.destroy();
  });

  it('gets it for a Postgres that does not support TLS, or sends before it is asked', async () => {
    for (const said of ['N', 'Svoluble', 'E']) {
      const pod = await startBackend((socket) => {
        socket.once('data', () => socket.write(said));
        socket.once('end', () => socket.end());
      });
      backends.push(pod);
      const { httpsPort, connect: open } = await start({ routes: [passing(pod.port, { protocol: 'postgres' })] });
      const asking = await openPlain(httpsPort);
      asking.write(Buffer.from('0000000804d2162f', 'hex'));
      await once(asking, 'data');
      const client = await open(HOST, { socket: asking });
      client.write(Buffer.concat([Buffer.from('0000001300030000', 'hex'), Buffer.from('user\0name\0\0')]));
      expect((await readAndEnd(client)).toString()).toContain('C57P03\0');
    }
  });

  it('leaves nothing open when it disconnects while the pod is dialed or asked', async () => {
    const open = new Set<unknown>();
    const mute = await startBackend((socket) => {
      open.add(socket);
      socket.resume().once('end', () => socket.end());
      socket.once('close', () => open.delete(socket));
    });
    backends.push(mute);
    const { httpsPort, gateway } = await start({ routes: [passing(mute.port, { protocol: 'postgres' })] });
    const client = await openPlain(httpsPort);
    client.write(Buffer.from('0000000804d2162f', 'hex'));
    await once(client, 'data');
    client.write(await realHello());
    await until('the pod is asked', () => open.size === 1);
    client.resetAndDestroy();
    await closed(client);
    await until('the pod is left', () => open.size === 0);
    await until('every place is given back', () => gateway.activeConnections() === 0);
  });
});

describe('a pod that manages its certificate itself, with a real ACME server', () => {
  let httpsPort: number;
  const pebbles: Pebble[] = [];
  const tokens = new Map<string, string>();
  const pod = createHttpsServer(
    { cert: own.certificatePem, key: own.privateKeyPem, ALPNProtocols: ['acme-tls/1', 'http/1.1'] },
    (request, response) => {
      const token = (request.url ?? '').replace('/.well-known/acme-challenge/', '');
      response.writeHead(tokens.has(token) ? 200 : 404).end(tokens.get(token));
    },
  );

  beforeAll(async () => {
    await once(pod.listen(0, '127.0.0.1'), 'listening');
    [httpsPort = 0] = await freePorts(1);
  });
  afterAll(async () => {
    for (const pebble of pebbles) await pebble.dispose();
    pod.closeAllConnections();
    pod.close();
  });

  const overHttp: ChallengeAnswers = {
    present: async (answers) => answers.forEach(({ token, value }) => tokens.set(token, value)),
    withdraw: async () => tokens.clear(),
  };
  const overTls: ChallengeAnswers = {
    async present(answers) {
      for (const { host, value } of answers) {
        const authorization = { identifier: { type: 'dns', value: host } } as acme.Authorization;
        const [key, cert] = await acme.crypto.createAlpnCertificate(authorization, value);
        pod.setSecureContext({ key, cert });
      }
    },
    withdraw: async () => pod.setSecureContext({ cert: own.certificatePem, key: own.privateKeyPem }),
  };

  it.each<readonly [ChallengeType, ChallengeAnswers]>([
    ['tls-alpn-01', overTls],
    ['http-01', overHttp],
  ])('gets one by %s, past a gateway that has another answer', async (type, answers) => {
    const { port } = pod.address() as AddressInfo;
    const gateway = await start({ routes: [passing(port)], httpsPort });
    gateway.feed.send({ kind: 'challenges', number: 1, challenges: { http: {}, tls: [makeCertificate([HOST])] } });
    const pebble = await Pebble.start({ httpPort: gateway.httpPort, tlsPort: httpsPort });
    pebbles.push(pebble);
    const server = { directoryUrl: pebble.directoryUrl, ca: pebble.ca, externalAccount: null, stepDeadlineMs: 5_000 };
    const state = { key: makePrivateKey(), nextKey: null, url: null, contact: [] };
    const never = new AbortController().signal;
    const { session } = await openAccount({ server, state, emails: [], clock: systemClock }, never);
    const issued = await carryOutOrder(
      {
        session,
        names: [HOST],
        answers,
        challenges: [type],
        privateKey: makePrivateKey(),
        url: null,
        begun: async () => undefined,
        replaces: null,
        preferredChain: null,
      },
      never,
    );
    expect(issued.names).toEqual([HOST]);
  });
});

/** The first bytes a TLS client sends. */
async function realHello(servername = HOST): Promise<Buffer> {
  const listener = await startBackend(() => undefined);
  const heard = new Promise<Buffer>((resolve) => {
    listener.server.once('connection', (socket) => socket.once('data', resolve));
  });
  const child = run('openssl', ['s_client', '-connect', `127.0.0.1:${listener.port}`, '-servername', servername]);
  const hello = await heard;
  await listener.close();
  await child;
  return hello;
}
