import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { serveFeed } from '../../../control/workers/feed-server.ts';
import { ControlRouteFeed } from '../../../control/routes/route-feed.ts';
import { openSqliteDatabase, type SqliteDatabase } from '../../../control/store/sqlite/sqlite-database.ts';
import { podKey } from '../../../core/ids.ts';
import { podPut } from '../../../core/pod-put.ts';
import { createGateway } from '../../../proxy/gateway.ts';
import { DEFAULT_GATEWAY_LIMITS, type Gateway } from '../../../proxy/gateway-options.ts';
import { DEFAULT_HTTP_LIMITS } from '../../../proxy/protocols/http/http-protocol.ts';
import { cancelRequest } from '../../../proxy/protocols/postgres/cancel/cancel-request.ts';
import { GUESSES_PER_ADDRESS } from '../../../proxy/protocols/postgres/cancel/guess-limit.ts';
import { podRecord, podSpec, workloadOf } from '../../support/pod-records.ts';
import { silentLog } from '../../support/silent-log.ts';
import { until } from '../../support/until.ts';
import { raceCancels } from './support/cancel-race.ts';
import { makeCertificate } from './support/certificate.ts';
import { systemClock } from './support/gateway-fixture.ts';
import { startPostgres, type PostgresServer } from './support/postgres-server.ts';
import { readAndEnd } from './support/streams.ts';
import { ServedCertificates } from '../../../control/workers/served-certificates.ts';

const HOST = 'mypg.pods.localhost';
/** Pods that end TLS themselves: the same Postgres, and one that notes who comes. */
const OWN = 'own.pods.localhost';
const OTHER = 'other.pods.localhost';
const SSL_REQUEST = Buffer.from('0000000804d2162f', 'hex');
const CANCELLED = 'canceling statement due to user request';
const certificate = makeCertificate(['localhost', '*.pods.localhost']);

interface Worker {
  readonly gateway: Gateway;
  readonly port: number;
}

let dir: string;
let server: PostgresServer;
let database: SqliteDatabase;
let feed: ControlRouteFeed;
let stop: AbortController;
let running: Promise<unknown>;
let first: Worker;
let second: Worker;
/** Straight to the server, past the gateway. */
let watcher: pg.Client;
const relays: Server[] = [];
const sessions: pg.Client[] = [];

/** Two workers of one replica: each its own gateway, both on one control feed. */
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'podgate-cancel-'));
  writeFileSync(join(dir, 'ca.pem'), certificate.certificatePem);
  server = await startPostgres({ certificate });
  database = openSqliteDatabase({ path: ':memory:', clock: systemClock, log: silentLog });
  feed = new ControlRouteFeed({
    store: database.store,
    log: silentLog,
    baseHostOf: () => 'localhost',
  });
  const certificates = new ServedCertificates(['files']);
  certificates.replace('files', [{ ...certificate, id: 'test', notAfterMs: Infinity }]);
  stop = new AbortController();
  const feedPath = join(dir, 'feed.sock');
  const serving = serveFeed(
    { feed, certificates, path: feedPath, epoch: 'epoch-1', baseHosts: ['localhost'], log: silentLog },
    stop.signal,
  );
  running = Promise.all([feed.run(stop.signal), serving]);
  await publish([]);
  feed.observationsComplete();
  [first, second] = await Promise.all([startWorker(1, feedPath), startWorker(2, feedPath)]);
  watcher = new pg.Client({ host: '127.0.0.1', port: server.port, ...credentials() });
  await watcher.connect();
});

afterEach(async () => {
  for (const relay of relays.splice(0)) relay.close();
  for (const client of sessions.splice(0)) await client.end();
  await until('no session is left', () => first.gateway.activeConnections() + second.gateway.activeConnections() === 0);
});

afterAll(async () => {
  await watcher.end();
  stop.abort();
  await running;
  database.close();
  await server.stop();
  rmSync(dir, { recursive: true });
});

const credentials = () => ({ user: server.user, password: server.password, database: 'postgres' });

async function publish(ipAllowList: readonly string[]): Promise<void> {
  const networking = { default: { protocol: 'postgres', port: 5432, ipAllowList } } as const;
  const record = podRecord({ podId: 'mypg', spec: podSpec({ networking }) });
  const key = podKey(record.tenant, record.podId);
  const stored = await database.store.get('pod', key);
  const result = await database.store.commit({ puts: [podPut(record, stored?.revision ?? 'absent')] });
  expect(result.kind).toBe('committed');
  const addresses = { default: { address: '127.0.0.1', port: server.port, service: null } };
  feed.observed(key, record.uid, workloadOf(record, { addresses }));
}

