import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PodUse } from '../../../../core/pod-use.ts';
import { until } from '../../../support/until.ts';
import { type GatewayFixture, runningRoute } from '../support/gateway-fixture.ts';
import { type PostgresStage, startPostgresStage } from '../support/postgres-stage.ts';
import { createStage, echoes } from '../support/stage.ts';
import { asleep, awake } from './sleepers.ts';

const HOST = 'napping.pods.localhost';
const sleeping = asleep(HOST, { protocol: 'postgres' });

let asked = 0;

/** What the worker tells the control plane. */
async function useOf({ feed }: GatewayFixture, uid: string): Promise<PodUse | undefined> {
  const id = ++asked;
  feed.send({ kind: 'pod-asked', id, uid });
  const told = await until('the worker tells', () =>
    feed.received.find((message) => message.kind === 'pod-told' && message.id === id),
  );
  return told.kind === 'pod-told' ? told.connections?.use : undefined;
}

describe('the use of a Postgres pod that may sleep', () => {
  let stage: PostgresStage;
  beforeAll(async () => {
    stage = await startPostgresStage((server) => [awake(sleeping, server.port)]);
  }, 60_000);
  afterAll(() => stage.stop());

  it('is reported with its reasons, and not for idle sessions or pings', async () => {
    const { fixture, server, certificate } = stage;
    const idle = { lastUsedMs: null, because: {}, isHeld: false };
    expect(await useOf(fixture, 'uid-napping')).toEqual(idle);
    const client = new pg.Client({
      ...{ host: HOST, port: fixture.httpsPort, user: server.user, password: server.password, database: 'postgres' },
      ssl: { ca: certificate.certificatePem, servername: HOST },
    });
    await client.connect();
    await client.query('select 1');
    await client.query('');
    expect(await useOf(fixture, 'uid-napping')).toEqual({
      ...idle,
      lastUsedMs: expect.any(Number) as number,
      users: [server.user],
    });
    await client.query('begin');
    await client.query('select $1::int + 1', [41]);
    expect(await useOf(fixture, 'uid-napping')).toMatchObject({ because: { transactions: 1 } });
    await client.query('commit');
    await client.query('listen news');
    expect(await useOf(fixture, 'uid-napping')).toMatchObject({ because: { listeners: 1 } });
    const running = client.query('select pg_sleep(2)');
    await until('it runs', async () => (await useOf(fixture, 'uid-napping'))?.because.queries === 1);
    await running;
    await client.end();
    await until('nobody uses it', async () => {
      const use = await useOf(fixture, 'uid-napping');
      return use !== undefined && Object.keys(use.because).length === 0;
    });
  });

  it('is told of for a transaction that is begun on an idle session while the pod goes to sleep, until its end', async () => {
    const { fixture, server, certificate } = stage;
    const connected = async () => {
      const client = new pg.Client({
        ...{ host: HOST, port: fixture.httpsPort, user: server.user, password: server.password, database: 'postgres' },
        ssl: { ca: certificate.certificatePem, servername: HOST },
      });
      await client.connect();
      return client;
    };
    const because = async () => (await useOf(fixture, 'uid-napping'))?.because;
    const [client, failing] = [await connected(), await connected()];
    await client.query('create table kept (word text)');
    expect(await because()).toEqual({});
    // New clients wait from here on; those that are there go on.
    fixture.feed.change([{ ...sleeping, status: 'RUNNING' }]);
    await client.query('begin');
    await failing.query('begin');
    await client.query(`insert into kept values ('kept')`);
    await expect(failing.query('select 1/0')).rejects.toMatchObject({ code: '22012' });
    expect(await useOf(fixture, 'uid-napping')).toMatchObject({ because: { transactions: 2 }, isHeld: true });
    const waiting = connected();
    await until('the next client waits', () => fixture.gateway.counters.heldNow === 1);
    await failing.query('rollback');
    expect(await because()).toEqual({ transactions: 1, waiting: 1 });
    // It stays awake after all.
    fixture.feed.change([awake(sleeping, server.port)]);
    const next = await waiting;
    expect((await next.query('select word from kept')).rows).toEqual([]);
    await client.query('commit');
    expect((await next.query('select word from kept')).rows).toEqual([{ word: 'kept' }]);
    expect(await because()).toEqual({});
    await Promise.all([client, failing, next].map((each) => each.end()));
  });
});

describe('the use of a pod that may sleep', () => {
  const stage = createStage();
  const host = 'sleeper.pods.localhost';

  it('includes waiting clients, and sessions from before it was allowed to sleep', async () => {
    const backend = await stage.echo();
    const restless = runningRoute(host, backend.port);
    const fixture = await stage.start({ routes: [restless] });
    const client = await fixture.connect(host);
    expect(await echoes(client)).toBe(true);
    expect(await useOf(fixture, 'uid-sleeper')).toBeUndefined();
    fixture.feed.change([awake(asleep(host), backend.port)]);
    await until('it may sleep', async () => (await useOf(fixture, 'uid-sleeper'))?.because.traffic === 1);
    client.destroy();
    await until('the session has ended', async () => (await useOf(fixture, 'uid-sleeper'))?.because.traffic !== 1);
    fixture.feed.change([asleep(host)]);
    const next = await fixture.connect(host);
    next.write('x');
    await until('it waits', async () => ((await useOf(fixture, 'uid-sleeper'))?.because.waiting ?? 0) > 0);
    expect(await useOf(fixture, 'uid-sleeper')).toMatchObject({ isHeld: true });
  });
});
