import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../../../support/free-ports.ts';
import { until } from '../../../support/until.ts';
import { openPlain } from './streams.ts';

/** A real server that takes connections with a PROXY header alone, and says whose they are. */
export interface ProxiedServer {
  readonly port: number;
  stop(): Promise<void>;
}

/** Answers requests with the client's address and port. */
export function startNginx(): Promise<ProxiedServer> {
  return startServer('nginx', (port, dir) => [
    `pid ${dir}/pid;`,
    'daemon off;',
    'master_process off;',
    `error_log ${dir}/error.log;`,
    'events {}',
    'http {',
    '  access_log off;',
    ...['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `  ${name}_temp_path ${dir}/${name};`),
    `  server { listen 127.0.0.1:${port} proxy_protocol;`,
    '    location / { return 200 "$proxy_protocol_addr $proxy_protocol_port $http_x_forwarded_for"; } }',
    '}',
  ]);
}

/** Answers requests with the client's address and port, and what version 2 says of the name. */
export function startHaproxyReceiver(): Promise<ProxiedServer> {
  return startServer('haproxy', (port) => [
    'defaults',
    '  mode http',
    '  timeout connect 5s',
    '  timeout client 1h',
    '  timeout server 1h',
    'frontend pod',
    `  bind 127.0.0.1:${port} accept-proxy`,
    '  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[fc_pp_authority]"',
  ]);
}

/** A Postgres behind an HAProxy that takes PROXY headers alone. */
export function startHaproxyBefore(backendPort: number): Promise<ProxiedServer> {
  return startServer('haproxy', (port) => [
    'defaults',
    '  mode tcp',
    '  timeout connect 5s',
    '  timeout client 1h',
    '  timeout server 1h',
    'listen pod',
    `  bind 127.0.0.1:${port} accept-proxy`,
    `  server one 127.0.0.1:${backendPort}`,
  ]);
}

async function startServer(
  program: 'nginx' | 'haproxy',
  configuration: (port: number, dir: string) => readonly string[],
): Promise<ProxiedServer> {
  const dir = mkdtempSync(join(tmpdir(), `podgate-${program}-`));
  const file = join(dir, 'configuration');
  const [port = 0] = await freePorts(1);
  writeFileSync(file, `${configuration(port, dir).join('\n')}\n`);
  const args = program === 'nginx' ? ['-p', dir, '-e', join(dir, 'error.log'), '-c', file] : ['-db', '-f', file];
  const child = spawn(program, args, { stdio: 'ignore' });
  await until(`${program} accepts`, async () => {
    (await openPlain(port)).destroy();
    return true;
  });
  return {
    port,
    stop: () =>
      new Promise<void>((resolve) => {
        child.once('exit', () => {
          rmSync(dir, { recursive: true });
          resolve();
        });
        child.kill('SIGKILL');
      }),
  };
}
