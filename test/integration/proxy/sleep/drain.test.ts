import http2 from 'node:http2';
import { describe, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import type { GatewayFixture } from '../support/gateway-fixture.ts';
import { createStage } from '../support/stage.ts';
import { readAll } from '../support/streams.ts';
import { asleep, awake } from './sleepers.ts';

const HOST = 'sleeper.pods.localhost';
const RESTARTING = 'This connection was closed because the gateway is restarting or shutting down.';
/** Version 3.0, user poduser. */
const STARTUP = Buffer.from('\0\0\0\x16\0\x03\0\0user\0poduser\0\0', 'latin1');
const stage = createStage();

const startSleeper = (changes: Parameters<typeof asleep>[1], drainMs = 0): Promise<GatewayFixture> =>
  stage.start({ routes: [asleep(HOST, changes)], drainMs });
const untilHeld = (fixture: GatewayFixture, count = 1): Promise<unknown> =>
  until('they wait', () => fixture.gateway.counters.heldNow === count);

describe('clients that wait for their pod when their gateway ends', () => {
  it.each(['', 'x'.repeat(300_000)])('over HTTP/1.1 get a Retry-After, also with a body (%#)', async (body) => {
    const fixture = await startSleeper({ protocol: 'http' });
    const client = await fixture.connect(HOST, { ALPNProtocols: ['http/1.1'] });
    const answer = readAll(client);
    client.write(`POST / HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await untilHeld(fixture);
    await fixture.stop();
    const text = (await answer).toString();
    expect(text).toMatch(/^HTTP\/1\.1 503 /);
    expect(text).toMatch(/\r\nRetry-After: 2\r\n/i);
    expect(text).toMatch(/\r\nConnection: close\r\n/i);
    expect(text).toContain(RESTARTING);
    expect(fixture.gateway.counters).toMatchObject({ heldNow: 0, holds: { drained: 1, timeout: 0 } });
  });

  it('over HTTP/2 learn that nothing was processed, and retry automatically', async () => {
    const fixture = await startSleeper({ protocol: 'http' });
    const socket = await fixture.connect(HOST, { ALPNProtocols: ['h2'] });
    const session = http2.connect(`https://${HOST}`, { createConnection: () => socket });
    session.on('error', () => undefined);
    let goaway: readonly number[] | null = null;
    session.once('goaway', (code: number, lastStreamId: number) => (goaway = [code, lastStreamId]));
    const streams = Array.from({ length: 3 }, () => session.request({ ':path': '/' }).on('error', () => undefined));
    await untilHeld(fixture, 3);
    const closed = streams.map((stream) => new Promise((resolve) => stream.once('close', resolve)));
    await fixture.stop();
    await Promise.all(closed);
    expect(streams.map(({ rstCode }) => rstCode)).toEqual(Array(3).fill(http2.constants.NGHTTP2_REFUSED_STREAM));
    expect(goaway).toEqual([http2.constants.NGHTTP2_NO_ERROR, expect.any(Number)]);
    session.destroy();
  });

  it('over Postgres and TCP are refused in their own protocol', async () => {
    const postgres = await startSleeper({ protocol: 'postgres' });
    const client = await postgres.connect(HOST);
    const answer = readAll(client);
    client.write(STARTUP);
    await untilHeld(postgres);
    await postgres.stop();
    expect((await answer).toString()).toMatch(/SFATAL\0.*C57P03\0/);
    const tcp = await startSleeper({});
    const other = await tcp.connect(HOST);
    const page = readAll(other);
    other.write('GET / HTTP/1.1\r\n\r\n');
    await untilHeld(tcp);
    await tcp.stop();
    expect((await page).toString()).toMatch(/^HTTP\/1\.1 503 /);
  });

  it('reach their pod if it is ready before the drain ends', async () => {
    const backend = await stage.echo();
    const fixture = await startSleeper({}, 20_000);
    const client = await fixture.connect(HOST);
    const answer = readAll(client);
    client.end('hello');
    await untilHeld(fixture);
    const stopped = fixture.stop();
    fixture.feed.change([awake(asleep(HOST), backend.port)]);
    expect((await answer).toString()).toBe('hello');
    client.destroy();
    await stopped;
    expect(fixture.gateway.counters.holds).toMatchObject({ woken: 1, drained: 0 });
  });
});
