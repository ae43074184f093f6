import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import http2 from 'node:http2';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../support/until.ts';
import { runningRoute, type GatewayFixture } from './support/gateway-fixture.ts';
import { HOST, type PostgresStage, startPostgresStage } from './support/postgres-stage.ts';
import { certificate, createStage } from './support/stage.ts';
import { readAll, startBackend } from './support/streams.ts';

const RESTARTING = 'This connection was closed because the gateway is restarting or shutting down.';
const NO_MORE = 'This connection was closed because the pod no longer accepts your address or client certificate.';
const WEB = 'web.pods.localhost';

const { start, backends } = createStage();
const servers: Server[] = [];
const directory = mkdtempSync(join(tmpdir(), 'podgate-goodbyes-'));
const caPath = join(directory, 'ca.pem');
writeFileSync(caPath, certificate.certificatePem);
afterAll(() => rmSync(directory, { recursive: true }));
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

describe('a Postgres session that is cut', () => {
  let stage: PostgresStage;
  beforeAll(async () => {
    stage = await startPostgresStage();
  }, 60_000);
  afterAll(() => stage.stop(), 60_000);

  const settings = () => ({
    host: HOST,
    port: stage.fixture.httpsPort,
    user: stage.server.user,
    password: stage.server.password,
    database: 'postgres',
    ssl: { ca: stage.certificate.certificatePem, host: '127.0.0.1', servername: HOST },
  });
  const route = (ipAllowList: string[] = []) => ({
    ...runningRoute(HOST, stage.server.port, { protocol: 'postgres' }),
    ipAllowList,
  });

  it('gets 57P01, idle or during a statement, and a pool continues with new sessions', async () => {
    const pool = new pg.Pool({ ...settings(), max: 1 });
    const errors: { code?: string; message: string; detail?: string }[] = [];
    pool.on('error', (error) => errors.push(error));
    await pool.query('select 1');
    const busy = new pg.Client(settings());
    busy.on('error', () => undefined);
    await busy.connect();
    const sleeping = busy.query('select pg_sleep(30)').catch((error: unknown) => error);
    await until('it sleeps', () => stage.isRunning('select pg_sleep(30)'));
    stage.fixture.feed.change([route(['192.0.2.0/24'])]);
    expect(await sleeping).toMatchObject({ code: '57P01', severity: 'FATAL', message: NO_MORE });
    await until('the pool knows', () => errors.length === 1);
    expect(errors[0]).toMatchObject({ code: '57P01', message: NO_MORE });
    stage.fixture.feed.change([route()]);
    await until('it is let in again', () => stage.fixture.gateway.table.get(HOST)?.ipAllowList.length === 0);
    expect((await pool.query('select 2 as two')).rows).toEqual([{ two: 2 }]);
    await pool.end();
    await busy.end().catch(() => undefined);
  }, 60_000);

  it('gets whole rows before it, from a COPY that fills its connection', async () => {
    const psql = spawn(
      'psql',
      ['-X', stage.conninfo(), '-c', "copy (select i, repeat('x', 300) from generate_series(1, 20000000) i) to stdout"],
      {
        env: { ...process.env, PGPASSWORD: stage.server.password, HOME: stage.dir },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    let [rows, broken, rest, stderr] = [0, 0, '', ''];
    psql.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    psql.stdout.setEncoding('latin1').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      rows += lines.length;
      broken += lines.filter((line) => !/^\d+\tx{300}$/.test(line)).length;
    });
    await until('rows come', () => rows > 10_000);
    stage.fixture.feed.change([route(['192.0.2.0/24'])]);
    const [code] = (await once(psql, 'close')) as [number];
    stage.fixture.feed.change([route()]);
    expect({ code, broken, rest }).toEqual({ code: 2, broken: 0, rest: '' });
    expect(stderr).toContain(`FATAL:  ${NO_MORE}`);
  }, 60_000);

  it('is shown the reason by psql when its gateway ends', async () => {
    const psql = spawn('psql', ['-X', '-At', stage.conninfo()], {
      env: { ...process.env, PGPASSWORD: stage.server.password, HOME: stage.dir },
    });
    let [stdout, stderr] = ['', ''];
    psql.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    psql.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    psql.stdin.on('error', () => undefined).write('select 42;\n');
    await until('it has an answer', () => stdout.includes('42'));
    await stage.fixture.stop();
    psql.stdin.end('select 43;\n');
    await once(psql, 'close');
    expect(stderr).toContain(`FATAL:  ${RESTARTING}`);
    expect(stderr).toContain('HINT:  Connect again.');
  }, 60_000);
});

