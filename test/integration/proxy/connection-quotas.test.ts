import http from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import pg from 'pg';
import { afterEach, describe, expect, it } from 'vitest';
import type { GatewayLimits } from '../../../proxy/gateway-options.ts';
import { until } from '../../support/until.ts';
import { exchange } from './http2/http2-client.ts';
import { type GatewayFixture, runningRoute } from './support/gateway-fixture.ts';
import { certificate, createStage, echoes } from './support/stage.ts';
import { readAndEnd, startBackend } from './support/streams.ts';

const OWNER_FULL = 'Too many connections to the pods of this owner.';
const TENANT_FULL = 'Too many connections to the pods of this tenant.';

const { start, echo, backends } = createStage();
const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

const hostOf = (pod: string): string => `${pod}.pods.localhost`;

/** An HTTP pod that leaves each request to `/wait` without an answer. */
async function waitingPod(): Promise<number> {
  const pod = http.createServer((request, response) => {
    if (request.url !== '/wait') response.end('served');
  });
  await new Promise<void>((resolve) => pod.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => {
    pod.close();
    pod.closeAllConnections();
  });
  return (pod.address() as AddressInfo).port;
}

/** Alice has pods of each protocol, bob one of each that is served by the same backends. */
async function startOwners(limits: Partial<GatewayLimits>, gatewayName?: string): Promise<GatewayFixture> {
  const tcp = await echo();
  const web = await waitingPod();
  // Takes connections and never says a word.
  const silent = await startBackend((socket) => socket.on('end', () => socket.end()).resume());
  backends.push(silent);
  const routes = (['alice', 'bob'] as const).flatMap((createdBy) => [
    runningRoute(hostOf(`${createdBy}raw`), tcp.port, { createdBy }),
    runningRoute(hostOf(`${createdBy}web`), web, { createdBy, protocol: 'http' }),
    runningRoute(hostOf(`${createdBy}db`), silent.port, { createdBy, protocol: 'postgres' }),
  ]);
  return start({ routes, limits, ...(gatewayName === undefined ? {} : { gatewayName }) });
}

async function openRaw({ connect }: GatewayFixture, pod: string): Promise<TLSSocket> {
  const client = await connect(hostOf(pod));
  cleanups.push(() => client.destroy());
  expect(await echoes(client)).toBe(true);
  return client;
}

async function request({ connect }: GatewayFixture, pod: string, path = '/'): Promise<string> {
  const client = await connect(hostOf(pod));
  client.write(`GET ${path} HTTP/1.1\r\nHost: ${hostOf(pod)}\r\nConnection: close\r\n\r\n`);
  return String(await readAndEnd(client));
}

function postgresClient({ httpsPort }: GatewayFixture, pod: string): pg.Client {
  const client = new pg.Client({
    ...{ host: '127.0.0.1', port: httpsPort, user: 'alice', database: 'alice', password: 'x' },
    ssl: { ca: certificate.certificatePem, servername: hostOf(pod) },
  });
  client.on('error', () => undefined);
  return client;
}

async function postgresRefusal(fixture: GatewayFixture, pod: string): Promise<unknown> {
  const error: unknown = await postgresClient(fixture, pod)
    .connect()
    .then(
      () => null,
      (reason: unknown) => reason,
    );
  const { code, message, hint } = error as pg.DatabaseError;
  return { code, message, hint };
}

