import { once } from 'node:events';
import http2 from 'node:http2';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../../support/until.ts';
import { type GatewayFixture, runningRoute } from './support/gateway-fixture.ts';
import { type HastyPod, runHastyClients, startHastyPod } from './support/hasty-pods.ts';
import { createStage } from './support/stage.ts';
import { readAll, startBackend } from './support/streams.ts';

/** A lost answer is a matter of microseconds: without the fix some of so many are lost in every run. */
const TRIES = 60;
const HOST = 'hasty.pods.localhost';

const stage = createStage();
const pods: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const pod of pods.splice(0)) await pod.close();
});

async function startWith(pod: HastyPod, protocol: 'http' | 'tcp' | 'postgres'): Promise<GatewayFixture> {
  const started = await startHastyPod(pod);
  pods.push(started);
  return stage.start({ routes: [runningRoute(HOST, started.port, { protocol })] });
}

/** Sends the first, then all the rest at once, whatever comes meanwhile. Answers everything that came until the end. */
async function converse(client: TLSSocket, pieces: readonly (string | Buffer)[]): Promise<string> {
  const answer = readAll(client);
  for (const [index, piece] of pieces.entries()) {
    client.write(piece);
    // Several reads of the gateway's turn: the pod closes between them.
    if (index === 0) await new Promise(setImmediate);
  }
  const text = (await answer).toString('latin1');
  client.destroy();
  return text;
}

async function tally(fixture: GatewayFixture, pieces: readonly (string | Buffer)[], kind: (text: string) => string) {
  const counted: Record<string, number> = {};
  for (let tries = 0; tries < TRIES; tries++) {
    const heard = kind(await converse(await fixture.connect(HOST), pieces));
    counted[heard] = (counted[heard] ?? 0) + 1;
  }
  await until('every place is given back', () => fixture.gateway.activeConnections() === 0);
  return counted;
}

const statusOf = (text: string): string => /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 'nothing';
const CHUNKED = `POST / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n`;
const PIECE_BYTES = 50_000;
const PIECES = 24;
const SIZED = `POST / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: close\r\nContent-Length: ${PIECE_BYTES * PIECES}\r\n\r\n`;
const refusal = (status: string, fields = ''): string =>
  `HTTP/1.1 ${status}\r\n${fields}Content-Length: 3\r\nConnection: close\r\n\r\nno\n`;
const PIECE = 'x'.repeat(PIECE_BYTES);
const CHUNK = `${PIECE_BYTES.toString(16)}\r\n${PIECE}\r\n`;
const repeated = (piece: string, times: number): string[] => Array.from({ length: times }, () => piece);