describe('a Postgres session that is cut in the middle of a message', () => {
  const ROW = Buffer.from('D\0\0\0\x0d123456789');

  async function open(): Promise<{ fixture: GatewayFixture; client: TLSSocket; pod: Socket }> {
    let pod: Socket | undefined;
    const backend = await startBackend((socket) => {
      pod = socket.resume();
      socket.write(Buffer.concat([ROW, ROW.subarray(0, 8)]));
    });
    backends.push(backend);
    const fixture = await start({
      routes: [runningRoute('mypg.pods.localhost', backend.port, { protocol: 'postgres' })],
    });
    const client = await fixture.connect('mypg.pods.localhost');
    // A StartupMessage for user "a".
    client.write(Buffer.from('\0\0\0\x10\0\x03\0\0user\0a\0\0', 'latin1'));
    await once(client, 'readable');
    if (pod === undefined) throw new Error('no pod');
    return { fixture, client, pod };
  }

  it('gets the rest of the message first', async () => {
    const { fixture, client, pod } = await open();
    const all = readAll(client);
    fixture.feed.change([
      runningRoute('mypg.pods.localhost', 1, { protocol: 'postgres', ipAllowList: ['192.0.2.0/24'] }),
    ]);
    await until(
      'it is let in no more',
      () => fixture.gateway.table.get('mypg.pods.localhost')?.ipAllowList.length === 1,
    );
    pod.write(Buffer.concat([ROW.subarray(8), ROW]));
    const bytes = await all;
    expect(bytes.subarray(0, 2 * ROW.length)).toEqual(Buffer.concat([ROW, ROW]));
    const words = bytes.subarray(2 * ROW.length);
    expect(words.toString('latin1', 0, 1)).toBe('E');
    expect(words.readUInt32BE(1) + 1).toBe(words.length);
    client.destroy();
  });

  it('is closed without a notice if the rest does not arrive', async () => {
    const { fixture, client } = await open();
    const all = readAll(client);
    fixture.feed.change([], ['mypg.pods.localhost']);
    await fixture.stop();
    expect(await all).toEqual(Buffer.concat([ROW, ROW.subarray(0, 8)]));
  });
});

