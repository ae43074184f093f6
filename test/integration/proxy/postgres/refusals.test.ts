import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { POD_STATUSES, type PodStatus } from '../../../../core/pod.ts';
import type { Route } from '../../../../core/route.ts';
import { run } from '../../../support/run.ts';
import { makeCertificate } from '../support/certificate.ts';
import { route, runningRoute, startGateway, type GatewayFixture } from '../support/gateway-fixture.ts';
import { startBackend, type Backend } from '../support/streams.ts';

const certificate = makeCertificate(['localhost', '*.pods.localhost']);
let fixture: GatewayFixture;
let silent: Backend;
let dir: string;

const postgres = (name: string, changes: Partial<Route> = {}): Route =>
  route(`${name}.pods.localhost`, { protocol: 'postgres', ...changes });
const hostOf = (status: PodStatus): string => status.toLowerCase().replaceAll('_', '-');

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'podgate-refusals-'));
  writeFileSync(join(dir, 'ca.pem'), certificate.certificatePem);
  // Takes connections and never says a word.
  silent = await startBackend((socket) => socket.on('end', () => socket.end()).resume());
  const gone = await startBackend((socket) => socket.destroy());
  await gone.close();
  fixture = await startGateway({
    certificate,
    limits: { maxConnectionsPerPod: 1 },
    routes: [
      ...POD_STATUSES.filter((status) => status !== 'RUNNING').map((status) => postgres(hostOf(status), { status })),
      postgres('no-backend'),
      runningRoute('gone.pods.localhost', gone.port, { protocol: 'postgres' }),
      runningRoute('full.pods.localhost', silent.port, { protocol: 'postgres' }),
      postgres('fenced', { ipAllowList: ['192.0.2.0/24'], status: 'STOPPED' }),
      runningRoute('web.pods.localhost', silent.port, { protocol: 'http' }),
    ],
  });
});
afterAll(async () => {
  await fixture.stop();
  await silent.close();
  rmSync(dir, { recursive: true });
});

const clientOf = (name: string, options: object = {}): pg.Client =>
  new pg.Client({
    ...{ host: '127.0.0.1', port: fixture.httpsPort, user: 'alice', database: 'alice', password: 'x' },
    ssl: { ca: certificate.certificatePem, servername: `${name}.pods.localhost` },
    ...options,
  });

async function refusalOf(client: pg.Client): Promise<unknown> {
  client.on('error', () => undefined);
  const error: unknown = await client.connect().then(
    () => null,
    (reason: unknown) => reason,
  );
  const { code, severity, message, detail, hint } = error as pg.DatabaseError;
  return { code, severity, message, detail, hint };
}

/** Code, words of the message, words of the hint. */
const TABLE: readonly (readonly [string, string, string, string])[] = [
  ['nobody', '3D000', 'No pod has the host name nobody.pods.localhost.', 'Check the name'],
  ['web', '3D000', 'The pod at web.pods.localhost does not speak the Postgres protocol.', 'Check the name'],
  ['stopped', '57P03', 'Pod stopped is not running: its status is STOPPED.', '/v3/pods/stopped/start'],
  ['error', '57P03', 'Pod error is not running: its status is ERROR.', '/v3/pods/error/logs'],
  ['complete', '57P03', 'Pod complete is not running: its status is COMPLETE.', '/v3/pods/complete/start'],
  ['shutting-down', '57P03', 'its status is SHUTTING_DOWN.', '/v3/pods/shutting-down/start'],
  ['requested', '57P03', 'Pod requested is starting: its status is REQUESTED.', 'Try again'],
  ['spawner-setup', '57P03', 'Pod spawner-setup is starting', 'Try again'],
  ['creating-container', '57P03', 'Pod creating-container is starting', 'Try again'],
  ['no-backend', '57P03', 'Pod no-backend is running but does not answer.', '/v3/pods/no-backend/logs'],
  ['gone', '57P03', 'Pod gone is running but does not answer.', '/v3/pods/gone/logs'],
  ['fenced', '28000', 'Your address may not connect to this pod.', 'ip_allow_list'],
];

describe('a refusal has its SQLSTATE, hint and request id, and pg_isready reports "rejecting":', () => {
  it.each(TABLE)('%s %s %s', async (name, code, message, hint) => {
    expect(await refusalOf(clientOf(name))).toEqual({
      code,
      severity: 'FATAL',
      message: expect.stringContaining(message) as string,
      detail: expect.stringMatching(/^Request id: [\w-]{12}\.$/) as string,
      hint: expect.stringContaining(hint) as string,
    });
    const conninfo =
      `host=${name}.pods.localhost hostaddr=127.0.0.1 port=${fixture.httpsPort} user=alice dbname=alice ` +
      `sslmode=verify-full sslrootcert=${join(dir, 'ca.pem')}`;
    expect(await run('pg_isready', ['-t', '20', '-d', conninfo])).toMatchObject({ code: 1 });
  });

  it('full 53300, for the pod', async () => {
    const first = await fixture.connect('full.pods.localhost');
    first.write(Buffer.from('00000013000300007573657200757365720000', 'hex'));
    const refusal = { code: '53300', severity: 'FATAL', message: 'Too many connections.' };
    await expect
      .poll(() => refusalOf(clientOf('full')), { timeout: 20_000 })
      .toMatchObject({
        ...refusal,
        detail: expect.stringMatching(/^Request id: /) as string,
        hint: expect.stringContaining('Try again') as string,
      });
    first.destroy();
  });

  it('TLS 28000, for clients without TLS', async () => {
    expect(await refusalOf(clientOf('stopped', { ssl: false }))).toMatchObject({
      code: '28000',
      message: 'This port accepts TLS only.',
      detail: expect.stringMatching(/^Request id: /) as string,
      hint: expect.stringContaining('sslmode=require') as string,
    });
  });
});
