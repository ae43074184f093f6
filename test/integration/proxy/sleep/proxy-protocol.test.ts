import { once } from 'node:events';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { expect, it } from 'vitest';
import { WAKES_PER_ADDRESS } from '../../../../proxy/dial/holds.ts';
import { until } from '../../../support/until.ts';
import type { GatewayFixture } from '../support/gateway-fixture.ts';
import { certificate, createStage } from '../support/stage.ts';
import { openPlain, readAll, startBackend } from '../support/streams.ts';
import { asleep, awake, wakes } from './sleepers.ts';

/** A load balancer of ours connects, and says by a PROXY header for whom. */
const FROM_BALANCER = { from: ['127.0.0.0/8'], policy: 'require' } as const;
const HOST = 'sleeper.pods.localhost';
/** Version 3.0, user poduser. */
const STARTUP = Buffer.from('\0\0\0\x16\0\x03\0\0user\0poduser\0\0', 'latin1');
const REQUEST = `GET / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\n\r\n`;
/** Each gets its refusal in the protocol that it speaks. */
const FIRST_BYTES = { http: REQUEST, postgres: STARTUP, tcp: REQUEST } as const;
const stage = createStage();

async function openFrom({ httpsPort }: GatewayFixture, address: string, servername = HOST): Promise<TLSSocket> {
  const raw = await openPlain(httpsPort);
  raw.write(`PROXY TCP4 ${address} 192.0.2.1 4711 443\r\n`);
  const client = connectTls({ socket: raw, servername, ca: certificate.certificatePem });
  await once(client, 'secureConnect');
  return client.on('error', () => undefined);
}

it.each(['http', 'postgres', 'tcp'] as const)(
  'a %s pod that sleeps is woken by a client that its list of addresses lets in, not by who only comes through the same load balancer',
  async (protocol) => {
    const lines: string[] = [];
    const sleeping = asleep(HOST, { protocol, ipAllowList: ['203.0.113.0/24'] });
    const fixture = await stage.start({
      ...{ routes: [sleeping], proxyProtocol: FROM_BALANCER },
      accessLog: { write: (line) => void lines.push(line), dropped: 0 },
    });
    const stranger = await openFrom(fixture, '198.51.100.7');
    stranger.write(FIRST_BYTES[protocol]);
    expect(String(await readAll(stranger))).toContain('Your address may not connect');
    expect(wakes(fixture)).toEqual([]);

    const received: Buffer[] = [];
    const pod = await startBackend((socket) =>
      socket.on('data', (bytes: Buffer) => {
        received.push(bytes);
        socket.end('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes');
      }),
    );
    stage.backends.push(pod);
    const client = await openFrom(fixture, '203.0.113.7');
    client.write(FIRST_BYTES[protocol]);
    await until('it waits', () => fixture.gateway.counters.heldNow === 1);
    await until('it is woken', () => wakes(fixture).length === 1);
    const answered = once(client, 'data') as Promise<[Buffer]>;
    fixture.feed.change([awake(sleeping, pod.port)]);
    expect(String((await answered)[0])).toContain('200 OK');
    client.destroy();
    const text = String(Buffer.concat(received));
    if (protocol === 'http') expect(text).toMatch(/\r\nx-forwarded-for: 203\.0\.113\.7\r\n/i);
    else expect(text).toBe(String(FIRST_BYTES[protocol]));
    await until('both lines are written', () => lines.length === 2);
    const line = lines.find((each) => each.includes('"address":"203.0.113.7"'));
    expect(line).toContain('"woke":true');
  },
);

it('each client of a load balancer may wake as many pods as any address may', async () => {
  const hosts = Array.from({ length: WAKES_PER_ADDRESS.most + 1 }, (_, index) => `pod${index}.pods.localhost`);
  const fixture = await stage.start({
    ...{ routes: hosts.map((host) => asleep(host, { protocol: 'http' })), proxyProtocol: FROM_BALANCER },
  });
  /** As a browser: it gets a page at once. */
  const visit = async (host: string, address: string): Promise<string> => {
    const client = await openFrom(fixture, address, host);
    const browser = 'Accept: text/html\r\nSec-Fetch-Mode: navigate\r\nConnection: close';
    client.write(`GET / HTTP/1.1\r\nHost: ${host}\r\n${browser}\r\n\r\n`);
    return String(await readAll(client));
  };
  const last = hosts.at(-1) ?? '';
  for (const host of hosts.slice(0, -1)) expect(await visit(host, '203.0.113.7')).toContain('is waking up');
  expect(await visit(last, '203.0.113.7')).toContain('is asleep');
  expect(wakes(fixture)).not.toContain(last);
  expect(await visit(last, '203.0.113.8')).toContain('is waking up');
  expect(wakes(fixture)).toContain(last);
});
