import { readFileSync } from 'node:fs';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HttpGateway, POD_HOST } from '../http/http-gateway.ts';

const asIs = { serialize: (value: Buffer): Buffer => value, deserialize: (bytes: Buffer): Buffer => bytes };
const method = (
  name: string,
  requestStream: boolean,
  responseStream: boolean,
): grpc.MethodDefinition<Buffer, Buffer> => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: asIs.serialize,
  requestDeserialize: asIs.deserialize,
  responseSerialize: asIs.serialize,
  responseDeserialize: asIs.deserialize,
});
const SERVICE = {
  unary: method('Unary', false, false),
  collect: method('Collect', true, false),
  repeat: method('Repeat', false, true),
  both: method('Both', true, true),
} as const;
const EchoClient = grpc.makeGenericClientConstructor(SERVICE, 'test.Echo');

/** Real gRPC on both sides of the gateway. */
describe('gRPC', () => {
  let gateway: HttpGateway;
  let server: grpc.Server;
  let port: number;
  let cancelled = 0;
  const clients: grpc.Client[] = [];

  beforeAll(async () => {
    gateway = await HttpGateway.start({ dialRetryMs: 0 });
    server = new grpc.Server();
    server.addService(SERVICE, {
      unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
        const text = String(call.request);
        if (text === 'never') call.on('cancelled', () => cancelled++);
        else if (text === 'fail') done({ code: grpc.status.ALREADY_EXISTS, details: 'so it is: ü' });
        else {
          const trailer = new grpc.Metadata();
          trailer.set('x-behind', 'seen');
          trailer.set('x-bytes-bin', Buffer.from([0, 255]));
          done(null, Buffer.from(`${text} ${String(call.metadata.get('x-note')[0])}`), trailer);
        }
      },
      collect: (call: grpc.ServerReadableStream<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
        let bytes = 0;
        call
          .on('data', (piece: Buffer) => (bytes += piece.length))
          .on('end', () => done(null, Buffer.from(String(bytes))));
      },
      repeat: (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
        const count = Number(String(call.request));
        let number = 0;
        const more = (): void => {
          while (number < count) {
            if (!call.write(Buffer.from(String(number++).padStart(1_000)))) {
              call.once('drain', more);
              return;
            }
          }
          call.end();
        };
        more();
      },
      both: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
        call
          .on('data', (piece: Buffer) => call.write(Buffer.from(`echo ${String(piece)}`)))
          .on('end', () => call.end());
        call.on('cancelled', () => cancelled++);
      },
    });
    port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    gateway.route(port, { backendProtocol: 'h2c' });
  });
  afterAll(async () => {
    for (const client of clients) client.close();
    server.forceShutdown();
    await gateway.close();
  });

  /** Dials loopback, under the pod's name. */
  function open(host = POD_HOST): grpc.Client & Record<string, (...parameters: unknown[]) => unknown> {
    const credentials = grpc.credentials.createSsl(readFileSync(gateway.caPath));
    const client = new EchoClient(`127.0.0.1:${gateway.port}`, credentials, {
      'grpc.ssl_target_name_override': host,
      'grpc.default_authority': host,
      'grpc.enable_retries': 0,
    });
    clients.push(client);
    return client as unknown as ReturnType<typeof open>;
  }

  interface Outcome {
    readonly error: grpc.ServiceError | null;
    readonly text: string;
    readonly trailers: grpc.Metadata | null;
  }
  function unary(client: ReturnType<typeof open>, text: string, options: grpc.CallOptions = {}): Promise<Outcome> {
    const metadata = new grpc.Metadata();
    metadata.set('x-note', 'noted');
    return new Promise((resolve) => {
      let answer: Omit<Outcome, 'trailers'> | null = null;
      let trailers: grpc.Metadata | null = null;
      const settle = (): void => {
        if (answer !== null && trailers !== null) resolve({ ...answer, trailers });
      };
      const call = client['unary']?.(
        Buffer.from(text),
        metadata,
        options,
        (error: grpc.ServiceError | null, value?: Buffer) => {
          answer = { error, text: String(value ?? '') };
          settle();
        },
      ) as grpc.ClientUnaryCall;
      call.on('status', (status: grpc.StatusObject) => {
        trailers = status.metadata;
        settle();
      });
    });
  }

  it('calls work, with metadata and trailers', async () => {
    const { error, text, trailers } = await unary(open(), 'hello');
    expect([error, text]).toEqual([null, 'hello noted']);
    expect(trailers?.get('x-behind')).toEqual(['seen']);
    expect(trailers?.get('x-bytes-bin')).toEqual([Buffer.from([0, 255])]);
  });

  it('a status from the pod is passed on', async () => {
    const { error } = await unary(open(), 'fail');
    expect([error?.code, error?.details]).toEqual([grpc.status.ALREADY_EXISTS, 'so it is: ü']);
  });

  it('streams up, down, and in both directions at once', async () => {
    const client = open();
    const collected = await new Promise<string>((resolve, reject) => {
      const call = client['collect']?.((error: Error | null, value?: Buffer) =>
        error === null ? resolve(String(value)) : reject(error),
      ) as grpc.ClientWritableStream<Buffer>;
      for (let count = 0; count < 1_000; count++) call.write(Buffer.alloc(10_000));
      call.end();
    });
    expect(collected).toBe('10000000');
    const down = client['repeat']?.(Buffer.from('5000')) as grpc.ClientReadableStream<Buffer>;
    let number = 0;
    for await (const piece of down) expect(Number(String(piece))).toBe(number++);
    expect(number).toBe(5_000);
    const both = client['both']?.() as grpc.ClientDuplexStream<Buffer, Buffer>;
    for (let round = 0; round < 100; round++) {
      both.write(Buffer.from(String(round)));
      const [piece] = await new Promise<[Buffer]>((resolve) => both.once('data', (data: Buffer) => resolve([data])));
      expect(String(piece)).toBe(`echo ${round}`);
    }
    both.end();
    await new Promise((resolve) => both.once('end', resolve));
  });

  it('a deadline, and a cancelled call, also end at the pod', async () => {
    cancelled = 0;
    const client = open();
    const late = await unary(client, 'never', { deadline: Date.now() + 300 });
    expect(late.error?.code).toBe(grpc.status.DEADLINE_EXCEEDED);
    const both = client['both']?.() as grpc.ClientDuplexStream<Buffer, Buffer>;
    both.on('error', () => undefined).write(Buffer.from('x'));
    await new Promise((resolve) => both.once('data', resolve));
    both.cancel();
    await expect.poll(() => cancelled, { timeout: 20_000 }).toBe(2);
    await expect.poll(() => gateway.protocol.activeRequests(), { timeout: 20_000 }).toBe(0);
  });

  it('refusals of the gateway are statuses with their message', async () => {
    gateway.route(null, { host: 'off.pods.localhost', podId: 'off', status: 'STOPPED', uid: 'uid-off' });
    gateway.route(1, { host: 'gone.pods.localhost', podId: 'gone', uid: 'uid-gone', backendProtocol: 'h2c' });
    const off = await unary(open('off.pods.localhost'), 'hello');
    expect(off.error?.code).toBe(grpc.status.UNAVAILABLE);
    expect(off.error?.details).toMatch(/^Pod off is not running: its status is STOPPED\. Start it: /);
    const gone = await unary(open('gone.pods.localhost'), 'hello');
    expect(gone.error?.code).toBe(grpc.status.UNAVAILABLE);
    expect(gone.error?.details).toMatch(/^Pod gone is running but does not answer\./);
    const unknown = await unary(open('nobody.pods.localhost'), 'hello');
    expect(unknown.error?.code).toBe(grpc.status.NOT_FOUND);
    expect(unknown.error?.details).toMatch(/^No pod has the host name nobody\.pods\.localhost\./);
  });

  it('a stream that is cancelled midway does not affect the next call', async () => {
    const client = open();
    const down = client['repeat']?.(Buffer.from('1000000')) as grpc.ClientReadableStream<Buffer>;
    down.on('error', () => undefined);
    await new Promise((resolve) => down.once('data', resolve));
    down.cancel();
    expect((await unary(client, 'again')).text).toBe('again noted');
  });
});