describe('a WebSocket that is cut', () => {
  /** What each WebSocket says to the pod behind its head. */
  const heard: Buffer[] = [];

  async function startPod(): Promise<number> {
    heard.length = 0;
    const pod = createServer();
    servers.push(pod);
    pod.on('upgrade', ({ headers }: IncomingMessage, socket: Socket) => {
      const key = `${headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
      const accept = createHash('sha1').update(key).digest('base64');
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
      socket.write(Buffer.concat([Buffer.from([0x81, 5]), Buffer.from('hello')]));
      socket.on('error', () => undefined);
      void readAll(socket).then((bytes) => {
        heard.push(bytes);
        socket.end();
      });
    });
    await once(pod.listen(0, '127.0.0.1'), 'listening');
    return (pod.address() as AddressInfo).port;
  }

  /** 1001, masked. */
  function expectGoingAway(bytes: Buffer): void {
    expect([bytes[0], (bytes[1] ?? 0) & 0x80]).toEqual([0x88, 0x80]);
    const mask = bytes.subarray(2, 6);
    const payload = Buffer.from(bytes.subarray(6).map((byte, index) => byte ^ (mask[index % 4] ?? 0)));
    expect([payload.readUInt16BE(0), payload.toString('utf8', 2)]).toEqual([1001, RESTARTING]);
  }

  it('gets 1001, which the package ws passes to its program, and so does the pod', async () => {
    const port = await startPod();
    const fixture = await start({ routes: [runningRoute(WEB, port, { protocol: 'http' })] });
    const script = `
      const WebSocket = require('ws');
      const lookup = (_host, options, found) => found(null, options.all ? [{ address: '127.0.0.1', family: 4 }] : '127.0.0.1', 4);
      const socket = new WebSocket('wss://${WEB}:${fixture.httpsPort}/', { lookup });
      socket.on('message', (data) => console.log(String(data)));
      socket.on('close', (code, reason) => console.log(JSON.stringify({ code, reason: String(reason) })));
      socket.on('error', ({ message }) => console.log('error', message));`;
    const child = spawn(process.execPath, ['-e', script], {
      env: { ...process.env, NODE_EXTRA_CA_CERTS: caPath },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
    const ended = once(child, 'close');
    await until('it has a message', () => said !== '');
    expect(said).toBe('hello\n');
    await fixture.stop();
    await ended;
    expect(JSON.parse(said.split('\n')[1] ?? '')).toEqual({ code: 1001, reason: RESTARTING });
    await until('the pod has it, too', () => heard.length === 1);
    expectGoingAway(heard[0] ?? Buffer.alloc(0));
  }, 60_000);

  it('gets it over HTTP/2 as well, after GOAWAY', async () => {
    const port = await startPod();
    const fixture = await start({ routes: [runningRoute(WEB, port, { protocol: 'http' })] });
    const socket = await fixture.connect(WEB, { ALPNProtocols: ['h2'] });
    const session = http2.connect(`https://${WEB}`, { createConnection: () => socket });
    session.on('error', () => undefined);
    await once(session, 'remoteSettings');
    const stream = session.request(
      { ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': '/', ':authority': WEB },
      { endStream: false },
    );
    stream.on('error', () => undefined);
    const [greeting] = (await once(stream, 'data')) as [Buffer];
    expect(greeting.toString('latin1')).toContain('hello');
    const goaway = once(session, 'goaway');
    const frames = readAll(stream);
    const stopped = fixture.stop();
    expect((await goaway)[0]).toBe(http2.constants.NGHTTP2_NO_ERROR);
    const frame = await frames;
    expect([frame[0], frame.readUInt16BE(2), frame.toString('utf8', 4)]).toEqual([0x88, 1001, RESTARTING]);
    stream.end();
    await stopped;
    await until('the pod has it, too', () => heard.length === 1);
    expectGoingAway(heard[0] ?? Buffer.alloc(0));
    session.destroy();
  }, 60_000);
});

describe('a request that is cut before its response', () => {
  it('gets a response with the reason and Connection: close', async () => {
    const pod = createServer(() => undefined);
    servers.push(pod);
    await once(pod.listen(0, '127.0.0.1'), 'listening');
    const { port } = pod.address() as AddressInfo;
    const fixture = await start({ routes: [runningRoute(WEB, port, { protocol: 'http' })] });
    const client = await fixture.connect(WEB, { ALPNProtocols: ['http/1.1'] });
    client.write(`GET / HTTP/1.1\r\nHost: ${WEB}\r\nAccept: application/json\r\n\r\n`);
    const received = once(pod, 'request');
    await received;
    const answer = readAll(client);
    await fixture.stop();
    const text = (await answer).toString();
    expect(text).toMatch(/^HTTP\/1\.1 502 /);
    expect(text).toMatch(/\r\nConnection: close\r\n/i);
    expect(text).toContain(RESTARTING);
  });
});
