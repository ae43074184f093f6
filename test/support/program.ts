import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { podsRootOf } from '../../main/control/pods-root.ts';
import { type ProcessInfo, processTable } from './process-table.ts';
import { until } from './until.ts';

const ROOT = join(import.meta.dirname, '../..');
const WITHOUT_IPV6 = join(import.meta.dirname, 'without-ipv6.py');

export interface ProgramOptions {
  readonly workers?: number;
  readonly env?: Record<string, string>;
  /** Of the shell it is started from, in octal. */
  readonly umask?: string;
  /** Soft and hard limit of open files of that shell (`ulimit -n`). */
  readonly openFiles?: number;
  /** Files that the program sees in place of those of this machine (mount --bind; needs root), by their paths. */
  readonly inPlaceOf?: Readonly<Record<string, string>>;
  /** On a kernel without IPv6, as far as the program can see (without-ipv6.py). */
  readonly isWithoutIpv6?: boolean;
  /** Kept across restarts when given; otherwise a fresh one, removed at `dispose`. */
  readonly dataDir?: string;
  /** Who it runs as, when this process is root. `dataDir` must be theirs. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** HTTPS, HTTP, control; free ones unless given. */
  readonly ports?: readonly number[];
}

export interface ApiAnswer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: {
    readonly message: unknown;
    readonly result: unknown;
    readonly status: string;
    readonly metadata: object;
  };
}

/** The whole program as `npm start` runs it, in a data directory and on ports of its own. */
export class Program {
  readonly dataDir: string;
  readonly httpsPort: number;
  readonly httpPort: number;
  readonly controlPort: number;
  readonly #env: Record<string, string>;
  readonly #umask: string;
  readonly #openFiles: number | null;
  readonly #inPlaceOf: Readonly<Record<string, string>>;
  readonly #launcher: readonly string[];
  readonly #user: ProgramOptions['user'];
  #child: ChildProcess | null = null;
  output = '';

