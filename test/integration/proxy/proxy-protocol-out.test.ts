import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2 } from 'node:http2';
import type { Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Route } from '../../../core/route.ts';
import { parseProxyHeader } from '../../../proxy/proxy-protocol/parse-proxy-header.ts';
import { createClientAuthority } from '../../support/client-authority.ts';
import { until } from '../../support/until.ts';
import { runningRoute, type GatewayFixture } from './support/gateway-fixture.ts';
import { asleep, awake } from './sleep/sleepers.ts';
import { startHaproxyReceiver, startNginx, type ProxiedServer } from './support/proxied-servers.ts';
import { certificate, createStage, echoes } from './support/stage.ts';
import { closed, openPlain, readAndEnd, startBackend, type Backend } from './support/streams.ts';

const { start, backends } = createStage();
const HOST = 'pod.pods.localhost';
const VERSIONS = ['v1', 'v2'] as const;

/** What a pod has heard on one connection: the header, and what came behind it. */
interface Heard {
  readonly address: string;
  readonly port: number;
  readonly header: Buffer;
  readonly rest: () => string;
}

/** A pod that reads PROXY headers with our own parser and then does as told. */
async function startPod(then: (socket: Socket, heard: Heard) => void): Promise<Backend & { readonly heard: Heard[] }> {
  const heard: Heard[] = [];
  const pod = await startBackend((socket) => {
    let bytes = Buffer.alloc(0);
    let isIntroduced = false;
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      const parsed = parseProxyHeader(bytes);
      if (isIntroduced || parsed.kind !== 'match' || parsed.value === 'absent') return;
      if (parsed.value.source.kind !== 'client') return;
      const { bytes: length, source } = parsed.value;
      isIntroduced = true;
      const rest = (): string => bytes.toString('latin1', length);
      heard.push({ ...source, header: bytes.subarray(0, length), rest });
      const last = heard.at(-1);
      if (last !== undefined) then(socket, last);
    });
  });
  backends.push(pod);
  return { ...pod, heard };
}

function echoAfterHeader(socket: Socket, heard: Heard): void {
  socket.write(heard.rest(), 'latin1');
  socket.on('data', (chunk: Buffer) => socket.write(chunk));
}

/** Answers any number of requests without a body on a connection. */
function serveHttp(socket: Socket, heard: Heard): void {
  let answered = 0;
  const look = (): void => {
    const asked = heard.rest().split('\r\n\r\n').length - 1;
    for (; answered < asked; answered++) {
      const body = `${heard.address} ${heard.port}`;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    }
  };
  socket.on('data', look);
  look();
}

function startFor(route: Partial<Route>, port: number): Promise<GatewayFixture> {
  return start({
    routes: [runningRoute(HOST, port, route)],
    proxyProtocol: { from: ['127.0.0.0/8'], policy: 'use' },
    ticketKeys: [randomBytes(48).toString('base64')],
  });
}

/** A client at this address, as a load balancer of ours says. */
async function openFrom(
  { httpsPort }: GatewayFixture,
  address: string,
  port: number,
  options: ConnectionOptions = {},
): Promise<TLSSocket> {
  const raw = await openPlain(httpsPort);
  const family = address.includes(':') ? 'TCP6' : 'TCP4';
  raw.write(`PROXY ${family} ${address} ${family === 'TCP4' ? '192.0.2.1' : '2001:db8::1'} ${port} 443\r\n`);
  const client = connectTls({ socket: raw, servername: HOST, ca: certificate.certificatePem, ...options });
  await once(client, 'secureConnect');
  return client.on('error', () => undefined);
}

/** Status and body of one request, on a connection that is kept. */
async function ask(client: TLSSocket, path = '/'): Promise<string> {
  client.write(`GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`);
  let text = '';
  while (!/\r\n\r\n.+/s.test(text)) text += String(((await once(client, 'data')) as [Buffer])[0]);
  return `${text.slice(9, 12)} ${text.split('\r\n\r\n')[1] ?? ''}`;
}