/** A Postgres pod with `tls: passthrough`. */
async function publishPassedThrough(podId: string, port: number): Promise<void> {
  const networking = { default: { protocol: 'postgres', port: 5432, ipAllowList: [], tls: 'passthrough' } } as const;
  const record = podRecord({ podId, uid: `uid-${podId}`, spec: podSpec({ networking }) });
  await database.store.commit({ puts: [podPut(record, 'absent')] });
  const addresses = { default: { address: '127.0.0.1', port, service: null } };
  feed.observed(podKey(record.tenant, podId), record.uid, workloadOf(record, { addresses }));
  const isKnown = ({ gateway }: Worker): boolean => gateway.table.get(`${podId}.pods.localhost`)?.backend !== undefined;
  await until('it is routed', () => isKnown(first) && isKnown(second));
}

async function startWorker(worker: number, feedSocketPath: string): Promise<Worker> {
  const gateway = createGateway({
    worker,
    feedSocketPath,
    apiSocketPath: join(dir, 'api.sock'),
    apiUrl: 'https://localhost:8443',
    publicHttpsPort: 8443,
    limits: { ...DEFAULT_GATEWAY_LIMITS, http: DEFAULT_HTTP_LIMITS },
    drainMs: 0,
    clock: systemClock,
    log: silentLog,
  });
  running = Promise.all([running, gateway.run(stop.signal)]);
  await gateway.synchronized;
  const { port } = await gateway.listen('https', { host: '127.0.0.1', port: 0 });
  return { gateway, port };
}

interface Relay {
  readonly port: number;
  /** What clients have sent on every connection but the first. */
  readonly laterBytes: () => number;
}

/** A port whose first connection goes to one worker and every later one to another, as the kernel may spread them. */
async function relay(session: Worker, later: Worker): Promise<Relay> {
  let count = 0;
  let laterBytes = 0;
  const listening = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({
      host: '127.0.0.1',
      port: count++ === 0 ? session.port : later.port,
      allowHalfOpen: true,
    });
    if (count > 1) client.on('data', (data: Buffer) => (laterBytes += data.length));
    client.pipe(upstream).pipe(client);
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
  });
  relays.push(listening);
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  return { port: (listening.address() as AddressInfo).port, laterBytes: () => laterBytes };
}

async function isRunning(sql: string): Promise<boolean> {
  const text = `select 1 from pg_stat_activity where query = $1 and state = 'active'`;
  return (await watcher.query(text, [sql])).rowCount === 1;
}

interface Interrupted {
  readonly stderr: string;
  readonly code: number;
  readonly tookMs: number;
}

let sleeps = 0;
/** A statement that takes long, and that the server's list of what runs tells from every other. */
const longSleep = (): string => `select pg_sleep(30), ${sleeps++}`;