  private constructor(dataDir: string, ports: readonly number[], options: ProgramOptions) {
    this.dataDir = dataDir;
    [this.httpsPort, this.httpPort, this.controlPort] = ports as [number, number, number];
    this.#umask = options.umask ?? '022';
    this.#openFiles = options.openFiles ?? null;
    this.#inPlaceOf = options.inPlaceOf ?? {};
    this.#launcher = options.isWithoutIpv6 === true ? ['python3', WITHOUT_IPV6] : [];
    this.#user = options.user;
    this.#env = {
      PODGATE_DATA_DIR: dataDir,
      PODGATE_HTTPS_PORT: String(this.httpsPort),
      PODGATE_HTTP_PORT: String(this.httpPort),
      PODGATE_CONTROL_PORT: String(this.controlPort),
      PODGATE_WORKERS: String(options.workers ?? 2),
      // No difference as root. Otherwise tests could only be the administrator.
      PODGATE_ALLOW_SHARED_UID: 'yes',
      ...options.env,
    };
  }

  static async prepare(options: ProgramOptions = {}): Promise<Program> {
    const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'podgate-e2e-'));
    return new Program(dataDir, options.ports ?? (await freePorts(3)), options);
  }

  static async start(options: ProgramOptions = {}): Promise<Program> {
    const program = await Program.prepare(options);
    await program.start();
    return program;
  }

  get caPath(): string {
    return join(this.dataDir, 'ca.pem');
  }
  get ca(): string {
    return readFileSync(this.caPath, 'utf8');
  }
  get token(): string {
    return readFileSync(join(this.dataDir, 'admin.token'), 'utf8').trim();
  }
  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error('the program is not running');
    return this.#child.pid;
  }
  /** Null while it runs, or when a signal has ended it. */
  get exitCode(): number | null {
    return this.#child?.exitCode ?? null;
  }
  get isRunning(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Starts it and waits until it is ready. */
  async start(): Promise<void> {
    this.launch();
    await this.ready();
  }

  /** Starts it and does not wait: it may be that it cannot become ready yet. */
  launch(): void {
    const inherited = Object.entries(process.env).filter(
      ([name]) => !name.startsWith('PODGATE_') && name !== 'NODE_OPTIONS',
    );
    const limits = this.#openFiles === null ? '' : `ulimit -n ${this.#openFiles}; `;
    const mounts = Object.entries(this.#inPlaceOf).map(([path, file]) => `mount --bind '${file}' '${path}' && `);
    const script = `${mounts.join('')}${limits}umask ${this.#umask}; exec "$0" "$@"`;
    const shell = ['/bin/sh', '-c', script, ...this.#launcher, process.execPath, 'main.ts'];
    const [command = '', ...args] = mounts.length === 0 ? shell : ['unshare', '--mount', ...shell];
    const child = spawn(command, args, {
      cwd: ROOT,
      env: { ...Object.fromEntries(inherited), ...this.#env },
      ...this.#user,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child = child;
    const keep = (text: string) => (this.output = (this.output + text).slice(-200_000));
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
  }

  async ready(timeoutMs = 60_000): Promise<void> {
    await until(
      'the program is ready',
      async () => {
        if (!this.isRunning) throw new Error(`it ended: ${this.output}`);
        return (await this.get('/readyz')).status === 200;
      },
      { timeoutMs },
    ).catch((error: unknown) => {
      throw new Error(`not ready; it said:\n${this.output}`, { cause: error });
    });
  }

  /** Its children with this role: `node main.ts ROLE`, where operators' scripts look for it as well. */
  children(role: 'control' | 'worker' | 'probe'): readonly ProcessInfo[] {
    return processTable().filter(
      ({ parent, state, commandLine }) => parent === this.pid && state !== 'Z' && commandLine[2] === role,
    );
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  async ended(timeoutMs = 10_000): Promise<void> {
    await until('the program has ended', () => !this.isRunning, { timeoutMs });
  }

  async stop(): Promise<void> {
    if (!this.isRunning) return;
    this.signal('SIGTERM');
    await this.ended(15_000);
  }

  /** Stops it and removes its data directory, and the pods' own where that is elsewhere. */
  async dispose(): Promise<void> {
    await this.stop();
    const { dataDir } = this;
    if (existsSync(join(dataDir, 'installation.id'))) rmSync(this.podsRoot, { recursive: true, force: true });
    rmSync(dataDir, { recursive: true, force: true });
  }

  /** Where its pods and the files of its volumes and snapshots are. */
  get podsRoot(): string {
    const { dataDir } = this;
    const installation = readFileSync(join(dataDir, 'installation.id'), 'utf8').trim();
    const asRoot = process.getuid?.() === 0 && this.#user === undefined;
    return podsRootOf({ dataDir, installation, asRoot }).root;
  }

  get(path: string, token?: string): Promise<ApiAnswer> {
    return this.api('GET', path, undefined, token);
  }

  /** A call to the API on the control port, as the administrator unless another token is given. */
  api(method: string, path: string, body?: unknown, token?: string): Promise<ApiAnswer> {
    return callApi({ port: this.controlPort, method, path, body, token: token ?? this.#tokenIfAny() });
  }

  /** Creates a pod and waits until it is RUNNING. */
  async createPod(body: { pod_id: string } & Record<string, unknown>): Promise<void> {
    const answer = await this.api('POST', '/v3/pods', body);
    if (answer.status !== 200) throw new Error(`create: ${answer.status} ${JSON.stringify(answer.body)}`);
    await this.podStatus(body.pod_id, 'RUNNING');
  }

  /** Waits until the pod has this status. */
  async podStatus(podId: string, status: string, timeoutMs = 60_000): Promise<Record<string, unknown>> {
    let last: unknown;
    return until(
      `pod ${podId} is ${status}`,
      async () => {
        const answer = await this.get(`/v3/pods/${podId}`);
        const pod = answer.body.result as Record<string, unknown> | null;
        last = pod?.['status'];
        return pod?.['status'] === status ? pod : null;
      },
      { timeoutMs, everyMs: 50 },
    ).catch((error: unknown) => {
      throw new Error(`pod ${podId} is ${String(last)}, not ${status}\n${this.output.slice(-4_000)}`, { cause: error });
    });
  }

  #tokenIfAny(): string | undefined {
    try {
      return this.token;
    } catch {
      return undefined;
    }
  }
}

function callApi(call: {
  port: number;
  method: string;
  path: string;
  body: unknown;
  token: string | undefined;
}): Promise<ApiAnswer> {
  return new Promise((resolve, reject) => {
    const text = call.body === undefined ? undefined : JSON.stringify(call.body);
    const outgoing = request(
      {
        host: '127.0.0.1',
        port: call.port,
        method: call.method,
        path: call.path,
        agent: false,
        timeout: 90_000,
        headers: {
          ...(call.token === undefined ? {} : { 'x-tapis-token': call.token }),
          ...(text === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
        },
      },
      (answer) => {
        let received = '';
        answer.setEncoding('utf8');
        answer.on('data', (chunk: string) => (received += chunk));
        answer.on('error', reject);
        answer.on('end', () => {
          try {
            resolve({
              status: answer.statusCode ?? 0,
              headers: answer.headers,
              body: (received === '' ? {} : JSON.parse(received)) as ApiAnswer['body'],
            });
          } catch (error) {
            reject(new Error(`not JSON: ${received.slice(0, 200)}`, { cause: error }));
          }
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.on('timeout', () => outgoing.destroy(new Error('the API does not answer')));
    outgoing.end(text);
  });
}

/**
 * Ports that are free now: bound all at once, so that they differ, and given back. Below the ports of outgoing
 * connections (ip_local_port_range), one of which could otherwise hold ours while the program is down.
 */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers: Server[] = [];
  while (servers.length < count) {
    const server = await listenOn(10_000 + Math.floor(Math.random() * 9_000));
    if (server !== null) servers.push(server);
  }
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Null when the port is taken. */
function listenOn(port: number): Promise<Server | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen({ host: '127.0.0.1', port }, () => resolve(server));
  });
}
