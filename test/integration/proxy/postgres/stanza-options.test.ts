import { chmodSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { preparedPgjdbc } from '../../../../scripts/setup/cache.mjs';
import { parseProxyHeader } from '../../../../proxy/proxy-protocol/parse-proxy-header.ts';
import { createClientAuthority } from '../../../support/client-authority.ts';
import { until } from '../../../support/until.ts';
import { cancelByLibpq } from '../support/cancel-by-libpq.ts';
import { route, runningRoute } from '../support/gateway-fixture.ts';
import { startPostgresStage, type PostgresStage } from '../support/postgres-stage.ts';
import { startHaproxyBefore } from '../support/proxied-servers.ts';
import { startBackend, type Backend } from '../support/streams.ts';

const OWN = 'own.pods.localhost';
const STRICT = 'strict.pods.localhost';
const CANCELLED = 'canceling statement due to user request';
const lab = createClientAuthority('Lab');
const other = createClientAuthority('Other');

let stage: PostgresStage;
let told: Backend;
/** PROXY headers that have come before anything else. */
const headers: Buffer[] = [];

beforeAll(async () => {
  let postgresPort = 0;
  // What stands before a Postgres that is to know its clients: takes the header away, and passes on the rest.
  told = await startBackend((socket) => {
    let seen = Buffer.alloc(0);
    const onData = (bytes: Buffer): void => {
      seen = Buffer.concat([seen, bytes]);
      const header = parseProxyHeader(seen);
      if (header.kind === 'need-more') return;
      socket.off('data', onData);
      if (header.kind === 'reject' || header.value === 'absent') {
        socket.destroy();
        return;
      }
      headers.push(seen.subarray(0, header.value.bytes));
      const server = connect({ host: '127.0.0.1', port: postgresPort, allowHalfOpen: true });
      server.on('error', () => socket.destroy()).on('close', () => socket.destroy());
      server.write(seen.subarray(header.value.bytes));
      socket.pipe(server).pipe(socket);
    };
    socket.on('data', onData);
  });
  stage = await startPostgresStage(({ port }) => {
    postgresPort = port;
    return [
      runningRoute(OWN, port, { protocol: 'postgres', tls: 'passthrough' }),
      runningRoute(STRICT, port, { protocol: 'postgres', clientCa: lab.ca }),
      runningRoute('v1.pods.localhost', told.port, { protocol: 'postgres', sendProxyProtocol: 'v1' }),
      runningRoute('v2.pods.localhost', told.port, { protocol: 'postgres', sendProxyProtocol: 'v2' }),
      runningRoute('fenced.pods.localhost', port, {
        protocol: 'postgres',
        tls: 'passthrough',
        ipAllowList: ['192.0.2.0/24'],
      }),
      route('off.pods.localhost', { protocol: 'postgres', tls: 'passthrough', status: 'STOPPED' }),
    ];
  });
});
afterAll(async () => {
  await stage.stop();
  await told.close();
  lab.remove();
  other.remove();
});

const to = (host: string, more = ''): string => stage.conninfo(`host=${host} ${more}`);
const libpq18 = () => ({ LD_LIBRARY_PATH: stage.server.libraries });
const IS_ENCRYPTED = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()';

describe('tls: passthrough', () => {
  it('is psql’s TLS with the server itself, so channel binding works', async () => {
    for (const more of ['', 'channel_binding=require']) {
      expect(await stage.psql(to(OWN, more), IS_ENCRYPTED)).toEqual({ code: 0, stdout: 't\n', stderr: '' });
      const direct = to(OWN, `${more} sslnegotiation=direct`);
      expect(await stage.psql(direct, IS_ENCRYPTED, libpq18())).toEqual({ code: 0, stdout: 't\n', stderr: '' });
    }
  });

  it('serves npm pg and pgjdbc, which require channel binding here, too', async () => {
    const { user, password } = stage.server;
    const ssl = { ca: stage.certificate.certificatePem, servername: OWN };
    const target = { host: '127.0.0.1', port: stage.fixture.httpsPort, user, password, database: 'postgres' };
    const client = new pg.Client({ ...target, ssl, enableChannelBinding: true });
    await client.connect();
    expect((await client.query(IS_ENCRYPTED)).rows).toEqual([{ ssl: true }]);
    await client.end();
    const query = new URLSearchParams({
      user,
      password,
      sslmode: 'verify-full',
      sslrootcert: stage.caPath,
      channelBinding: 'require',
    });
    const url = `jdbc:postgresql://${OWN}:${stage.fixture.httpsPort}/postgres?${query.toString().replaceAll('+', '%20')}`;
    const program = join(import.meta.dirname, 'jdbc/Connect.java');
    expect(await stage.run('java', ['-cp', preparedPgjdbc(), program, url])).toMatchObject({ stdout: `ok ${user}\n` });
  });

  it('accepts cancels that carry the server name, as libpq 17 and later send', async () => {
    const sql = "select pg_sleep(30), 'passed through'";
    const said = await cancelByLibpq({
      libraries: stage.server.libraries,
      conninfo: to(OWN),
      password: stage.server.password,
      sql,
      way: 'encrypted',
      isRunning: () => stage.isRunning(sql),
    });
    expect(said).toBe(`ERROR:  ${CANCELLED}\n`);
  });

  it.each([
    ['off.pods.localhost', 'Pod off is not running: its status is STOPPED.'],
    ['fenced.pods.localhost', 'Your address may not connect to this pod.'],
  ])('that is impossible because of %s is refused inside the gateway’s TLS', async (host, message) => {
    const { code, stderr } = await stage.psql(to(host), 'select 1');
    expect(stderr).toContain(`FATAL:  ${message}`);
    expect(stderr).toMatch(/DETAIL: +Request id: \S+\.\nHINT: +\S/);
    expect(code).toBe(2);
    expect(await stage.run('pg_isready', ['-d', to(host)])).toMatchObject({ code: 1 });
  });
});

describe('client_ca', () => {
  const withCertificate = (name: string, pair: { readonly cert: string; readonly key: string }): string => {
    const [cert, key] = [join(stage.dir, `${name}.crt`), join(stage.dir, `${name}.key`)];
    writeFileSync(cert, pair.cert);
    writeFileSync(key, pair.key);
    chmodSync(key, 0o600);
    return to(STRICT, `sslcert=${cert} sslkey=${key}`);
  };

  it('admits psql with sslcert and sslkey', async () => {
    const conninfo = withCertificate('alice', lab.issue('/CN=alice'));
    expect(await stage.psql(conninfo, 'select 1')).toEqual({ code: 0, stdout: '1\n', stderr: '' });
    expect(await stage.psql(`${conninfo} sslnegotiation=direct`, 'select 1', libpq18())).toMatchObject({ code: 0 });
    expect(await stage.interruptPsql(conninfo)).toContain(CANCELLED);
  });

  it('tells psql without a certificate, or with one of another CA, what is missing', async () => {
    for (const conninfo of [to(STRICT), withCertificate('mallory', other.issue('/CN=mallory'))]) {
      const { code, stderr } = await stage.psql(conninfo, 'select 1');
      expect(stderr).toMatch(/FATAL: .*certificate.*\nDETAIL: +Request id: \S+\.\nHINT: +\S/);
      expect(code).toBe(2);
    }
  });
});

describe.each(['v1', 'v2'] as const)('proxy_protocol: %s', (version) => {
  it.each([undefined, 'passthrough'] as const)(
    'is accepted by an HAProxy in front of the pod, with tls: %s',
    async (tls) => {
      const haproxy = await startHaproxyBefore(stage.server.port);
      const host = `behind-${version}-${tls ?? 'terminate'}.pods.localhost`;
      const options = { protocol: 'postgres', sendProxyProtocol: version, ...(tls !== undefined && { tls }) } as const;
      stage.fixture.feed.change([runningRoute(host, haproxy.port, options)]);
      await until('the route is there', () => stage.fixture.gateway.table.get(host) !== undefined);
      const encrypted = tls === 'passthrough' ? 't' : 'f';
      expect(await stage.psql(to(host), IS_ENCRYPTED)).toEqual({ code: 0, stdout: `${encrypted}\n`, stderr: '' });
      await haproxy.stop();
    },
  );

  it('comes before the StartupMessage, and before the CancelRequest of its session', async () => {
    headers.length = 0;
    const host = `${version}.pods.localhost`;
    expect(await stage.psql(to(host), 'select 1')).toEqual({ code: 0, stdout: '1\n', stderr: '' });
    expect(await stage.interruptPsql(to(host))).toContain(CANCELLED);
    await until('all have come', () => headers.length === 3);
    for (const header of headers) {
      const parsed = parseProxyHeader(header);
      expect(parsed).toMatchObject({ kind: 'match', value: { source: { kind: 'client', address: '127.0.0.1' } } });
    }
  });
});