describe('a pod that responds and closes while the client is still sending is heard', () => {
  it.each([
    ['a chunked body', { says: refusal('401 Unauthorized'), when: 'first-bytes' }, [CHUNKED, ...repeated(CHUNK, PIECES), '0\r\n\r\n']],
    ['a body of a known length', { says: refusal('413 Content Too Large'), when: 'first-bytes' }, [SIZED, ...repeated(PIECE, PIECES)]],
    ['a body that it leaves unread', { says: refusal('413 Content Too Large'), when: 'first-bytes', isDeaf: true }, [SIZED, ...repeated(PIECE, PIECES)]],
    ['an interim answer before', { says: `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${refusal('401 Unauthorized')}`, when: 'first-bytes' }, [SIZED, ...repeated(PIECE, PIECES)]],
  ] as const)('in HTTP, with %s', async (_name, pod, pieces) => {
    const fixture = await startWith(pod, 'http');
    const counted = await tally(fixture, pieces, (text) => (text.endsWith('no\n') ? 'whole' : statusOf(text)));
    expect(counted).toEqual({ whole: TRIES });
  }, 60_000); // prettier-ignore

  it('in a WebSocket: its close frame arrives', async () => {
    const close = Buffer.from([0x88, 2, 0x03, 0xf1]).toString('latin1');
    const accept = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
    const fixture = await startWith({ says: accept + close, when: 'first-bytes' }, 'http');
    const upgrade = `GET / HTTP/1.1\r\nHost: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
    const counted = await tally(fixture, [upgrade, ...repeated(PIECE, PIECES)], (text) =>
      text.endsWith(close) ? '1009' : 'nothing',
    );
    expect(counted).toEqual({ 1009: TRIES });
  }, 60_000);

  it('in a WebSocket over HTTP/2, too', async () => {
    const close = Buffer.from([0x88, 2, 0x03, 0xf1]).toString('latin1');
    // The key is the gateway's own: the pod has to compute its answer.
    const fixture = await startWith({ says: close, when: 'first-bytes', isWebSocket: true }, 'http');
    let whole = 0;
    for (let tries = 0; tries < TRIES; tries++) {
      const socket = await fixture.connect(HOST, { ALPNProtocols: ['h2'] });
      const session = http2.connect(`https://${HOST}`, { createConnection: () => socket });
      await once(session, 'remoteSettings');
      const path = {
        ':method': 'CONNECT',
        ':protocol': 'websocket',
        ':scheme': 'https',
        ':path': '/',
        ':authority': HOST,
      };
      const stream = session.request(path, { endStream: false });
      stream.on('error', () => undefined);
      const frames = readAll(stream);
      await once(stream, 'response');
      for (const piece of repeated(PIECE, PIECES)) stream.write(piece);
      if ((await frames).toString('latin1') === close) whole++;
      session.destroy();
    }
    expect(whole).toBe(TRIES);
  }, 60_000);

  it.each([
    ['that reads', false],
    ['that reads nothing', true],
  ])(
    'in a TCP session: the last message of a server %s arrives',
    async (_name, isDeaf) => {
      const fixture = await startWith(
        { says: '-ERR max number of clients reached\r\n', when: 'greeting', isDeaf },
        'tcp',
      );
      const counted = await tally(fixture, repeated('PING\r\n', 16), (text) => text);
      expect(counted).toEqual({ '-ERR max number of clients reached\r\n': TRIES });
    },
    60_000,
  );

  it('in a Postgres session: its FATAL arrives', async () => {
    const fatal = 'E\0\0\0\x1aSFATAL\0C53300\0Mfull\0\0';
    const fixture = await startWith({ says: fatal, when: 'greeting' }, 'postgres');
    const startup = Buffer.from('\0\0\0\x13\0\x03\0\0user\0alice\0\0', 'latin1');
    startup.writeUInt32BE(startup.length, 0);
    const counted = await tally(fixture, [startup, ...repeated('Q\0\0\0\x0dselect 1\0', 12)], (text) => text);
    expect(counted).toEqual({ [fatal]: TRIES });
  }, 60_000);
});

it('an API response that rejects an upload and closes arrives, too', async () => {
  const fixture = await stage.start({ routes: [] });
  const path = join(dirname(fixture.feed.path), 'api.sock');
  pods.push(await startHastyPod({ says: refusal('413 Content Too Large'), when: 'first-bytes', isDeaf: true, path }));
  const upload = SIZED.replace(HOST, 'localhost');
  for (let tries = 0; tries < TRIES; tries++) {
    const text = await converse(await fixture.connect('localhost'), [upload, ...repeated(PIECE, PIECES)]);
    expect(statusOf(text)).toBe('413');
  }
}, 60_000);

it('a pod that is sending to a client that closes gets the client’s last message', async () => {
  const received: Promise<Buffer>[] = [];
  const flood = Buffer.alloc(65_536, 'flood');
  const pod = await startBackend((socket) => {
    received.push(readAll(socket));
    const fill = (): void => {
      while (!socket.destroyed && socket.write(flood));
    };
    socket.on('drain', fill);
    fill();
  });
  stage.backends.push(pod);
  const fixture = await stage.start({ routes: [runningRoute(HOST, pod.port)] });
  await runHastyClients({
    port: fixture.httpsPort,
    ca: fixture.certificate.certificatePem,
    servername: HOST,
    words: 'COMMIT',
    times: TRIES,
  });
  const heard = await Promise.all(received);
  expect(heard.map(String).filter((text) => !text.endsWith('COMMIT4'))).toEqual([]);
  expect(heard).toHaveLength(TRIES);
  await until('every place is given back', () => fixture.gateway.activeConnections() === 0);
}, 60_000);

it('a refusal by the gateway reaches a client that reads only after sending everything, for three seconds', async () => {
  const fixture = await stage.start({ routes: [] });
  const client = await fixture.connect('nobody.pods.localhost');
  client.pause();
  const ended = performance.now() + 3_000;
  client.write(`POST / HTTP/1.1\r\nHost: nobody.pods.localhost\r\nContent-Length: 100000000\r\n\r\n`);
  while (performance.now() < ended) {
    client.write(PIECE.slice(0, 1_000));
    await delay(20);
  }
  expect(client.destroyed).toBe(false);
  const answer = readAll(client);
  client.resume();
  expect(statusOf(String(await answer))).toBe('404');
  client.destroy();
}, 20_000);
