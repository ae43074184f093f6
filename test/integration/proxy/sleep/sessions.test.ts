import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { until } from '../../../support/until.ts';
import { type GatewayFixture, route } from '../support/gateway-fixture.ts';
import { BOLT_HELLO, createStage, echoes } from '../support/stage.ts';
import { closed, readAll } from '../support/streams.ts';
import { asleep, awake, wakes } from './sleepers.ts';

const HOST = 'sleeper.pods.localhost';
const stage = createStage();

async function startSleeper(changes: Parameters<typeof asleep>[1] = {}): Promise<GatewayFixture> {
  const lines: string[] = [];
  logged = lines;
  return stage.start({
    routes: [asleep(HOST, changes)],
    accessLog: { write: (line) => void lines.push(line), dropped: 0 },
  });
}

let logged: string[] = [];

describe('a sleeping tcp pod', () => {
  it('is woken by the first byte of a client, which gets its response as if the pod had been running', async () => {
    const backend = await stage.echo();
    const fixture = await startSleeper();
    const client = await fixture.connect(HOST);
    await delay(200);
    expect(wakes(fixture)).toEqual([]);
    const answer = readAll(client);
    client.end('hello');
    await until('the pod is woken', () => wakes(fixture).length === 1);
    expect(fixture.gateway.counters).toMatchObject({ heldNow: 1, wakesAsked: 1 });
    expect(fixture.feed.received).toContainEqual({
      ...{ kind: 'wake', tenant: 'dev', podId: 'sleeper' },
      ...{ uid: 'uid-sleeper', host: HOST },
    });
    fixture.feed.change([awake(asleep(HOST), backend.port)]);
    expect((await answer).toString()).toBe('hello');
    await closed(client);
    await until('the line is written', () => logged.length === 1);
    expect(logged[0]).toMatch(/"end":"finished".*,"woke":true,"heldMs":[0-9.]+\}\n$/);
    expect(fixture.gateway.counters).toMatchObject({ heldNow: 0, holds: { woken: 1 } });
  });

  it('is woken once, however many clients connect', async () => {
    const backend = await stage.echo();
    const fixture = await startSleeper();
    const clients = await Promise.all(Array.from({ length: 40 }, () => fixture.connect(HOST)));
    const beganMs = performance.now();
    const answers = clients.map((client) => echoes(client));
    await until('all of them wait', () => fixture.gateway.counters.heldNow === 40);
    // It is repeated every two seconds.
    expect(wakes(fixture).length).toBeLessThanOrEqual(1 + Math.floor((performance.now() - beganMs) / 2_000));
    fixture.feed.change([awake(asleep(HOST), backend.port)]);
    expect(await Promise.all(answers)).not.toContain(false);
  });

  it('is woken again every two seconds while a client waits, and no longer once none does', async () => {
    const fixture = await startSleeper();
    const client = await fixture.connect(HOST);
    client.write(BOLT_HELLO);
    await until('the wake is repeated', () => wakes(fixture).length === 2);
    client.destroy();
    await until('nobody waits', () => fixture.gateway.counters.heldNow === 0);
    expect(fixture.gateway.counters.holds).toMatchObject({ left: 1 });
    await delay(2_500);
    expect(wakes(fixture)).toHaveLength(2);
  });

  it('keeps clients waiting while it starts, without waking it again', async () => {
    const backend = await stage.echo();
    const fixture = await startSleeper({ status: 'CREATING_CONTAINER' });
    const client = await fixture.connect(HOST);
    const echoed = echoes(client);
    await until('it waits', () => fixture.gateway.counters.heldNow === 1);
    fixture.feed.change([awake(asleep(HOST), backend.port)]);
    expect(await echoed).toBe(true);
    expect(wakes(fixture)).toEqual([]);
  });

  it('holds bytes that arrive while it goes to sleep, and passes them on if it stays awake', async () => {
    const backend = await stage.echo();
    const fixture = await startSleeper({ status: 'RUNNING' });
    const client = await fixture.connect(HOST);
    const echoed = echoes(client);
    await until('it is woken', () => wakes(fixture).length === 1);
    fixture.feed.change([awake(asleep(HOST), backend.port)]);
    expect(await echoed).toBe(true);
  });

  it.each([
    ['STOPPED', route(HOST, { status: 'STOPPED' })],
    ['ERROR', asleep(HOST, { status: 'ERROR' })],
  ])('refuses waiting clients once it is %s', async (status, ended) => {
    const fixture = await startSleeper();
    const client = await fixture.connect(HOST);
    client.write('GET / HTTP/1.1\r\n\r\n');
    await until('it waits', () => fixture.gateway.counters.heldNow === 1);
    fixture.feed.change([ended]);
    expect((await readAll(client)).toString()).toContain(`its status is ${status}`);
    expect(fixture.gateway.counters.holds).toMatchObject({ ended: 1 });
  });

  it('reports at the end of the time that it is still waking up, in the protocol of the client', async () => {
    const fixture = await startSleeper({ sleep: { holdMs: 300, probePaths: [] } });
    const client = await fixture.connect(HOST);
    client.write('GET / HTTP/1.1\r\n\r\n');
    const answer = (await readAll(client)).toString();
    expect(answer).toMatch(/^HTTP\/1\.1 503 /);
    expect(answer).toContain('Pod sleeper is waking up.');
    expect(answer).toMatch(/\r\nRetry-After: 2\r\n/);
    expect(fixture.gateway.counters.holds).toMatchObject({ timeout: 1 });
  });

  it('is not woken by a client that its allow list excludes', async () => {
    const fixture = await startSleeper({ ipAllowList: ['192.0.2.0/24'] });
    const client = await fixture.connect(HOST);
    client.write('GET / HTTP/1.1\r\n\r\n');
    expect((await readAll(client)).toString()).toContain('Your address may not connect');
    expect(wakes(fixture)).toEqual([]);
  });

  it('holds each client once, however often it reconnects meanwhile', async () => {
    const fixture = await startSleeper({ sleep: { holdMs: 1_000, probePaths: [] } });
    const client = await fixture.connect(HOST);
    const beganMs = performance.now();
    client.write('x');
    await until('it waits', () => fixture.gateway.counters.heldNow === 1);
    const sleeping = asleep(HOST, { sleep: { holdMs: 1_000, probePaths: [] } });
    for (let round = 0; round < 4; round++) {
      await delay(150);
      // Nobody listens there: the dial is repeated, and finds that it sleeps again.
      fixture.feed.change([awake(sleeping, 1)]);
      fixture.feed.change([sleeping]);
    }
    await readAll(client);
    expect(performance.now() - beganMs).toBeLessThan(3_500);
    expect(fixture.gateway.counters).toMatchObject({ heldNow: 0 });
  });
});

describe('a pod that terminates TLS itself', () => {
  it('is woken by the ClientHello, which it gets unchanged', async () => {
    const backend = await stage.echo();
    const sleeping = asleep(HOST, { tls: 'passthrough', sleep: { holdMs: 20_000, probePaths: [] } });
    const fixture = await stage.start({ routes: [sleeping] });
    const connecting = fixture.connect(HOST).catch((error: unknown) => error);
    await until('it is woken', () => wakes(fixture).length === 1);
    fixture.feed.change([awake(sleeping, backend.port)]);
    // An echo is no TLS server.
    expect(await connecting).toBeInstanceOf(Error);
    expect(fixture.gateway.counters.holds).toMatchObject({ woken: 1 });
  });
});