/** psql, interrupted by SIGINT as by Ctrl-C while its statement runs. */
async function interruptPsql(
  port: number,
  more = '',
  env: Record<string, string> = {},
  host = HOST,
): Promise<Interrupted> {
  const conninfo =
    `host=${host} hostaddr=127.0.0.1 port=${port} user=${server.user} dbname=postgres connect_timeout=10 ` +
    `sslmode=verify-full sslrootcert=${join(dir, 'ca.pem')} ${more}`;
  const sql = longSleep();
  const child = spawn('psql', ['-X', '-At', conninfo, '-c', sql], {
    env: { PATH: process.env['PATH'] ?? '', PGPASSWORD: server.password, HOME: dir, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: 20_000,
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const closed = once(child, 'close') as Promise<[number]>;
  await until(`the statement runs: ${stderr}`, () => child.exitCode !== null || isRunning(sql));
  const sinceMs = performance.now();
  child.kill('SIGINT');
  const [code] = await closed;
  return { stderr, code, tookMs: performance.now() - sinceMs };
}

interface Session {
  readonly client: pg.Client;
  /** What CancelRequest repeats. */
  readonly key: Buffer;
}

async function openSession(worker: Worker, host = HOST): Promise<Session> {
  const ssl = { ca: certificate.certificatePem, servername: host };
  const client = new pg.Client({ host: '127.0.0.1', port: worker.port, ...credentials(), ssl });
  await client.connect();
  sessions.push(client);
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const key = Buffer.alloc(8);
  key.writeInt32BE(processID, 0);
  key.writeInt32BE(secretKey, 4);
  return { client, key };
}

/** Starts a long statement and answers how it ended, once it runs. */
async function startSleep(client: pg.Client): Promise<{ readonly ended: Promise<string> }> {
  const sql = longSleep();
  const ended = client.query(sql).then(
    () => 'to its end',
    (error: unknown) => (error as Error).message,
  );
  await until('the statement runs', () => isRunning(sql));
  return { ended };
}

async function openPlain(worker: Worker, localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port: worker.port, localAddress, allowHalfOpen: true });
  await once(socket, 'connect');
  return socket;
}

async function openTls(worker: Worker, options: ConnectionOptions & { readonly isDirect: boolean }): Promise<Duplex> {
  const socket = await openPlain(worker);
  if (!options.isDirect) {
    socket.write(SSL_REQUEST);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(String(answer)).toBe('S');
  }
  // Without a name the chain is still verified.
  const check = options.servername === undefined ? { checkServerIdentity: () => undefined } : {};
  const client = connectTls({ socket, ca: certificate.certificatePem, ...check, ...options });
  await once(client, 'secureConnect');
  return client;
}

/** Sends it, and answers everything that comes back before the end. */
async function ask(socket: Duplex, key: Buffer): Promise<Buffer> {
  socket.write(cancelRequest(key));
  return readAndEnd(socket);
}

const WAYS: readonly (readonly [string, (worker: Worker) => Promise<Duplex>])[] = [
  ['in plaintext', (worker) => openPlain(worker)],
  ['inside TLS with a server name', (worker) => openTls(worker, { isDirect: false, servername: HOST })],
  ['inside TLS without a server name', (worker) => openTls(worker, { isDirect: false })],
  [
    'inside direct TLS',
    (worker) => openTls(worker, { isDirect: true, servername: HOST, ALPNProtocols: ['postgresql'] }),
  ],
  [
    'inside direct TLS without a server name',
    (worker) => openTls(worker, { isDirect: true, ALPNProtocols: ['postgresql'] }),
  ],
];

describe('Ctrl-C in psql', () => {
  it('cancels its statement within a second', async () => {
    const { stderr, code, tookMs } = await interruptPsql(first.port);
    expect(stderr).toContain(CANCELLED);
    expect(code).toBe(1);
    expect(tookMs).toBeLessThan(1_000);
  });

  it('cancels it when the request arrives at another worker', async () => {
    const asked = first.gateway.counters.cancels.unknown;
    const delivered = second.gateway.counters.cancels.delivered;
    const { stderr, tookMs } = await interruptPsql((await relay(second, first)).port);
    expect(stderr).toContain(CANCELLED);
    expect(tookMs).toBeLessThan(1_000);
    expect(first.gateway.counters.cancels.unknown).toBe(asked + 1);
    await until('it is counted', () => second.gateway.counters.cancels.delivered === delivered + 1);
  });

  it.each([
    ['3.0', 4],
    ['3.2', 32],
  ])('cancels it with libpq 18 and protocol %s, whose keys have %i bytes, at either worker', async (version, bytes) => {
    const more = `max_protocol_version=${version}`;
    const env = { LD_LIBRARY_PATH: server.libraries };
    const another = await relay(first, second);
    for (const { port } of [second, another]) {
      const { stderr, tookMs } = await interruptPsql(port, more, env);
      expect(stderr).toContain(CANCELLED);
      expect(tookMs).toBeLessThan(1_000);
    }
    expect(another.laterBytes()).toBe(12 + bytes);
  });
});

describe('the end of a cancel request', () => {
  // By the kernel's choice half of the cancels would arrive at the other worker: here all or none do.
  it.each([
    ['encrypted', 'its own worker', () => first.port],
    ['plain', 'its own worker', () => first.port],
    ['encrypted', 'another worker', async () => (await relay(first, second)).port],
    ['plain', 'another worker', async () => (await relay(second, first)).port],
  ] as const)('comes after its signal: no later statement is hit, %s, by %s', async (way, _by, portOf) => {
    const { own, later } = await raceCancels({
      libraries: server.libraries,
      conninfo:
        `host=${HOST} hostaddr=127.0.0.1 port=${await portOf()} user=${server.user} dbname=postgres ` +
        `sslmode=verify-full sslrootcert=${join(dir, 'ca.pem')}`,
      password: server.password,
      tries: 100,
      way,
    });
    expect(later).toBe(0);
    // Otherwise they came too late to prove anything.
    expect(own).toBeGreaterThan(0);
  });
});

describe('a plaintext cancel of a session whose TLS the pod ends', () => {
  /** What clients that come to the other pod say to it, and what is said to them: nothing. */
  const said: Buffer[] = [];
  let other: Server;

  beforeAll(async () => {
    other = createServer((socket) => {
      socket.on('error', () => undefined).on('data', (bytes: Buffer) => said.push(bytes));
    });
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    await publishPassedThrough('own', server.port);
    await publishPassedThrough('other', (other.address() as AddressInfo).port);
  });
  afterAll(() => other.close());

  /** Direct TLS, which the other pod never goes on with. */
  async function openOther(worker: Worker, localAddress = '127.0.0.1'): Promise<Socket> {
    said.length = 0;
    const socket = await openPlain(worker, localAddress);
    connectTls({ socket, servername: OTHER, ALPNProtocols: ['postgresql'] }).on('error', () => undefined);
    await until('the other pod hears of it', () => said.length > 0);
    return socket;
  }

  it('reaches it from the address of its client, on any worker', async () => {
    for (const { port } of [first, await relay(first, second)]) {
      const { stderr, tookMs } = await interruptPsql(port, '', {}, OWN);
      expect(stderr).toContain(CANCELLED);
      expect(tookMs).toBeLessThan(1_000);
    }
  });

  it('reaches no session while its address also has such a session with another pod', async () => {
    const { client, key } = await openSession(first, OWN);
    const { ended } = await startSleep(client);
    for (const [here, there] of [
      [first, first],
      [second, first],
      [first, second],
    ] as const) {
      const session = await openOther(here);
      const heard = said.length;
      const delivered = first.gateway.counters.cancels.delivered + second.gateway.counters.cancels.delivered;
      expect(await ask(await openPlain(there), key)).toHaveLength(0);
      expect(first.gateway.counters.cancels.delivered + second.gateway.counters.cancels.delivered).toBe(delivered);
      expect(said).toHaveLength(heard);
      session.destroy();
      await until('it is over', () => here.gateway.activeConnections() === (here === first ? 1 : 0));
    }
    await ask(await openPlain(second), key);
    expect(await ended).toBe(CANCELLED);
  });

  it('from another address reaches no session', async () => {
    const { client, key } = await openSession(first, OWN);
    const { ended } = await startSleep(client);
    const { delivered } = first.gateway.counters.cancels;
    expect(await ask(await openPlain(first, '127.0.0.4'), key)).toHaveLength(0);
    expect(first.gateway.counters.cancels.delivered).toBe(delivered);
    await ask(await openPlain(first), key);
    expect(await ended).toBe(CANCELLED);
    expect(first.gateway.counters.cancels.delivered).toBe(delivered + 1);
  });

  it('reaches the session whose key is known, whatever other sessions its address has', async () => {
    const { client, key } = await openSession(first);
    const { ended } = await startSleep(client);
    const session = await openOther(second);
    const heard = said.length;
    await ask(await openPlain(second), key);
    expect(await ended).toBe(CANCELLED);
    expect(said).toHaveLength(heard);
    session.destroy();
  });
});

describe('a CancelRequest', () => {
  describe.each(WAYS)('%s', (_way, open) => {
    it('cancels a session of this worker and of another, and the session continues', async () => {
      const { client, key } = await openSession(first);
      for (const worker of [first, second]) {
        const { ended } = await startSleep(client);
        expect(await ask(await open(worker), key)).toHaveLength(0);
        expect(await ended).toBe(CANCELLED);
        expect((await client.query('select 1')).rowCount).toBe(1);
      }
    });

    it('gets no reply, whatever its key', async () => {
      const { client, key } = await openSession(first);
      const before = first.gateway.counters.closed['cancel-request'];
      expect(await ask(await open(first), key)).toHaveLength(0);
      expect(await ask(await open(first), Buffer.from('a key of nobody'))).toHaveLength(0);
      expect(await ask(await open(first), Buffer.alloc(260, 1))).toHaveLength(0);
      expect(first.gateway.counters.closed['cancel-request']).toBe(before + 3);
      // One that came for no statement does nothing to the next, once it has come.
      await until('it is idle', async () => (await client.query('select 1').catch(() => null)) !== null);
    });

    it('of another size is closed as malformed', async () => {
      const before = first.gateway.counters.closed['malformed-startup'];
      expect(await ask(await open(first), Buffer.alloc(7))).toHaveLength(0);
      expect(await ask(await open(first), Buffer.alloc(261))).toHaveLength(0);
      expect(first.gateway.counters.closed['malformed-startup']).toBe(before + 2);
    });
  });

  it('of npm pg works', async () => {
    const { client } = await openSession(first);
    for (const worker of [first, second]) {
      const sql = longSleep();
      const query = new pg.Query(sql);
      const failed = once(query, 'error') as Promise<[Error]>;
      client.query(query);
      await until('the statement runs', () => isRunning(sql));
      // Its own canceller opens a connection in plaintext, whatever its session has.
      const canceller = new pg.Client({ host: '127.0.0.1', port: worker.port }) as unknown as {
        cancel(client: pg.Client, query: pg.Query): void;
      };
      canceller.cancel(client, query);
      expect((await failed)[0].message).toBe(CANCELLED);
    }
  });

  it('that arrives in pieces works', async () => {
    const { client, key } = await openSession(first);
    const { ended } = await startSleep(client);
    const socket = await openPlain(second);
    for (const byte of cancelRequest(key)) {
      await new Promise((resolve) => socket.write(Buffer.of(byte), () => setImmediate(resolve)));
    }
    expect(await readAndEnd(socket)).toHaveLength(0);
    expect(await ended).toBe(CANCELLED);
  });

  it('is only accepted from addresses that the current allow list of the pod admits', async () => {
    const { client, key } = await openSession(first);
    const { ended } = await startSleep(client);
    // The session's own address stays: a session whose client is no longer let in is cut.
    const isKnown = async (list: readonly string[]): Promise<void> => {
      await publish(list);
      const known = ({ gateway }: Worker): boolean => gateway.table.get(HOST)?.ipAllowList.length === list.length;
      await until('the list is known', () => known(first) && known(second));
    };
    await isKnown(['127.0.0.1/32']);
    const before = first.gateway.counters.cancels.forbidden;
    for (const worker of [first, second]) {
      expect(await ask(await openPlain(worker, '127.0.0.2'), key)).toHaveLength(0);
    }
    await until('both are refused', () => first.gateway.counters.cancels.forbidden === before + 2);
    await isKnown(['127.0.0.1/32', '127.0.0.2/32']);
    await ask(await openPlain(second, '127.0.0.2'), key);
    expect(await ended).toBe(CANCELLED);
    await publish([]);
    await until('the list is open', () => first.gateway.table.get(HOST)?.ipAllowList.length === 0);
  });

  it('finds nothing once the session is over', async () => {
    const { client, key } = await openSession(first);
    await client.end();
    await until('it is over', () => first.gateway.activeConnections() === 0);
    const { unknown, delivered } = first.gateway.counters.cancels;
    await ask(await openPlain(first), key);
    await until('it is unknown', () => first.gateway.counters.cancels.unknown === unknown + 1);
    expect(first.gateway.counters.cancels.delivered).toBe(delivered);
  });

  it('that guesses is slowed down, for its address only', async () => {
    const { client, key } = await openSession(first);
    const { ended } = await startSleep(client);
    const { slowed } = first.gateway.counters.cancels;
    const guess = async (): Promise<void> => {
      expect(await ask(await openPlain(first, '127.0.0.3'), Buffer.from('a key of nobody'))).toHaveLength(0);
    };
    for (let round = 0; first.gateway.counters.cancels.slowed === slowed; round++) {
      await Promise.all(Array.from({ length: 50 }, guess));
      expect(round).toBeLessThan((20 * GUESSES_PER_ADDRESS.most) / 50);
    }
    // Asked right away, while its bucket is still empty.
    await Promise.all([...Array.from({ length: 50 }, guess), openPlain(first, '127.0.0.3').then((it) => ask(it, key))]);
    await ask(await openPlain(first), key);
    expect(await ended).toBe(CANCELLED);
  });
});
