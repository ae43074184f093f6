import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './until.ts';

/** As docs/operations.md says. */
const START = join(import.meta.dirname, '../../deploy/base/start-redis.sh');

export interface RedisServerOptions {
  /** Lines of redis.conf that come after, and so replace, the usual ones. */
  readonly settings?: readonly string[];
  /** Where its data lies; a fresh folder unless given. Removed at `dispose`. */
  readonly folder?: string;
  readonly tls?: { readonly key: string; readonly certificate: string; readonly ca: string };
}

/** A real redis-server on a free port of 127.0.0.1, with its data in a folder of its own. */
export class RedisServer {
  readonly port: number;
  readonly folder: string;
  readonly #isTls: boolean;
  #settings: readonly string[];
  #child: ChildProcess | null = null;
  output = '';

  private constructor(port: number, options: RedisServerOptions) {
    this.port = port;
    this.folder = options.folder ?? mkdtempSync(join(tmpdir(), 'podgate-redis-'));
    this.#isTls = options.tls !== undefined;
    this.#settings = options.settings ?? [];
    if (options.tls === undefined) return;
    const files = {
      'tls-key-file': options.tls.key,
      'tls-cert-file': options.tls.certificate,
      'tls-ca-cert-file': options.tls.ca,
    };
    for (const [name, pem] of Object.entries(files)) {
      writeFileSync(join(this.folder, name), pem, { mode: 0o600 });
      this.#settings = [...this.#settings, `${name} ${join(this.folder, name)}`];
    }
    this.#settings = [...this.#settings, 'tls-auth-clients no', `tls-port ${this.port}`, 'port 0'];
  }

  static async start(options: RedisServerOptions = {}): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), options);
    await server.start();
    return server;
  }

  get url(): string {
    return `${this.#isTls ? 'rediss' : 'redis'}://127.0.0.1:${this.port}`;
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error('the Redis server is not running');
    return this.#child.pid;
  }

  /** It ended by itself, or by `kill`. */
  get hasEnded(): boolean {
    return this.#child === null || this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Over the data that is in the folder. Answers once the server takes connections and has read its data. */
  async start(settings: readonly string[] = this.#settings): Promise<void> {
    const configuration = [
      `port ${this.port}`,
      'bind 127.0.0.1',
      `dir ${this.folder}`,
      'save ""',
      'appendonly yes',
      'appendfsync always',
      'maxmemory-policy noeviction',
      'daemonize no',
      ...settings,
    ];
    // The usual one is 10,000 higher, which is no port for many of ours.
    if (settings.includes('cluster-enabled yes')) configuration.push(`cluster-port ${await freePort()}`);
    const path = join(this.folder, 'redis.conf');
    writeFileSync(path, configuration.join('\n'), { mode: 0o600 });
    this.output = '';
    const child = spawn('sh', [START, path, this.folder], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    const collect = (chunk: Buffer): void => {
      this.output += chunk.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    await until('redis-server takes connections', async () => {
      if (child.exitCode !== null) throw new Error(`redis-server ended:\n${this.output}`);
      return this.output.includes('Ready to accept connections') && (await isListening(this.port));
    });
  }

  /** A stopped process takes none but KILL and CONT. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    process.kill(this.pid, name);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /** Ends it for good. */
  async dispose(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
