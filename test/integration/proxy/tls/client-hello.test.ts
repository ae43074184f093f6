import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { CLIENT_HELLO_MAX_BYTES } from '../../../../proxy/sniff/client-hello.ts';
import { runningRoute, type GatewayFixture } from '../support/gateway-fixture.ts';
import { certificate, createStage, echoes } from '../support/stage.ts';
import { startBackend } from '../support/streams.ts';

const { start, echo, backends } = createStage();
const HOST = 'echo.pods.localhost';
const RECORD_HEADER_BYTES = 5;

/** Cuts a ClientHello, as its client sent it, into the writes that the gateway sees. */
type Reshape = (hello: Buffer) => readonly Buffer[];

interface Way {
  /** Of the hellos that went this way. */
  readonly lengths: number[];
  /** Shakes hands through the reshaping relay, says a word and hears it. */
  meets(reshape: Reshape, options?: ConnectionOptions): Promise<boolean>;
}

async function openWay({ httpsPort }: GatewayFixture): Promise<Way> {
  const lengths: number[] = [];
  let reshape: Reshape = (hello) => [hello];
  const relay = await startBackend((near) => {
    const far = connect({ host: '127.0.0.1', port: httpsPort, noDelay: true });
    far.on('error', () => near.destroy()).pipe(near);
    void firstFlight(near).then(async (hello) => {
      lengths.push(hello.length);
      for (const piece of reshape(hello)) await writeAlone(far, piece);
      near.pipe(far);
    });
  });
  backends.push(relay);
  return {
    lengths,
    async meets(given, options = {}) {
      reshape = given;
      const client = connectTls({
        host: '127.0.0.1',
        port: relay.port,
        servername: HOST,
        ca: certificate.certificatePem,
        ...options,
      });
      await once(client, 'secureConnect');
      const isHeard = await echoes(client);
      client.destroy();
      return isHeard;
    },
  };
}

/** All records of the ClientHello: nothing follows them before the server has answered. */
async function firstFlight(near: Socket): Promise<Buffer> {
  let bytes = Buffer.alloc(0);
  const isWhole = (): boolean => {
    let [at, gathered] = [0, 0];
    while (bytes.length >= at + RECORD_HEADER_BYTES) {
      const length = bytes.readUInt16BE(at + 3);
      gathered += Math.min(length, bytes.length - at - RECORD_HEADER_BYTES);
      at += RECORD_HEADER_BYTES + length;
    }
    return bytes.length > 9 && gathered >= 4 + bytes.readUIntBE(6, 3);
  };
  await new Promise<void>((resolve) => {
    const onData = (chunk: Buffer): void => {
      bytes = Buffer.concat([bytes, chunk]);
      if (!isWhole()) return;
      near.off('data', onData).pause();
      resolve();
    };
    near.on('data', onData);
  });
  return bytes;
}

/** Which the other side reads before the next is sent, as far as a socket can say so. */
function writeAlone(socket: Socket, piece: Buffer): Promise<void> {
  return new Promise((resolve) => {
    socket.write(piece, () => setImmediate(resolve));
  });
}

/** The same handshake message in records of at most `size` bytes. */
function inRecords(hello: Buffer, size: number): Buffer {
  const records: Buffer[] = [];
  let message = Buffer.alloc(0);
  for (let at = 0; at < hello.length;) {
    const end = at + RECORD_HEADER_BYTES + hello.readUInt16BE(at + 3);
    message = Buffer.concat([message, hello.subarray(at + RECORD_HEADER_BYTES, end)]);
    at = end;
  }
  for (let at = 0; at < message.length; at += size) {
    const fragment = message.subarray(at, at + size);
    records.push(Buffer.from([22, 3, 1, fragment.length >> 8, fragment.length & 255]), fragment);
  }
  return Buffer.concat(records);
}

const SMALL: ConnectionOptions = { maxVersion: 'TLSv1.2', ecdhCurve: 'X25519:P-256' };
/** Nearly 64 KiB: names of protocols that nobody speaks, beside a post-quantum key share. */
const LARGE: ConnectionOptions = {
  ALPNProtocols: [...Array.from({ length: 240 }, (_, index) => String(index).padStart(255, 'x')), 'http/1.1'],
};

describe('a ClientHello', () => {
  it('may be split at any byte', async () => {
    const way = await openWay(await start({ routes: [runningRoute(HOST, (await echo()).port)] }));
    await way.meets((hello) => [hello], SMALL);
    const [length = 0] = way.lengths;
    expect(length).toBeGreaterThan(150);
    for (let at = 1; at < length; at++) {
      expect(await way.meets((hello) => [hello.subarray(0, at), hello.subarray(at)], SMALL), `at ${at}`).toBe(true);
    }
  });

  it('may have a post-quantum key share, and arrive in single bytes', async () => {
    const gateway = await start({ routes: [runningRoute(HOST, (await echo()).port)] });
    const way = await openWay(gateway);
    const options: ConnectionOptions = { minVersion: 'TLSv1.3', ecdhCurve: 'X25519MLKEM768' };
    expect(await way.meets((hello) => Array.from(hello, (byte) => Buffer.from([byte])), options)).toBe(true);
    expect(way.lengths[0]).toBeGreaterThan(1_300);
    const client = await gateway.connect(HOST);
    expect(client.getEphemeralKeyInfo()).toMatchObject({ name: 'X25519MLKEM768' });
    client.destroy();
  });

  it('may have nearly 64 KiB, in pieces of any size and in many records', async () => {
    const way = await openWay(await start({ routes: [runningRoute(HOST, (await echo()).port)] }));
    for (const [size, record] of [
      [65_536, 16_384],
      [1_000, 16_384],
      [1_447, 100],
    ] as const) {
      const reshape: Reshape = (hello) => {
        const bytes = inRecords(hello, record);
        return Array.from({ length: Math.ceil(bytes.length / size) }, (_, piece) =>
          bytes.subarray(piece * size, (piece + 1) * size),
        );
      };
      expect(await way.meets(reshape, LARGE), `pieces of ${size} in records of ${record}`).toBe(true);
    }
    for (const length of way.lengths) {
      expect(length).toBeGreaterThan(62_000);
      expect(length).toBeLessThanOrEqual(CLIENT_HELLO_MAX_BYTES);
    }
  });

  it.each([1, 2, 7, 64])('may be cut into records of %i bytes', async (size) => {
    const way = await openWay(await start({ routes: [runningRoute(HOST, (await echo()).port)] }));
    expect(await way.meets((hello) => [inRecords(hello, size)], SMALL)).toBe(true);
    if (size > 1) expect(await way.meets((hello) => [inRecords(hello, size)])).toBe(true);
  });
});