describe.each(VERSIONS)('a pod that requires PROXY headers of %s', (version) => {
  it.each(['203.0.113.7', '2001:db8::7'])(
    'gets that of a client at %s before its first byte, behind a tcp stanza',
    async (address) => {
      const pod = await startPod(echoAfterHeader);
      const client = await openFrom(await startFor({ sendProxyProtocol: version }, pod.port), address, 4711);
      expect(await echoes(client)).toBe(true);
      client.destroy();
      expect(pod.heard).toEqual([expect.objectContaining({ address, port: 4711 })]);
      expect(pod.heard[0]?.rest()).toBe('word');
    },
  );

  it.each(['tcp', 'http'] as const)(
    'gets that of a client that has waited for it to wake up, behind a sleeping %s stanza',
    async (protocol) => {
      const pod = await startPod(protocol === 'http' ? serveHttp : echoAfterHeader);
      const sleeping = asleep(HOST, { protocol, sendProxyProtocol: version });
      const gateway = await start({
        routes: [sleeping],
        proxyProtocol: { from: ['127.0.0.0/8'], policy: 'use' },
      });
      const client = await openFrom(gateway, '203.0.113.7', 4711);
      const answer = protocol === 'http' ? ask(client) : echoes(client);
      await until('it waits', () => gateway.gateway.counters.heldNow === 1);
      gateway.feed.change([awake(sleeping, pod.port)]);
      expect(await answer).toBe(protocol === 'http' ? '200 203.0.113.7 4711' : true);
      client.destroy();
      expect(pod.heard).toEqual([expect.objectContaining({ address: '203.0.113.7', port: 4711 })]);
    },
  );

  it('gets it even before the server speaks, for a silent client', async () => {
    const pod = await startPod((socket, { address }) => socket.end(`hello ${address}`));
    const client = await openFrom(await startFor({ sendProxyProtocol: version }, pod.port), '203.0.113.8', 4712);
    expect(String(await readAndEnd(client))).toBe('hello 203.0.113.8');
  });

  it('gets it before the first packet, behind a postgres stanza', async () => {
    const startup = Buffer.concat([Buffer.from('0000001300030000', 'hex'), Buffer.from('user\0name\0\0')]);
    const pod = await startPod((socket, { rest }) => {
      if (rest() === startup.toString('latin1')) socket.end('Z');
      socket.on('data', () => rest() === startup.toString('latin1') && socket.end('Z'));
    });
    const gateway = await startFor({ sendProxyProtocol: version, protocol: 'postgres' }, pod.port);
    const client = await openFrom(gateway, '203.0.113.9', 4713);
    client.write(startup);
    expect(String(await readAndEnd(client))).toBe('Z');
    expect(pod.heard).toEqual([expect.objectContaining({ address: '203.0.113.9', port: 4713 })]);
  });

  it('gets that of each client on separate connections, behind an http stanza', async () => {
    const pod = await startPod(serveHttp);
    const gateway = await startFor({ sendProxyProtocol: version, protocol: 'http' }, pod.port);
    const [one, two] = [await openFrom(gateway, '203.0.113.1', 1001), await openFrom(gateway, '203.0.113.2', 1002)];
    for (let round = 0; round < 3; round++) {
      expect(await ask(one)).toBe('200 203.0.113.1 1001');
      expect(await ask(two)).toBe('200 203.0.113.2 1002');
    }
    // A connection is kept for its client, and told of once.
    expect(pod.heard.map(({ port }) => port)).toEqual([1001, 1002]);
    // Of the same address, and yet another connection.
    const again = await openFrom(gateway, '203.0.113.1', 1003);
    expect(await ask(again)).toBe('200 203.0.113.1 1003');
    for (const client of [one, two, again]) client.destroy();
  });

  it('gets that of each HTTP/2 client, too', async () => {
    const pod = await startPod(serveHttp);
    const gateway = await startFor({ sendProxyProtocol: version, protocol: 'http' }, pod.port);
    for (const port of [2001, 2002]) {
      const socket = await openFrom(gateway, '203.0.113.1', port, { ALPNProtocols: ['h2'] });
      const session = connectHttp2(`https://${HOST}`, { createConnection: () => socket });
      for (let round = 0; round < 2; round++) {
        const stream = session.request({ ':path': '/' });
        let body = '';
        for await (const chunk of stream) body += String(chunk);
        expect(body).toBe(`203.0.113.1 ${port}`);
      }
      session.destroy();
    }
    expect(pod.heard.map(({ port }) => port)).toEqual([2001, 2002]);
  });

  it('has no connection left from a client that has disconnected', async () => {
    const open = new Set<Socket>();
    const pod = await startPod((socket, heard) => {
      open.add(socket);
      socket.once('end', () => socket.end()).once('close', () => open.delete(socket));
      serveHttp(socket, heard);
    });
    const gateway = await startFor({ sendProxyProtocol: version, protocol: 'http' }, pod.port);
    const client = await openFrom(gateway, '203.0.113.1', 1001);
    await ask(client);
    expect(open.size).toBe(1);
    client.destroy();
    await closed(client);
    await until('the connection kept for it is closed', () => open.size === 0);
  });
});

