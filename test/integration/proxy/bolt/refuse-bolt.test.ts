import net from 'node:net';
import tls from 'node:tls';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import neo4j, { type Driver } from 'neo4j-driver';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RefusalCode } from '../../../../core/errors.ts';
import type { Route } from '../../../../core/route.ts';
import { refuseBolt } from '../../../../proxy/protocols/bolt/refuse.ts';
import { type Refusal, describeRefusal } from '../../../../proxy/connection/refusal.ts';
import { createTestAuthority } from '../../../support/test-authority.ts';
import { until } from '../../../support/until.ts';

const route: Route = {
  host: 'localhost',
  tenant: 'default',
  podId: 'mygraph',
  uid: 'uid-1',
  stanza: 'default',
  protocol: 'tcp',
  status: 'STOPPED',
  backend: null,
  ipAllowList: [],
};

function refusalOf(code: RefusalCode, status: Route['status'] = 'STOPPED'): Refusal {
  return describeRefusal(code, {
    requestId: 'request-1',
    host: 'localhost',
    route: { ...route, status },
    apiUrl: 'https://localhost:8443',
  });
}

/** What the server refuses with at present; connections so far. */
let refusal = refusalOf('route.stopped');
let connections = 0;
let directory: string;
let caPath: string;
const sockets = new Set<net.Socket>();
let server: tls.Server;
let plainServer: net.Server;

beforeAll(async () => {
  const authority = await createTestAuthority(['localhost']);
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'podgate-bolt-'));
  caPath = path.join(directory, 'ca.pem');
  fs.writeFileSync(caPath, authority.ca);
  const refuse = (socket: net.Socket, port: number) => {
    connections += 1;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    refuseBolt(socket, refusal, { deadlineMs: 20_000, address: `localhost:${port}` });
  };
  server = tls.createServer({ key: authority.key, cert: authority.certificate }, (socket) =>
    refuse(socket, portOf(server)),
  );
  plainServer = net.createServer((socket) => refuse(socket, portOf(plainServer)));
  await Promise.all([listen(server), listen(plainServer)]);
});

afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  await Promise.all([server, plainServer].map((each) => new Promise((resolve) => each.close(resolve))));
  fs.rmSync(directory, { recursive: true, force: true });
});

/** `localhost` of the listener's family only, so that no test waits for the other. */
function listen(each: net.Server): Promise<void> {
  return new Promise((resolve) => each.listen(0, 'localhost', resolve));
}

function portOf(each: net.Server): number {
  return (each.address() as net.AddressInfo).port;
}

function connect(scheme: 'bolt+s' | 'neo4j+s'): Driver {
  // The +s schemes of a URL take the system's authorities; these options are how the driver takes another one.
  return neo4j.driver(`${scheme.replace('+s', '')}://localhost:${portOf(server)}`, neo4j.auth.basic('neo4j', 'x'), {
    encrypted: 'ENCRYPTION_ON',
    trust: 'TRUST_CUSTOM_CA_SIGNED_CERTIFICATES',
    trustedCertificates: [caPath],
    maxTransactionRetryTime: 1_500,
    connectionAcquisitionTimeout: 10_000,
  });
}

interface SeenError {
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
}

async function errorOf(work: () => Promise<unknown>): Promise<SeenError> {
  const error = await work().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof neo4j.Neo4jError)) throw new Error('no Neo4jError', { cause: error });
  return { code: error.code, message: error.message, retryable: error.retryable };
}

