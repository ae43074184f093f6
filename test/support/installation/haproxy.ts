import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { until } from '../until.ts';

export interface BalancedServer {
  readonly name: string;
  readonly httpsPort: number;
  /** `/readyz` is asked for there. */
  readonly controlPort: number;
}

export interface BalancedSession {
  readonly server: string;
  /** HAProxy's two letters for how it ended: `--` in order, `SD` the server cut it, `CD` the client did, `SC` no server. */
  readonly ending: string;
  /** When HAProxy said so, on the clock of `performance.now`. */
  readonly endedMs: number;
}

/** A real HAProxy in front of replicas: TCP, PROXY v2 to the servers, checks on `/readyz`. */
export class HaProxy {
  readonly port: number;
  readonly #folder: string;
  readonly #child: ChildProcess;
  /** By the client's port, which serves one session after the other. */
  readonly #ended = new Map<number, BalancedSession[]>();
  output = '';

  private constructor(port: number, folder: string, child: ChildProcess) {
    this.port = port;
    this.#folder = folder;
    this.#child = child;
  }

  static async start(port: number, servers: readonly BalancedServer[]): Promise<HaProxy> {
    const folder = mkdtempSync(join(tmpdir(), 'podgate-haproxy-'));
    const file = join(folder, 'haproxy.cfg');
    writeFileSync(file, configuration(port, join(folder, 'stats.sock'), servers));
    const child = spawn('haproxy', ['-db', '-f', file], { stdio: ['ignore', 'pipe', 'pipe'] });
    const proxy = new HaProxy(port, folder, child);
    createInterface({ input: child.stdout }).on('line', (line) => proxy.#logged(line));
    child.stderr.on('data', (chunk: Buffer) => (proxy.output = (proxy.output + chunk.toString()).slice(-20_000)));
    await until('HAProxy answers at its socket', async () => {
      if (child.exitCode !== null) throw new Error(`HAProxy ended:\n${proxy.output}`);
      return (await proxy.command('show info')) !== '';
    });
    return proxy;
  }

  #logged(line: string): void {
    const session = /^S (\d+) (\S+) (\S+)$/.exec(line);
    if (session === null) {
      this.output = `${this.output}${line}\n`.slice(-20_000);
      return;
    }
    const [, port, server = '', ending = ''] = session;
    const ofPort = this.#ended.get(Number(port)) ?? [];
    ofPort.push({ server, ending, endedMs: performance.now() });
    this.#ended.set(Number(port), ofPort);
  }

  /** The session from that port of a client that ended nearest to then; null when none has. */
  endedSession(clientPort: number, atMs: number): BalancedSession | null {
    const away = ({ endedMs }: BalancedSession): number => Math.abs(endedMs - atMs);
    return (this.#ended.get(clientPort) ?? []).toSorted((a, b) => away(a) - away(b))[0] ?? null;
  }

  /** Names of the servers that get new sessions now. */
  async serversUp(): Promise<readonly string[]> {
    const rows = (await this.command('show stat')).split('\n').map((line) => line.split(','));
    const [header, ...rest] = rows;
    const status = header?.indexOf('status') ?? -1;
    return rest.flatMap((row) =>
      row[0] === 'replicas' && row[1] !== 'BACKEND' && row[status]?.startsWith('UP') === true ? [row[1] ?? ''] : [],
    );
  }

  /** One command of its stats socket. */
  command(text: string): Promise<string> {
    return new Promise((resolve, reject) => {
      let answer = '';
      const socket = connect(join(this.#folder, 'stats.sock'), () => socket.write(`${text}\n`));
      socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
      socket.on('error', reject).on('close', () => resolve(answer.replace(/^# /, '')));
    });
  }

  async dispose(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await ended;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function configuration(port: number, statsSocket: string, servers: readonly BalancedServer[]): string {
  return `
global
  maxconn 8000
  stats socket ${statsSocket} mode 600 level admin
  log stdout format raw local0
defaults
  mode tcp
  log global
  log-format "S %cp %s %ts"
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  retries 3
  option redispatch 1
  default-server inter 500ms fastinter 200ms downinter 500ms fall 2 rise 1
frontend gateway
  bind 127.0.0.1:${port}
  default_backend replicas
backend replicas
  balance roundrobin
  option httpchk GET /readyz
  http-check expect status 200
${servers
  .map(
    ({ name, httpsPort, controlPort }) =>
      `  server ${name} 127.0.0.1:${httpsPort} send-proxy-v2 check port ${controlPort}`,
  )
  .join('\n')}
`;
}
