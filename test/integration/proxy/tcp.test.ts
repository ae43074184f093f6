import { once } from 'node:events';
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../../support/until.ts';
import { makeCertificate } from './support/certificate.ts';
import { runningRoute, startGateway, type GatewayFixture } from './support/gateway-fixture.ts';
import { closed, readAll, startBackend, type Backend } from './support/streams.ts';

const certificate = makeCertificate(['localhost', '*.pods.localhost']);

describe('a tcp stanza', () => {
  let echo: Backend;
  let fixture: GatewayFixture;

  beforeAll(async () => {
    echo = await startBackend((socket) => socket.pipe(socket));
    fixture = await startGateway({ certificate, routes: [runningRoute('echo.pods.localhost', echo.port)] });
  });
  afterAll(async () => {
    await fixture.stop();
    await echo.close();
  });

  it('carries bytes in both directions, and passes on a half-close while the other direction stays open', async () => {
    const client = await fixture.connect('echo.pods.localhost');
    const sent = randomBytes(300_000);
    const answer = readAll(client);
    client.end(sent);
    expect((await answer).equals(sent)).toBe(true);
    await closed(client);
    await until('every place is given back', () => fixture.gateway.activeConnections() === 0);
    expect(fixture.gateway.counters.ended.finished).toBeGreaterThan(0);
  });

  it('supports a server that sends first and ends first, while the client continues', async () => {
    const received: Promise<Buffer>[] = [];
    const backend = await startBackend((socket) => {
      received.push(readAll(socket));
      socket.end('hello');
    });
    fixture.feed.change([runningRoute('first.pods.localhost', backend.port)]);
    await until('the route arrives', () => fixture.gateway.table.get('first.pods.localhost') !== undefined);
    const client = await fixture.connect('first.pods.localhost');
    expect((await readAll(client)).toString()).toBe('hello');
    client.end('late words');
    expect(String(await received[0])).toBe('late words');
    await closed(client);
    await backend.close();
  });

  it('slows the sender down when the reader is slow, with flat memory, and loses nothing', async () => {
    const total = 192 * 1024 * 1024;
    const chunk = randomBytes(1024 * 1024);
    let pulled = 0;
    const backend = await startBackend((socket) => {
      const fill = (): void => {
        while (pulled < total) {
          pulled += chunk.length;
          if (!socket.write(chunk)) {
            socket.once('drain', fill);
            return;
          }
        }
        socket.end();
      };
      fill();
    });
    fixture.feed.change([runningRoute('bulk.pods.localhost', backend.port)]);
    await until('the route arrives', () => fixture.gateway.table.get('bulk.pods.localhost') !== undefined);
    const client = await fixture.connect('bulk.pods.localhost');
    client.pause();
    let stalledAt = -1;
    await until('the sender stalls', () => {
      const isStill = stalledAt === pulled;
      stalledAt = pulled;
      return isStill && pulled > 0;
    });
    await delay(300);
    // Socket buffers of three hops and stream buffers of two: far below what there is to send.
    expect(pulled).toBeLessThan(48 * 1024 * 1024);
    const before = process.memoryUsage().rss;
    let most = 0;
    let received = 0;
    const hash = createHash('sha256');
    client.on('data', (data: Buffer) => {
      received += data.length;
      hash.update(data);
      most = Math.max(most, process.memoryUsage().rss);
    });
    client.resume();
    await once(client, 'end');
    expect(received).toBe(total);
    const expected = createHash('sha256');
    for (let sent = 0; sent < total; sent += chunk.length) expected.update(chunk);
    expect(hash.digest('hex')).toBe(expected.digest('hex'));
    expect(most - before).toBeLessThan(160 * 1024 * 1024);
    client.end();
    await closed(client);
    await backend.close();
  });
});