const UNAVAILABLE = 'Neo.TransientError.General.DatabaseUnavailable';
const AT_QUERY = [
  ['route.stopped', 'STOPPED', 'Start it: GET https://localhost:8443/v3/pods/mygraph/start.'],
  ['route.stopped', 'ERROR', 'The reason: GET https://localhost:8443/v3/pods/mygraph/logs.'],
  ['route.starting', 'REQUESTED', 'Pod mygraph is starting: its status is REQUESTED.'],
  ['route.unreachable', 'RUNNING', 'Pod mygraph is running but does not answer.'],
  ['route.full', 'RUNNING', 'Too many connections.'],
  ['route.held-full', 'ASLEEP', 'Too many clients from your address are waiting for pods to wake up.'],
  ['route.owner-full', 'RUNNING', 'Too many connections to the pods of this owner.'],
  ['route.tenant-full', 'RUNNING', 'Too many connections to the pods of this tenant.'],
] as const;
const AT_LOGON = [
  ['route.unknown', 'Neo.ClientError.Database.DatabaseNotFound', 'No pod has the host name localhost.'],
  ['route.forbidden', 'Neo.ClientError.Security.Forbidden', 'Your address may not connect to this pod.'],
] as const;

describe.each(['bolt+s', 'neo4j+s'] as const)('neo4j-driver over %s', (scheme) => {
  it.each(AT_QUERY)(
    'shows %s of a pod in %s as a transient failure, with our message',
    async (code, status, sentence) => {
      refusal = refusalOf(code, status);
      const driver = connect(scheme);
      const session = driver.session();
      const seen = await errorOf(() => session.run('RETURN $x', { x: 'y'.repeat(100_000) }));
      expect(seen).toMatchObject({ code: UNAVAILABLE, retryable: true });
      expect(seen.message).toContain(sentence);
      await session.close();
      await driver.close();
    },
  );

  it('retries the transient failure automatically, each time on a new connection, and then shows it', async () => {
    refusal = refusalOf('route.stopped');
    const driver = connect(scheme);
    connections = 0;
    const seen = await errorOf(() => driver.executeQuery('RETURN 1', {}, { database: 'other' }));
    expect(seen.code).toBe(UNAVAILABLE);
    expect(seen.message).toContain('Start it: GET ');
    expect(connections).toBeGreaterThan(1);
    await driver.close();
  });

  it.each(AT_LOGON)('shows %s at once, as %s', async (code, expected, sentence) => {
    refusal = refusalOf(code);
    const driver = connect(scheme);
    const start = performance.now();
    const seen = await errorOf(() => driver.executeQuery('RETURN 1'));
    expect(seen).toMatchObject({ code: expected, retryable: false });
    expect(seen.message).toContain(sentence);
    expect(performance.now() - start).toBeLessThan(1_000);
    expect((await errorOf(() => driver.verifyConnectivity())).code).toBe(expected);
    await driver.close();
  });

  it('finds the server reachable while the pod is stopped: only the database is unavailable', async () => {
    refusal = refusalOf('route.stopped');
    const driver = connect(scheme);
    const info = await driver.getServerInfo();
    expect(info.protocolVersion).toEqual({ major: 5, minor: 4 });
    await driver.close();
  });
});

describe('without TLS', () => {
  it.each(['bolt', 'neo4j'])('%s:// gets the message that TLS is required', async (scheme) => {
    refusal = refusalOf('tls.required');
    const driver = neo4j.driver(`${scheme}://localhost:${portOf(plainServer)}`, neo4j.auth.basic('neo4j', 'x'));
    const seen = await errorOf(() => driver.executeQuery('RETURN 1'));
    expect(seen.code).toBe('Neo.ClientError.Security.Forbidden');
    expect(seen.message).toMatch(/TLS only.*neo4j\+s:\/\//);
    await driver.close();
  });
});

describe('a refused connection', () => {
  it('ends at its deadline, whatever the client does', async () => {
    const listener = net.createServer((socket) => {
      refuseBolt(socket, refusal, { deadlineMs: 300, address: 'localhost:1' });
    });
    await listen(listener);
    const socket = net.connect(portOf(listener), 'localhost');
    let closed = false;
    socket.on('error', () => undefined).once('close', () => (closed = true));
    socket.write(Buffer.from([0x60, 0x60, 0xb0, 0x17, 0, 0]));
    await until('it is closed', () => closed, { timeoutMs: 3_000 });
    await new Promise((resolve) => listener.close(resolve));
  });

  it('leaves nothing open at the end', async () => {
    await until('all sockets are closed', () => sockets.size === 0);
  });
});
