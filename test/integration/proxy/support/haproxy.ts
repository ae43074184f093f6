import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../../../support/until.ts';
import { openPlain } from './streams.ts';

export interface Haproxy {
  readonly port: number;
  /** Of each server, by name: what its checks say, such as `UP`. */
  status(): Promise<Readonly<Record<string, string>>>;
  stop(): Promise<void>;
}

export interface HaproxyServer {
  readonly name: string;
  readonly port: number;
  /** Where `GET /readyz` is asked; null = only whether it can be connected to. */
  readonly controlPort: number | null;
  /** Such as `send-proxy-v2` and what else a server line may have. */
  readonly options: string;
}

/** Debian's HAProxy in TCP mode on a free port of loopback, in front of these servers, in turn. */
export async function startHaproxy(servers: readonly HaproxyServer[], checkEveryMs = 100): Promise<Haproxy> {
  const dir = mkdtempSync(join(tmpdir(), 'podgate-haproxy-'));
  const [port, statsPort] = [await freePort(), await freePort()];
  const isChecked = servers.some(({ controlPort }) => controlPort !== null);
  const lines = servers.map(({ name, port: to, controlPort, options }) => {
    const check = controlPort === null ? 'check' : `check addr 127.0.0.1 port ${controlPort}`;
    return `  server ${name} 127.0.0.1:${to} ${check} inter ${checkEveryMs} fall 3 rise 1 ${options}`;
  });
  writeFileSync(
    join(dir, 'haproxy.cfg'),
    [
      'defaults',
      '  mode tcp',
      '  timeout connect 5s',
      // Without it a check may take no longer than their interval: a busy machine would have all servers taken for dead.
      '  timeout check 5s',
      '  timeout client 1h',
      '  timeout server 1h',
      '  retries 3',
      'listen gateway',
      `  bind 127.0.0.1:${port}`,
      '  balance roundrobin',
      '  option redispatch 1',
      ...(isChecked ? ['  option httpchk GET /readyz', '  http-check expect status 200'] : []),
      ...lines,
      'frontend stats',
      '  mode http',
      `  bind 127.0.0.1:${statsPort}`,
      '  stats enable',
      '  stats uri /stats',
      '',
    ].join('\n'),
  );
  const config = join(dir, 'haproxy.cfg');
  const checked = spawnSync('haproxy', ['-c', '-f', config], { encoding: 'utf8' });
  if (checked.status !== 0) throw new Error(`haproxy: ${checked.stderr}`);
  const child = spawn('haproxy', ['-db', '-f', config], { stdio: 'ignore' });
  await until('haproxy accepts', async () => {
    (await openPlain(statsPort)).destroy();
    return true;
  });
  return {
    port,
    async status() {
      const answer = await fetch(`http://127.0.0.1:${statsPort}/stats;csv`);
      const [head = '', ...rows] = (await answer.text()).split('\n');
      const column = head.split(',').indexOf('status');
      const cells = rows.map((row) => row.split(','));
      return Object.fromEntries(
        cells.filter(([list]) => list === 'gateway').map((row) => [row[1] ?? '', row[column] ?? ''] as const),
      );
    },
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

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
