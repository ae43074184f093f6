import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PGJDBC_VERSION, preparedPgjdbc } from '../../../../scripts/setup/cache.mjs';
import { route, runningRoute } from '../support/gateway-fixture.ts';
import { HOST, startPostgresStage, type PostgresStage } from '../support/postgres-stage.ts';

/** Debian's, and the current one. */
const DRIVERS = [
  ['of Debian', '/usr/share/java/postgresql.jar'],
  [PGJDBC_VERSION, preparedPgjdbc()],
] as const;
const OPTIONS = `-c%20endpoint%3D${HOST}`;
let stage: PostgresStage;

beforeAll(async () => {
  for (const [, jar] of DRIVERS)
    if (!existsSync(jar)) throw new Error(`${jar}: node scripts/setup.mjs --test fetches it`);
  stage = await startPostgresStage(({ port }) => [
    runningRoute('fenced.pods.localhost', port, { protocol: 'postgres', ipAllowList: ['192.0.2.0/24'] }),
    route('off.pods.localhost', { protocol: 'postgres', status: 'STOPPED' }),
  ]);
});
afterAll(async () => {
  await stage.stop();
});

function url(host: string, port: number, more: Record<string, string> = {}): string {
  const { user, password } = stage.server;
  const tls = { sslmode: 'verify-full', sslrootcert: stage.caPath };
  const parameters = new URLSearchParams({ user, password, ...tls, connectTimeout: '20', ...more });
  return `jdbc:postgresql://${host}:${port}/postgres?${parameters.toString().replaceAll('+', '%20')}`;
}

/** Runs one of the programs beside this file. Java compiles it by itself; Debian's JRE has what it needs for that. */
async function java(jar: string, program: string, args: readonly string[]): Promise<string> {
  const file = fileURLToPath(new URL(`jdbc/${program}.java`, import.meta.url));
  const options = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xmx512m', '-Djava.util.logging.config.file=/none'];
  const { code, stdout, stderr } = await stage.run('java', [...options, '-cp', jar, file, ...args], {
    timeoutMs: 120_000,
  });
  expect(code, stderr).toBe(0);
  return stdout;
}

describe.each(DRIVERS)('pgjdbc %s', (version, jar) => {
  const gatewayUrl = (host = HOST, more: Record<string, string> = {}) => url(host, stage.fixture.httpsPort, more);

  it('does the same through the gateway as directly with the server', { timeout: 180_000 }, async () => {
    const direct = await java(jar, 'Behaviours', [url(HOST, stage.server.port)]);
    const delivered = stage.fixture.gateway.counters.cancels.delivered;
    const throughGateway = await java(jar, 'Behaviours', [gatewayUrl()]);
    expect(throughGateway).toBe(direct);
    expect(direct).not.toContain('FAILED');
    const lines = ['copy: 200000 true', 'large object: true 5000000', 'cancel: 57014 in time', 'query timeout: 57014'];
    for (const line of [...lines, 'notifications: news hello', 'still valid: true']) expect(direct).toContain(line);
    expect(stage.fixture.gateway.counters.cancels.delivered).toBeGreaterThanOrEqual(delivered + 2);
  });

  it('shows why it is refused, and names its pod without a server name', async () => {
    const byAddress = (more: Record<string, string>) => gatewayUrl('127.0.0.1', { sslmode: 'require', ...more });
    const { user } = stage.server;
    const cases: readonly (readonly [string, RegExp])[] = [
      [byAddress({}).concat(`&options=${OPTIONS}`), new RegExp(`^ok ${user}$`)],
      [byAddress({ user: `${HOST}.${user}` }), new RegExp(`^ok ${user}$`)],
      [gatewayUrl(HOST, { sslmode: 'allow' }), new RegExp(`^ok ${user}$`)],
      [gatewayUrl(HOST, { sslmode: 'prefer' }), new RegExp(`^ok ${user}$`)],
      [
        byAddress({}),
        /^3D000 FATAL: No server name was given\. Detail: Request id: \S+\. Hint: .*-c endpoint=<host name>/,
      ],
      [
        gatewayUrl('off.pods.localhost'),
        /^57P03 FATAL: Pod off is not running: its status is STOPPED\. .*Hint: Start it: GET/,
      ],
      [gatewayUrl('nobody.pods.localhost'), /^3D000 FATAL: No pod has the host name nobody\.pods\.localhost\./],
      [gatewayUrl('fenced.pods.localhost'), /^28000 FATAL: Your address may not connect to this pod\./],
      [gatewayUrl(HOST, { sslmode: 'disable' }), /^28000 FATAL: This port accepts TLS only\. .*sslmode=require/],
      [gatewayUrl(HOST, { password: 'wrong' }), /^28P01 FATAL: password authentication failed/],
      // A password proved over a channel that the gateway ends cannot be bound to it.
      ...(version === PGJDBC_VERSION
        ? ([
            [gatewayUrl(HOST, { sslNegotiation: 'direct' }), new RegExp(`^ok ${user}$`)],
            [gatewayUrl(HOST, { channelBinding: 'require' }), /channel binding/i],
          ] as const)
        : []),
    ];
    const lines = (
      await java(
        jar,
        'Connect',
        cases.map(([one]) => one),
      )
    )
      .trimEnd()
      .split('\n');
    expect(lines).toHaveLength(cases.length);
    for (const [index, [one, expected]] of cases.entries()) expect(lines[index], one).toMatch(expected);
  });

  it('tries the next of several hosts when the first pod is stopped', async () => {
    const { httpsPort } = stage.fixture;
    const both = gatewayUrl().replace(HOST, `off.pods.localhost:${httpsPort},${HOST}`);
    expect(await java(jar, 'Connect', [both])).toBe(`ok ${stage.server.user}\n`);
  });
});
