import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { endWith } from '../../../proxy/bytes/end-with.ts';
import { startBackend } from './support/streams.ts';

/** More than the kernel takes from one side before the other reads. */
const BYTES = 32 * 1024 * 1024;
/** Longer than a client is given that has got everything. */
const PAUSE_MS = 5_000;

it('a slow client gets everything written before the end, and a client that has it all is not kept waiting', async () => {
  const ended: { socket: Socket; atMs: number }[] = [];
  const server = await startBackend((socket) => {
    socket.write(Buffer.alloc(BYTES, 1));
    endWith(socket, Buffer.from('the end'));
    socket.once('close', () => ended.push({ socket, atMs: performance.now() }));
  });
  try {
    const client = connect({ host: '127.0.0.1', port: server.port, allowHalfOpen: true }).pause();
    await once(client, 'connect');
    await delay(PAUSE_MS);
    expect(ended).toEqual([]);
    let received = 0;
    client.on('data', (chunk: Buffer) => (received += chunk.length)).resume();
    const readMs = performance.now();
    // It never closes its side.
    await once(client, 'end');
    expect(received).toBe(BYTES + 'the end'.length);
    await expect.poll(() => ended.length, { timeout: 10_000 }).toBe(1);
    expect((ended[0]?.atMs ?? 0) - readMs).toBeLessThan(8_000);
    client.destroy();
  } finally {
    await server.close();
  }
}, 40_000);
