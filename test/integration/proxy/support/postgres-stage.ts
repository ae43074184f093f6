import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { Certificate } from '../../../../core/certificates.ts';
import type { Route } from '../../../../core/route.ts';
import { run, type RunResult } from '../../../support/run.ts';
import { until } from '../../../support/until.ts';
import { makeCertificate } from './certificate.ts';
import { runningRoute, startGateway, type GatewayFixture } from './gateway-fixture.ts';
import { startPostgres, type PostgresServer } from './postgres-server.ts';

export const HOST = 'mypg.pods.localhost';

/** A real Postgres, a gateway before it, and what clients need to reach either. */
export interface PostgresStage {
  readonly server: PostgresServer;
  readonly fixture: GatewayFixture;
  readonly certificate: Certificate;
  readonly caPath: string;
  /** Of its own; gone at the end. */
  readonly dir: string;
  /** By the gateway, verified in full. */
  readonly conninfo: (more?: string) => string;
  /** The same to the server itself. */
  readonly direct: (more?: string) => string;
  /** Environment and password are set. */
  readonly run: (
    program: string,
    args: readonly string[],
    options?: { readonly input?: string; readonly env?: Record<string, string>; readonly timeoutMs?: number },
  ) => Promise<RunResult>;
  readonly psql: (conninfo: string, sql: string, env?: Record<string, string>) => Promise<RunResult>;
  /** psql, interrupted as by Ctrl-C while its statement runs. Answers what it said. */
  readonly interruptPsql: (conninfo: string, env?: Record<string, string>) => Promise<string>;
  /** Does the server run this very text now? */
  readonly isRunning: (sql: string) => Promise<boolean>;
  readonly stop: () => Promise<void>;
}

export async function startPostgresStage(
  routesOf: (server: PostgresServer) => readonly Route[] = () => [],
): Promise<PostgresStage> {
  const dir = mkdtempSync(join(tmpdir(), 'podgate-psql-'));
  const certificate = makeCertificate(['localhost', '*.pods.localhost']);
  const caPath = join(dir, 'ca.pem');
  writeFileSync(caPath, certificate.certificatePem);
  const server = await startPostgres({ certificate });
  const { user, password } = server;
  // It takes connections before it is done with starting.
  const watcher = new pg.Pool({ host: '127.0.0.1', port: server.port, user, password, database: 'postgres', max: 1 });
  // Suites of drivers end every session they find; the next question opens another.
  watcher.on('error', () => undefined);
  await until('Postgres answers', () => watcher.query('select 1'));
  const fixture = await startGateway({
    certificate,
    routes: [runningRoute(HOST, server.port, { protocol: 'postgres' }), ...routesOf(server)],
  });
  const conninfo = (port: number, more: string): string =>
    `host=${HOST} hostaddr=127.0.0.1 port=${port} user=${user} dbname=postgres connect_timeout=20 ` +
    `sslmode=verify-full sslrootcert=${caPath} ${more}`;
  const clientEnv = { PGPASSWORD: password, HOME: dir, LC_ALL: 'C.UTF-8' };
  let sleeps = 0;
  const stage: PostgresStage = {
    server,
    fixture,
    certificate,
    caPath,
    dir,
    conninfo: (more = '') => conninfo(fixture.httpsPort, more),
    direct: (more = '') => conninfo(server.port, more),
    run: (program, args, { env = {}, ...options } = {}) =>
      run(program, args, { ...options, env: { ...clientEnv, ...env } }),
    psql: (conninfo, sql, env = {}) => stage.run('psql', ['-X', '-At', conninfo, '-c', sql], { env }),
    async interruptPsql(conninfo, env = {}) {
      const sql = `select pg_sleep(30), ${sleeps++}`;
      const child = spawn('psql', ['-X', conninfo, '-c', sql], {
        env: { ...process.env, ...clientEnv, ...env },
        stdio: ['ignore', 'ignore', 'pipe'],
        timeout: 40_000,
      });
      let stderr = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
      const closed = once(child, 'close');
      await until('the statement runs', () => child.exitCode !== null || stage.isRunning(sql));
      child.kill('SIGINT');
      await closed;
      return stderr;
    },
    async isRunning(sql) {
      const text = `select 1 from pg_stat_activity where query = $1 and state = 'active'`;
      return (await watcher.query(text, [sql])).rowCount === 1;
    },
    async stop() {
      await watcher.end();
      await fixture.stop();
      await server.stop();
      rmSync(dir, { recursive: true });
    },
  };
  return stage;
}
