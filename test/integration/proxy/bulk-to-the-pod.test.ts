import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { FULL_RECORD_BYTES, readIntoSharedBuffer } from '../../../proxy/bytes/user-buffer.ts';
import { until } from '../../support/until.ts';
import { runningRoute } from './support/gateway-fixture.ts';
import { createStage } from './support/stage.ts';
import { openPlain, startBackend } from './support/streams.ts';

/** Client to pod, in full TLS records: the gateway reads them into one shared buffer and writes several at a time. */
const HOST = 'bulk.pods.localhost';
const RECORDS = 400;
const FLOWS = 10;
const { start, backends } = createStage();

const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** A pod that returns the digest of what it got, once the client has ended its side. */
async function startDigests(pauseMs: number) {
  const backend = await startBackend((socket) => {
    const hash = createHash('sha256');
    socket.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      if (pauseMs === 0) return;
      socket.pause();
      setTimeout(() => socket.resume(), pauseMs);
    });
    socket.once('end', () => socket.end(hash.digest('hex')));
  });
  backends.push(backend);
  return backend;
}

it('this version of Node lets an open socket read into our own buffer', async () => {
  const backend = await startBackend((socket) => socket.end('hello'));
  backends.push(backend);
  const socket = await openPlain(backend.port);
  const taken: string[] = [];
  expect(readIntoSharedBuffer(socket, (bytes) => taken.push(bytes.toString()) > 0)).toBe(true);
  await once(socket.resume(), 'end');
  expect(taken).toEqual(['hello']);
  socket.destroy();
  expect(readIntoSharedBuffer(new Socket(), () => true)).toBe(false);
});

it.each([
  ['whole records alone, and the end right behind them', 0],
  ['a last record that is shorter', 1_000],
])(
  'a transfer loses nothing: %s',
  async (_, more) => {
    const { port } = await startDigests(0);
    const fixture = await start({ routes: [runningRoute(HOST, port)] });
    for (let round = 0; round < 5; round++) {
      const client = await fixture.connect(HOST);
      const bytes = randomBytes(RECORDS * FULL_RECORD_BYTES + more);
      client.end(bytes);
      const [received] = (await once(client, 'data')) as [Buffer];
      expect(received.toString()).toBe(digest(bytes));
      client.destroy();
    }
  },
  60_000,
);

it('concurrent transfers do not mix, to slow or fast pods', async () => {
  const [fast, slow] = await Promise.all([startDigests(0), startDigests(2)]);
  const hosts = ['fast.pods.localhost', 'slow.pods.localhost'] as const;
  const fixture = await start({ routes: [runningRoute(hosts[0], fast.port), runningRoute(hosts[1], slow.port)] });
  await Promise.all(
    Array.from({ length: FLOWS }, async (_, index) => {
      const client = await fixture.connect(hosts[index % 2] ?? '');
      const bytes = randomBytes(RECORDS * FULL_RECORD_BYTES + index);
      client.end(bytes);
      const [received] = (await once(client, 'data')) as [Buffer];
      expect(received.toString(), `flow ${index}`).toBe(digest(bytes));
      client.destroy();
    }),
  );
}, 60_000);

it('a pod that does not read slows its client down', async () => {
  const stalled: Socket[] = [];
  const backend = await startBackend((socket) => stalled.push(socket.pause()));
  backends.push(backend);
  const fixture = await start({ routes: [runningRoute(HOST, backend.port)] });
  const client = await fixture.connect(HOST);
  const before = process.memoryUsage();
  const bytes = Buffer.alloc(128 * 1024 * 1024, 1);
  client.end(bytes);
  await until('the pod is connected to', () => stalled.length > 0);
  let last = -1;
  // Until nothing moves any more: what is left waits in the client.
  while (client.bytesWritten - client.writableLength !== last) {
    last = client.bytesWritten - client.writableLength;
    await delay(300);
  }
  const [socket] = stalled;
  if (socket === undefined) throw new Error('no connection');
  const { arrayBuffers } = process.memoryUsage();
  // The client's own copy is in it.
  expect((arrayBuffers - before.arrayBuffers - bytes.length) / 1024 / 1024).toBeLessThan(16);
  let received = 0;
  socket.on('data', (chunk: Buffer) => (received += chunk.length));
  socket.resume();
  await once(socket, 'end');
  expect(received).toBe(bytes.length);
  client.destroy();
}, 60_000);
