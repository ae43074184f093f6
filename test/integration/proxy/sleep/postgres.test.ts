import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { cancelRequest } from '../../../../proxy/protocols/postgres/cancel/cancel-request.ts';
import { until } from '../../../support/until.ts';
import { type PostgresStage, startPostgresStage } from '../support/postgres-stage.ts';
import { openPlain } from '../support/streams.ts';
import { asleep, awake, wakes } from './sleepers.ts';

const HOST = 'napping.pods.localhost';
const USERS = { holdMs: 30_000, probePaths: [], users: ['poduser'] };
const sleeping = asleep(HOST, { protocol: 'postgres' });

let stage: PostgresStage;
const to = (more = ''): string => stage.conninfo(`host=${HOST} ${more}`);
const wakesOfNow = (): number => wakes(stage.fixture).length;

beforeAll(async () => {
  stage = await startPostgresStage(() => [sleeping]);
}, 60_000);
afterAll(() => stage.stop());
afterEach(async () => {
  stage.fixture.feed.change([sleeping]);
  await until('nobody waits', () => stage.fixture.gateway.counters.heldNow === 0);
  stage.fixture.feed.received.splice(0);
  // Asked for at most once a second.
  await delay(1_100);
});

describe('psql at a sleeping Postgres pod', () => {
  it('waits silently, and runs its query once the pod is ready', async () => {
    const running = stage.psql(to(), 'select 40 + 2');
    await until('it is woken', () => wakesOfNow() > 0);
    stage.fixture.feed.change([awake(sleeping, stage.server.port)]);
    expect(await running).toEqual({ code: 0, stdout: '42\n', stderr: '' });
  });

  it('gets, at the end of its time, the message that the pod is waking up, and what to do', async () => {
    stage.fixture.feed.change([{ ...sleeping, sleep: { holdMs: 400, probePaths: [] } }]);
    const { code, stderr } = await stage.psql(to(), 'select 1');
    expect(code).toBe(2);
    expect(stderr).toContain('FATAL:  Pod napping is waking up.');
    expect(stderr).toContain('HINT:  Try again in a few seconds.');
    expect(wakesOfNow()).toBeGreaterThan(0);
  });

  it.each(['SIGINT', 'SIGKILL'] as const)('ends its wait when it is ended with %s', async (signal) => {
    const { left } = stage.fixture.gateway.counters.holds;
    const child = spawn('psql', ['-X', to(), '-c', 'select 1'], { stdio: 'ignore' });
    const closed = once(child, 'close');
    await until('it waits', () => stage.fixture.gateway.counters.heldNow === 1);
    child.kill(signal);
    await closed;
    await until('its wait has ended', () => stage.fixture.gateway.counters.heldNow === 0);
    expect(stage.fixture.gateway.counters.holds.left).toBe(left + 1);
  });

  it('wakes the pod only as a user that exists there', async () => {
    stage.fixture.feed.change([{ ...sleeping, sleep: USERS }]);
    const { code, stderr } = await stage.psql(to('user=scanner'), 'select 1');
    expect(code).toBe(2);
    expect(stderr).toContain('FATAL:  Pod napping is asleep, and this user does not wake it.');
    expect(stderr).toContain('HINT:  Connect as a user who has logged in to this pod before.');
    expect(wakesOfNow()).toBe(0);
    const running = stage.psql(to(), 'select 1');
    await until('it is woken', () => wakesOfNow() > 0);
    stage.fixture.feed.change([awake({ ...sleeping, sleep: USERS }, stage.server.port)]);
    expect(await running).toMatchObject({ code: 0 });
  });
});

describe('what does not wake a Postgres pod', () => {
  it('pg_isready, which reports "rejecting"', async () => {
    for (const user of ['poduser', 'root']) {
      const { code, stdout } = await stage.run('pg_isready', ['-t', '10', '-d', to(`user=${user}`)]);
      expect(stdout).toContain('rejecting connections');
      expect(code).toBe(1);
    }
    expect(wakesOfNow()).toBe(0);
  });

  it('a connection, an SSLRequest, a TLS handshake, a CancelRequest', async () => {
    const plain = await openPlain(stage.fixture.httpsPort);
    const asking = await openPlain(stage.fixture.httpsPort);
    asking.write(Buffer.from('0000000804d2162f', 'hex'));
    await once(asking, 'data');
    const secure = await stage.fixture.connect(HOST);
    const cancelling = await stage.fixture.connect(HOST);
    cancelling.write(cancelRequest(Buffer.alloc(8, 7)));
    await delay(500);
    expect(wakesOfNow()).toBe(0);
    for (const socket of [plain, asking, secure, cancelling]) socket.destroy();
  });
});