describe('the quota of connections of an owner', () => {
  it('counts sessions and requests to all pods of the owner, refuses in each protocol, and affects no others', async () => {
    const fixture = await startOwners({ maxConnectionsPerOwner: 3 });
    const { gateway, connect } = fixture;
    const raw = await openRaw(fixture, 'aliceraw');
    const waiting = await connect(hostOf('aliceweb'));
    cleanups.push(() => waiting.destroy());
    waiting.write(`GET /wait HTTP/1.1\r\nHost: ${hostOf('aliceweb')}\r\n\r\n`);
    const database = postgresClient(fixture, 'alicedb');
    database.connect().catch(() => undefined);
    await until('the session of Postgres is there', () => gateway.counters.sessionsOf.postgres === 1);

    const answer = await request(fixture, 'aliceweb');
    expect(answer).toMatch(/^HTTP\/1\.1 503 /);
    expect(answer).toContain(OWNER_FULL);
    expect(answer).toContain('route.owner-full');
    expect(await postgresRefusal(fixture, 'alicedb')).toEqual({
      code: '53300',
      message: OWNER_FULL,
      hint: expect.stringContaining('quotas.connectionsPerUser') as string,
    });
    const socket = await connect(hostOf('aliceraw'));
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    expect(String(await readAndEnd(socket))).toContain(OWNER_FULL);
    expect([gateway.counters.limited.owner, gateway.counters.refused['route.owner-full']]).toEqual([3, 3]);

    await openRaw(fixture, 'bobraw');
    expect(await request(fixture, 'bobweb')).toMatch(/^HTTP\/1\.1 200 /);

    raw.destroy();
    await until('the place is free', async () => (await request(fixture, 'aliceweb')).startsWith('HTTP/1.1 200 '));
    await openRaw(fixture, 'aliceraw');
    waiting.destroy();
    await until('the place of the request is free', async () =>
      (await request(fixture, 'aliceweb')).startsWith('HTTP/1.1 200 '),
    );
  });

  it('counts each stream of HTTP/2', async () => {
    const fixture = await startOwners({ maxConnectionsPerOwner: 2 });
    const name = hostOf('aliceweb');
    const socket = await fixture.connect(name, { ALPNProtocols: ['h2'] });
    const session = http2.connect(`https://${name}`, { createConnection: () => socket });
    cleanups.push(() => session.destroy());
    session.on('error', () => undefined);
    for (let stream = 0; stream < 2; stream++) {
      session.request({ ':authority': name, ':path': '/wait' }).on('error', () => undefined);
    }
    const { status, body } = await exchange(session, { ':authority': name, ':path': '/' });
    expect([status, String(body).includes(OWNER_FULL)]).toEqual([503, true]);
  });

  it.each([
    ['is divided among the replicas that control knows', undefined, 2],
    ["is not divided in a gateway apart, which has its own file's", 'edge', 4],
  ])('%s', async (_what, gatewayName, admitted) => {
    const fixture = await startOwners({ maxConnectionsPerOwner: 4 }, gatewayName);
    fixture.feed.send({ kind: 'alive', isWatchFresh: true, replicas: 2 });
    // What the feed sends keeps its order: with this route the message before it is known.
    const further = await echo();
    fixture.feed.change([runningRoute(hostOf('alicemore'), further.port, { createdBy: 'alice' })]);
    await until('the route is known', () => fixture.gateway.table.get(hostOf('alicemore')) !== undefined);
    for (let count = 0; count < admitted; count++) await openRaw(fixture, count % 2 === 0 ? 'aliceraw' : 'alicemore');
    expect(await request(fixture, 'aliceweb')).toContain(OWNER_FULL);
  });
});

describe('the quota of connections of a tenant', () => {
  it('counts the pods of all its users, and of no other tenant', async () => {
    const fixture = await startOwners({ maxConnectionsPerTenant: 2 });
    await openRaw(fixture, 'aliceraw');
    await openRaw(fixture, 'bobraw');
    const answer = await request(fixture, 'bobweb');
    expect(answer).toContain(TENANT_FULL);
    expect(answer).toContain('quotas.connectionsPerTenant');
    const elsewhere = await echo();
    fixture.feed.change([runningRoute(hostOf('other'), elsewhere.port, { createdBy: 'alice', tenant: 'another' })]);
    await until('the route is known', () => fixture.gateway.table.get(hostOf('other')) !== undefined);
    await openRaw(fixture, 'other');
    expect(fixture.gateway.counters.limited.tenant).toBe(1);
  });
});
