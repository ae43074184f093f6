import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type HeldConnections, holdConnections } from '../../support/held-connections.ts';
import type { HoldOptions } from '../../support/hold-connections.ts';
import { until } from '../../support/until.ts';
import { runningRoute, type GatewayFixture } from './support/gateway-fixture.ts';
import { createStage, echoes } from './support/stage.ts';

const { start, echo } = createStage();
const floods: HeldConnections[] = [];
afterEach(async () => {
  for (const flood of floods.splice(0)) await flood.close();
});

const HOST = 'echo.pods.localhost';
const HALF_OPEN = 10_000;

async function flood(port: number, changes: Partial<HoldOptions> = {}): Promise<HeldConnections> {
  const one = await holdConnections({
    ...{ port, count: HALF_OPEN, addresses: 50, atOnce: 200, mode: 'half-open', host: HOST, caFile: null },
    ...changes,
  });
  floods.push(one);
  return one;
}

/** A whole session, from the dial to the last byte; answers how long it took. */
async function goodClient({ connect: open }: GatewayFixture): Promise<number> {
  const fromMs = performance.now();
  const client = await open(HOST);
  expect(await echoes(client)).toBe(true);
  client.destroy();
  return performance.now() - fromMs;
}

describe('10,000 connections that begin a handshake and stop', () => {
  it(
    'do not keep a genuine client out, and are closed when the handshake time is over',
    { timeout: 90_000 },
    async () => {
      const backend = await echo();
      const fixture = await start({
        routes: [runningRoute(HOST, backend.port)],
        // Long enough that all of them are there at a time, also where opening them is slow.
        limits: { handshakeTimeoutMs: 20_000 },
      });
      const { gateway } = fixture;
      const { opened } = await flood(fixture.httpsPort);
      expect(opened).toBe(HALF_OPEN);
      await until('all are accepted', () => gateway.activeConnections() >= HALF_OPEN);
      const times: number[] = [];
      for (let count = 0; count < 20; count++) times.push(await goodClient(fixture));
      expect(gateway.activeConnections()).toBeGreaterThanOrEqual(HALF_OPEN);
      expect(times.toSorted((a, b) => a - b)[10]).toBeLessThan(1_000);
      await until('all are gone', () => gateway.activeConnections() === 0, { timeoutMs: 60_000 });
      expect(gateway.counters.closed.deadline).toBe(HALF_OPEN);
    },
  );

  it('make room for a genuine client when there is no place left, the oldest first', { timeout: 60_000 }, async () => {
    const backend = await echo();
    const fixture = await start({
      routes: [runningRoute(HOST, backend.port)],
      limits: { maxConnections: 1_000, handshakeTimeoutMs: 60_000 },
    });
    const { gateway } = fixture;
    const held = await fixture.connect(HOST);
    expect(await echoes(held)).toBe(true);
    const flooding = await flood(fixture.httpsPort, { count: 3_000 });
    await until('all but so many are gone', async () => (await flooding.ask('held')) <= 1_000);
    for (let count = 0; count < 5; count++) await goodClient(fixture);
    // A session is no attempt: it stays.
    expect(await echoes(held)).toBe(true);
    expect(gateway.counters.closed['pushed-out']).toBeGreaterThanOrEqual(2_000);
    expect(gateway.counters.refused['route.full']).toBe(0);
    held.destroy();
  });

  it('from one address do not affect other addresses, and are limited', { timeout: 60_000 }, async () => {
    const backend = await echo();
    const fixture = await start({
      routes: [runningRoute(HOST, backend.port)],
      limits: { maxConnections: 1_000, maxConnectionsPerAddress: 100, handshakeTimeoutMs: 60_000 },
    });
    await flood(fixture.httpsPort, { count: 2_000, addresses: 1 });
    // 100 have a place, 8 are kept to be told that they have none.
    await until('the rest is gone', () => fixture.gateway.activeConnections() <= 108);
    for (let count = 0; count < 5; count++) await goodClient(fixture);
    expect(fixture.gateway.counters.limited.address).toBe(1_900);
    expect(fixture.gateway.counters.closed['pushed-out']).toBe(0);
  });
});

describe('idle TLS sessions', () => {
  it('stay open, a thousand here, and all still work afterwards', { timeout: 60_000 }, async () => {
    const backend = await echo();
    const fixture = await start({ routes: [runningRoute(HOST, backend.port)], limits: { handshakeTimeoutMs: 30_000 } });
    const dir = mkdtempSync(join(tmpdir(), 'podgate-idle-'));
    const caFile = join(dir, 'ca.pem');
    writeFileSync(caFile, fixture.certificate.certificatePem);
    const held = await flood(fixture.httpsPort, { mode: 'session', count: 1_000, atOnce: 20, caFile });
    rmSync(dir, { recursive: true });
    expect(held.opened).toBe(1_000);
    expect(fixture.gateway.activeConnections()).toBe(1_000);
    expect(await held.ask('echo')).toBe(1_000);
  });
});
