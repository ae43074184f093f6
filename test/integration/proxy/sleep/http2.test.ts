import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { type ClientHttp2Session, type ClientHttp2Stream, constants } from 'node:http2';
import type { Socket } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import { HttpGateway, POD_HOST, startBackend } from '../http/http-gateway.ts';

const SLEEP = { holdMs: 20_000, probePaths: [] };
const asIs = { to: (value: Buffer): Buffer => value, from: (bytes: Buffer): Buffer => bytes };
const SERVICE = {
  echo: {
    ...{ path: '/test.Echo/Echo', requestStream: false, responseStream: false },
    ...{ requestSerialize: asIs.to, requestDeserialize: asIs.from },
    ...{ responseSerialize: asIs.to, responseDeserialize: asIs.from },
  },
} as const;
const EchoClient = grpc.makeGenericClientConstructor(SERVICE, 'test.Echo');

let gateway: HttpGateway;
beforeEach(async () => {
  gateway = await HttpGateway.start();
});
afterEach(() => gateway.close());

const untilHeld = (count: number): Promise<unknown> => until(`${count} wait`, () => gateway.counters.heldNow === count);

describe('a gRPC call to a pod that sleeps', () => {
  let server: grpc.Server;
  let port: number;
  let client: grpc.Client;
  let called: string[] = [];
  beforeAll(async () => {
    server = new grpc.Server();
    server.addService(SERVICE, {
      echo: ({ request }: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
        called.push(String(request));
        done(null, Buffer.from(`echo ${String(request)}`));
      },
    });
    port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
  });
  afterAll(() => server.forceShutdown());
  beforeEach(() => {
    called = [];
    client = new EchoClient(
      `127.0.0.1:${gateway.port}`,
      grpc.credentials.createSsl(Buffer.from(gateway.authority.ca)),
      { 'grpc.ssl_target_name_override': POD_HOST, 'grpc.default_authority': POD_HOST },
    );
  });
  afterEach(() => client.close());

  const sleeps = (holdMs = SLEEP.holdMs): void =>
    gateway.route(null, { status: 'ASLEEP', backendProtocol: 'h2c', sleep: { ...SLEEP, holdMs } });
  const call = (deadlineMs: number): Promise<string | grpc.ServiceError> =>
    new Promise((resolve) => {
      const options = { deadline: Date.now() + deadlineMs };
      const { path } = SERVICE.echo;
      client.makeUnaryRequest(path, asIs.to, asIs.from, Buffer.from('hello'), options, (error, value) =>
        resolve(error ?? String(value)),
      );
    });

  it('waits within its deadline, and gets the answer of the pod', async () => {
    sleeps();
    const answer = call(30_000);
    await untilHeld(1);
    expect(gateway.wakes).toEqual([POD_HOST]);
    gateway.route(port, { backendProtocol: 'h2c', sleep: SLEEP });
    expect(await answer).toBe('echo hello');
  });

  it('waits no longer than its deadline', async () => {
    sleeps();
    const answer = call(3_000);
    await untilHeld(1);
    expect(await answer).toMatchObject({ code: grpc.status.DEADLINE_EXCEEDED });
    await untilHeld(0);
    expect(gateway.counters.holds).toMatchObject({ left: 1 });
  });

  it('is never sent to the pod when it is cancelled while it waits; the others on its connection go on', async () => {
    sleeps();
    const { path } = SERVICE.echo;
    const cancelled = new Promise<grpc.ServiceError | null>((resolve) => {
      const waiting = client.makeUnaryRequest(path, asIs.to, asIs.from, Buffer.from('cancelled'), (error) =>
        resolve(error),
      );
      void untilHeld(2).then(() => waiting.cancel());
    });
    const answer = call(30_000);
    expect(await cancelled).toMatchObject({ code: grpc.status.CANCELLED });
    await untilHeld(1);
    gateway.route(port, { backendProtocol: 'h2c', sleep: SLEEP });
    expect(await answer).toBe('echo hello');
    expect(called).toEqual(['hello']);
    expect(gateway.counters.holds).toMatchObject({ left: 1, woken: 1 });
  });

  it('is told that the pod is waking when it may not wait any longer', async () => {
    sleeps(300);
    const answer = await call(30_000);
    expect(answer).toMatchObject({ code: grpc.status.UNAVAILABLE });
    expect((answer as grpc.ServiceError).details).toContain('Pod hello is waking up.');
  });
});

describe('a WebSocket over HTTP/2 to a pod that sleeps', () => {
  const open = (session: ClientHttp2Session): ClientHttp2Stream =>
    session.request(
      {
        ...{ ':method': 'CONNECT', ':protocol': 'websocket', ':scheme': 'https', ':path': '/chat' },
        ...{ ':authority': POD_HOST, 'sec-websocket-version': '13' },
      },
      { endStream: false },
    );

  it('is refused when it may not wait any longer, and is given up when its client leaves', async () => {
    gateway.route(null, { status: 'ASLEEP', sleep: { ...SLEEP, holdMs: 300 } });
    const session = await gateway.connectHttp2();
    await once(session, 'remoteSettings');
    const [headers] = (await once(open(session), 'response')) as [Record<string, unknown>];
    expect(headers).toMatchObject({ ':status': 503, 'retry-after': '2' });
    gateway.route(null, { status: 'ASLEEP', sleep: SLEEP });
    const leaving = open(session);
    await untilHeld(1);
    leaving.close(constants.NGHTTP2_CANCEL);
    await untilHeld(0);
    expect(gateway.counters.holds).toMatchObject({ timeout: 1, left: 1 });
    session.destroy();
  });

  it('waits, and is opened once the pod is there', async () => {
    const pod = await startBackend((_request, response) => response.end());
    pod.server.on('upgrade', ({ headers }: IncomingMessage, socket: Socket) => {
      const key = `${headers['sec-websocket-key'] ?? ''}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
      const accept = createHash('sha1').update(key).digest('base64');
      socket.on('error', () => undefined);
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
      socket.pipe(socket);
    });
    gateway.route(null, { status: 'ASLEEP', sleep: SLEEP });
    const session = await gateway.connectHttp2();
    await once(session, 'remoteSettings');
    const stream = open(session);
    const responded = once(stream, 'response') as Promise<[Record<string, unknown>]>;
    await untilHeld(1);
    gateway.route(pod.port, { sleep: SLEEP });
    expect((await responded)[0]).toMatchObject({ ':status': 200 });
    // A masked frame with the text "hi".
    const frame = Buffer.from('818200000000', 'hex');
    stream.write(Buffer.concat([frame, Buffer.from('hi')]));
    const [echoed] = (await once(stream, 'data')) as [Buffer];
    expect(echoed.subarray(-2).toString()).toBe('hi');
    expect(gateway.counters.holds).toMatchObject({ woken: 1 });
    session.destroy();
    await pod.close();
  });
});
