import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { stringify } from 'yaml';
import { signToken } from '../../control/auth/sign-token.ts';
import { makeTokenKey } from '../../control/auth/token-key.ts';
import { podsRootOf } from '../../main/control/pods-root.ts';
import { EchoSessions } from '../kill/echo-sessions.ts';
import { type ApiAnswer, Program } from '../support/program.ts';
import type { ProgramSettings } from './attack.ts';
import { ECHO } from './programs.ts';

const SESSIONS = 20;
const TOKEN_SECONDS = 36_000;
const OWNER = 'alice';

/** A whole Podgate with a bystander's pods and sessions, and what attackers need. */
export class Stage {
  readonly program: Program;
  readonly sessions: EchoSessions;
  readonly #folder: string;
  readonly #tokens = new Map<string, string>();

  private constructor(program: Program, folder: string) {
    this.program = program;
    this.#folder = folder;
    this.sessions = new EchoSessions(SESSIONS, {
      port: program.httpsPort,
      ca: program.ca,
      servername: 'echo.pods.localhost',
    });
  }

  static async begin({ openFiles, configuration }: ProgramSettings): Promise<Stage> {
    const folder = mkdtempSync(join(tmpdir(), 'podgate-attack-'));
    const file = join(folder, 'podgate.yaml');
    writeFileSync(file, stringify(configuration ?? {}));
    const program = await Program.start({
      workers: 2,
      env: { PODGATE_CONFIG: file },
      ...(openFiles === undefined ? {} : { openFiles }),
    });
    const stage = new Stage(program, folder);
    await stage.#makeBystander();
    return stage;
  }

  async #makeBystander(): Promise<void> {
    await this.createPod(OWNER, { pod_id: 'hello', pod_template: 'podgate/hello' });
    await this.createPod(OWNER, {
      pod_id: 'echo',
      pod_template: 'podgate/process',
      command: ECHO,
      networking: { default: { protocol: 'tcp', port: 7000 } },
    });
    await this.sessions.fill(20_000);
  }

  async end(): Promise<void> {
    this.sessions.close();
    await this.program.dispose();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get ownerToken(): Promise<string> {
    return this.tokenOf(OWNER);
  }

  async tokenOf(username: string): Promise<string> {
    const known = this.#tokens.get(username);
    if (known !== undefined) return known;
    const claims = JSON.parse(Buffer.from(this.program.token.split('.')[1] ?? '', 'base64url').toString()) as {
      iss: string;
      'tapis/tenant_id': string;
    };
    const token = await signToken({
      username,
      tenant: claims['tapis/tenant_id'],
      issuer: claims.iss,
      lifetimeSeconds: TOKEN_SECONDS,
      key: await makeTokenKey(join(this.program.dataDir, 'token.key')),
    });
    this.#tokens.set(username, token);
    return token;
  }

  async api(user: string, method: string, path: string, body?: unknown): Promise<ApiAnswer> {
    return await this.program.api(method, path, body, await this.tokenOf(user));
  }

  /** Resolves when every worker has the pod's route. */
  async createPod(user: string, body: { pod_id: string } & Record<string, unknown>): Promise<void> {
    const answer = await this.api(user, 'POST', '/v3/pods?wait=routable', body);
    if (answer.status !== 200)
      throw new Error(`create ${body.pod_id}: ${answer.status} ${JSON.stringify(answer.body.message)}`);
  }

  async deletePods(user: string, ...podIds: readonly string[]): Promise<void> {
    for (const podId of podIds) await this.api(user, 'DELETE', `/v3/pods/${podId}`);
  }

  async logsOf(user: string, podId: string): Promise<string> {
    const { body } = await this.api(user, 'GET', `/v3/pods/${podId}/logs`);
    return (body.result as { logs?: string } | null)?.logs ?? '';
  }

  /** A TLS connection to this name, or null where the gateway did not complete the handshake. */
  connect(servername: string, options: ConnectionOptions = {}): Promise<TLSSocket | null> {
    return new Promise((resolve) => {
      const { httpsPort: port, ca } = this.program;
      const socket = connect({ host: '127.0.0.1', port, servername, ca, ...options }, () => resolve(socket));
      socket.on('error', () => undefined).once('close', () => resolve(null));
    });
  }

  /** Everything that comes back for these bytes until the connection ends or `ms` have passed. */
  async exchange(servername: string, bytes: string | Buffer, ms = 3_000): Promise<string> {
    const socket = await this.connect(servername);
    if (socket === null) return '';
    return await new Promise((resolve) => {
      let received = '';
      const end = (): void => {
        clearTimeout(timer);
        socket.destroy();
        resolve(received);
      };
      const timer = setTimeout(end, ms);
      socket.setEncoding('latin1').on('data', (text: string) => (received += text));
      socket.once('end', end).once('close', end);
      socket.write(bytes);
    });
  }

  /** An API call through the gateway with this body as it is. 0 stands for no response. */
  async post(path: string, body: string, token: string): Promise<number> {
    const head = [
      `POST ${path} HTTP/1.1`,
      'Host: localhost',
      `X-Tapis-Token: ${token}`,
      'Content-Type: application/json',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Connection: close',
    ];
    const received = await this.exchange('localhost', `${head.join('\r\n')}\r\n\r\n${body}`, 60_000);
    return Number(/^HTTP\/1\.1 (\d{3})/.exec(received)?.[1] ?? 0);
  }

  /** The port on which the pod's program listens, as only Podgate knows it; null once it keeps that elsewhere. */
  portOf(podId: string): number | null {
    const folder = join(this.podsRoot, 'workloads');
    for (const name of readdirSync(folder)) {
      try {
        const record = JSON.parse(readFileSync(join(folder, name, 'workload.json'), 'utf8')) as {
          workload: { podId: string };
          ports: { default?: number };
        };
        if (record.workload.podId === podId) return record.ports.default ?? null;
      } catch {
        // It is being made or removed.
      }
    }
    return null;
  }

  get podsRoot(): string {
    const { dataDir } = this.program;
    const installation = readFileSync(join(dataDir, 'installation.id'), 'utf8').trim();
    return podsRootOf({ dataDir, installation, asRoot: process.getuid?.() === 0 }).root;
  }
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