describe('PROXY headers of version 2', () => {
  const lab = createClientAuthority('Lab');
  afterAll(() => lab.remove());

  it('include the name, the protocol, TLS and the client’s certificate', async () => {
    const pod = await startPod((socket) => socket.end('heard'));
    const gateway = await startFor({ sendProxyProtocol: 'v2', clientCa: lab.ca }, pod.port);
    const client = await openFrom(gateway, '203.0.113.7', 4711, {
      ...lab.issue('/O=Lab/CN=Miller, Alice'),
      ALPNProtocols: ['postgresql'],
    });
    expect(String(await readAndEnd(client))).toBe('heard');
    const header = pod.heard[0]?.header.toString('latin1') ?? '';
    expect(header).toContain(`\x02\x00${String.fromCharCode(HOST.length)}${HOST}`);
    expect(header).toContain('\x01\x00\x0apostgresql');
    expect(header).toContain('\x20\x00');
    // Over TLS, with a certificate, which is good.
    expect(header).toContain('\x07\x00\x00\x00\x00\x21\x00\x07TLSv1.3');
    expect(header).toContain('\x22\x00\x0dMiller, Alice');
  });
});

describe('real servers that require a PROXY header', () => {
  let nginx: ProxiedServer;
  let haproxy: ProxiedServer;
  beforeAll(async () => {
    [nginx, haproxy] = await Promise.all([startNginx(), startHaproxyReceiver()]);
  });
  afterAll(() => Promise.all([nginx.stop(), haproxy.stop()]));

  it.each(VERSIONS)('nginx sees the client by %s', async (version) => {
    const gateway = await startFor({ sendProxyProtocol: version, protocol: 'http' }, nginx.port);
    for (const [address, port] of [
      ['203.0.113.7', 4711],
      ['2001:db8::7', 4712],
    ] as const) {
      const client = await openFrom(gateway, address, port);
      for (const path of ['/', '/again']) expect(await ask(client, path)).toBe(`200 ${address} ${port} ${address}`);
      client.destroy();
    }
  });

  it.each(VERSIONS)('HAProxy sees the client by %s, and its name by version 2', async (version) => {
    const gateway = await startFor({ sendProxyProtocol: version, protocol: 'http' }, haproxy.port);
    for (const [address, port] of [
      ['203.0.113.7', 4711],
      ['2001:db8::7', 4712],
    ] as const) {
      const client = await openFrom(gateway, address, port);
      const name = version === 'v2' ? HOST : '';
      expect(await ask(client)).toBe(`200 ${address} ${port} ${name}`);
      client.destroy();
    }
  });

  it('reject a gateway that sends none', async () => {
    const gateway = await startFor({ protocol: 'http' }, haproxy.port);
    const client = await openFrom(gateway, '203.0.113.7', 4711);
    expect(await ask(client)).toMatch(/^502 /);
    client.destroy();
  });
});
