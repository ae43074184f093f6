import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:tls';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setImmediate as immediate, setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Chance } from '../../sim/scheduler.ts';
import { SEED } from '../../unit/proxy/fuzz.ts';
import { makeCertificate } from './support/certificate.ts';
import { runningRoute, startGateway, type GatewayFixture } from './support/gateway-fixture.ts';
import { startBackend, type Backend } from './support/streams.ts';

const SESSIONS = 8;
/** More than the kernel's buffers hold on the way. */
const BYTES = 24_000_000;
/** Long enough for all of them to fill. */
const STALL_MS = 300;
const PIECE_BYTES = 12_000;
const certificate = makeCertificate(['localhost', '*.pods.localhost']);

let echo: Backend;
let tlsEcho: ReturnType<typeof createServer>;
let fixture: GatewayFixture;

beforeAll(async () => {
  echo = await startBackend((socket) => void echoInPieces(socket));
  const { certificatePem: cert, privateKeyPem: key } = certificate;
  tlsEcho = createServer({ cert, key }, (socket) => socket.on('error', () => undefined).pipe(socket));
  await new Promise<void>((resolve) => tlsEcho.listen(0, '127.0.0.1', resolve));
  const { port } = tlsEcho.address() as AddressInfo;
  fixture = await startGateway({
    certificate,
    routes: [
      runningRoute('echo.pods.localhost', echo.port),
      runningRoute('own.pods.localhost', port, { tls: 'passthrough' }),
    ],
  });
});
afterAll(async () => {
  await fixture.stop();
  await echo.close();
  tlsEcho.close();
});

/** Small enough that several wait in front of a reader that stalls before the gateway stops reading. */
async function echoInPieces(socket: Socket): Promise<void> {
  try {
    for await (const chunk of socket) {
      const bytes = chunk as Buffer;
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        const isTaken = socket.write(bytes.subarray(at, at + PIECE_BYTES));
        await (isTaken ? immediate() : once(socket, 'drain'));
      }
    }
    socket.end();
  } catch {
    socket.destroy();
  }
}

/** Sends in pieces of any size and reads in fits and starts; answers digests of what was sent and what came back. */
async function session(client: Duplex, chance: Chance): Promise<readonly [string, string]> {
  const [sent, received] = [createHash('sha256'), createHash('sha256')];
  let left = BYTES;
  const send = async (): Promise<void> => {
    while (left > 0) {
      const piece = randomBytes(Math.min(left, 1 + chance.below(chance.below(3) === 0 ? 400_000 : 30_000)));
      left -= piece.length;
      sent.update(piece);
      if (!client.write(piece)) await new Promise((resolve) => client.once('drain', resolve));
    }
    client.end();
  };
  const receive = async (): Promise<void> => {
    let untilStall = 0;
    for await (const chunk of client) {
      received.update(chunk as Buffer);
      untilStall -= (chunk as Buffer).length;
      if (untilStall > 0) continue;
      await delay(STALL_MS);
      untilStall = BYTES / 4 + chance.below(BYTES / 4);
    }
  };
  await Promise.all([send(), receive()]);
  return [sent.digest('hex'), received.digest('hex')];
}

it.each(['echo.pods.localhost', 'own.pods.localhost'])(
  `concurrent sessions with readers that stall keep all bytes in order: %s (seed ${SEED})`,
  async (host) => {
    const chance = new Chance(SEED);
    const clients = await Promise.all(Array.from({ length: SESSIONS }, () => fixture.connect(host)));
    const digests = await Promise.all(clients.map((client) => session(client, new Chance(chance.below(1e9)))));
    for (const [sent, received] of digests) expect(received).toBe(sent);
  },
  120_000,
);
