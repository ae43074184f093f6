import { request } from 'node:https';
import { Socket } from 'node:net';
import pg from 'pg';
import type { Program } from '../support/program.ts';

export const HOLD_SECONDS = 30;
export const AFTER_SECONDS = 60;
/** Tells the processes of one pod from those of another. */
export const NAME_VARIABLE = 'SLEEPER';
/** More than `hold_seconds`: then nobody has answered. */
const ATTEMPT_MS = (HOLD_SECONDS + 15) * 1_000;

/** What one attempt of a client came to. `broken`: neither an answer nor a refusal. */
export type Attempt =
  { readonly kind: 'served' } | { readonly kind: 'refused' | 'broken' | 'wrong'; readonly why: string };

export type SleeperKind = 'hello' | 'journal' | 'postgres';

/** Notes each request in a file that outlives its sleep, before it responds. Takes root, for the mount. */
const JOURNAL = `
const fs = require('node:fs');
const file = '/journal/requests';
require('node:http').createServer((request, response) => {
  const id = request.url.slice(1);
  if (id === 'all') return response.end(fs.existsSync(file) ? fs.readFileSync(file) : '');
  fs.appendFileSync(file, id + '\\n');
  response.end('noted ' + id);
}).listen(process.env.PORT, '127.0.0.1');
`;

interface Credentials {
  readonly user_username: string;
  readonly user_password: string;
}

/** A pod that goes to sleep, what its clients have sent to it, and what was acknowledged to them. */
export class Sleeper {
  readonly podId: string;
  readonly kind: SleeperKind;
  readonly #program: Program;
  readonly #sent = new Set<string>();
  readonly #acknowledged = new Set<string>();
  #credentials: Credentials | null = null;
  /** False from before its user stops it until they have started it again. */
  isWanted = true;

  constructor(program: Program, podId: string, kind: SleeperKind) {
    this.#program = program;
    this.podId = podId;
    this.kind = kind;
  }

  async create(): Promise<void> {
    const templates = {
      hello: { pod_template: 'podgate/hello' },
      postgres: { pod_template: 'postgres' },
      journal: {
        ...{ pod_template: 'podgate/process', command: ['node', '-e', JOURNAL] },
        volume_mounts: { '/journal': { type: 'tapisvolume', source_id: this.podId } },
        networking: { default: { protocol: 'http', port: 8080 } },
      },
    };
    if (this.kind === 'journal') {
      const { status, body } = await this.#program.api('POST', '/v3/pods/volumes', { volume_id: this.podId });
      if (status !== 200) throw new Error(`volume of ${this.podId}: ${status} ${String(body.message)}`);
    }
    await this.#program.createPod({
      ...{ pod_id: this.podId, time_to_stop_default: -1, ...templates[this.kind] },
      environment_variables: { [NAME_VARIABLE]: this.podId },
      sleep: { after_seconds: AFTER_SECONDS, hold_seconds: HOLD_SECONDS },
    });
    if (this.kind !== 'postgres') return;
    const { body } = await this.#program.get(`/v3/pods/${this.podId}/credentials`);
    this.#credentials = body.result as Credentials;
    await this.#query('create table noted (id text)');
  }

  /** One request or row, from an address of its own: one address may wake only so many pods. */
  async attempt(localAddress: string): Promise<Attempt> {
    const id = `${this.podId}-${this.#sent.size}`;
    this.#sent.add(id);
    const attempt =
      this.kind === 'postgres' ? await this.#insert(id, localAddress) : await this.#request(id, localAddress);
    if (attempt.kind === 'served') this.#acknowledged.add(id);
    return attempt;
  }

  get acknowledged(): number {
    return this.#acknowledged.size;
  }

  /** What is not there although it was acknowledged, was noted twice, or was never sent. The pod must run. */
  async lost(): Promise<readonly string[]> {
    if (this.kind === 'hello') return [];
    const noted = await this.#noted();
    const found = new Set(noted);
    return [
      ...[...this.#acknowledged].filter((id) => !found.has(id)).map((id) => `${id} was acknowledged, and is lost`),
      ...noted.filter((id, index) => noted.indexOf(id) !== index).map((id) => `${id} was done twice`),
      ...noted.filter((id) => !this.#sent.has(id)).map((id) => `${id} was never sent`),
    ];
  }

  async #noted(): Promise<readonly string[]> {
    if (this.kind === 'postgres') return (await this.#query('select id from noted')).map(({ id }) => String(id));
    const { status, body } = await this.#http('GET', '/all');
    if (status !== 200) throw new Error(`the journal of ${this.podId}: ${status} ${body}`);
    return body.split('\n').filter((line) => line !== '');
  }

  async #request(id: string, localAddress: string): Promise<Attempt> {
    try {
      const { status, body } = await this.#http('POST', `/${id}`, localAddress);
      if (status === 200) return body.includes(id) ? { kind: 'served' } : { kind: 'wrong', why: body.slice(0, 200) };
      const code = /"code":"([^"]*)"/.exec(body)?.[1] ?? body.slice(0, 120).replaceAll(/\s+/g, ' ');
      const why = `HTTP ${status} ${code}`;
      return { kind: status === 503 ? 'refused' : 'wrong', why };
    } catch (error) {
      return { kind: 'broken', why: String(error) };
    }
  }

  async #insert(id: string, localAddress: string): Promise<Attempt> {
    try {
      await this.#query('insert into noted values ($1)', [id], localAddress);
      return { kind: 'served' };
    } catch (error) {
      const { code = '', message } = error as { readonly code?: string; readonly message: string };
      return { kind: code === '57P03' ? 'refused' : 'broken', why: `Postgres ${code} ${message}` };
    }
  }

  get #host(): string {
    return `${this.podId}.pods.localhost`;
  }

  #http(method: string, path: string, localAddress = '127.0.0.1'): Promise<{ status: number; body: string }> {
    const { httpsPort: port, ca } = this.#program;
    return new Promise((resolve, reject) => {
      const call = request(
        {
          ...{ host: '127.0.0.1', port, servername: this.#host, ca, localAddress, agent: false, method, path },
          ...{ headers: { host: `${this.#host}:${port}` }, signal: AbortSignal.timeout(ATTEMPT_MS) },
        },
        (response) => {
          let body = '';
          response.setEncoding('utf8').on('data', (text: string) => (body += text));
          response.once('error', reject);
          response.once('end', () => resolve({ status: response.statusCode ?? 0, body }));
        },
      );
      call.once('error', reject).end();
    });
  }

  async #query(
    text: string,
    values: readonly string[] = [],
    localAddress = '127.0.0.1',
  ): Promise<readonly { id?: unknown }[]> {
    const client = new pg.Client({
      ...{ host: '127.0.0.1', port: this.#program.httpsPort, database: 'postgres' },
      ...{ user: this.#credentials?.user_username, password: this.#credentials?.user_password },
      ...{ ssl: { servername: this.#host, ca: this.#program.ca }, connectionTimeoutMillis: ATTEMPT_MS },
      ...{ query_timeout: ATTEMPT_MS, stream: () => socketFrom(localAddress) },
    });
    client.on('error', () => undefined);
    try {
      await client.connect();
      return (await client.query<{ id?: unknown }>(text, [...values])).rows;
    } finally {
      await client.end().catch(() => undefined);
    }
  }
}

/** pg names the port and the host alone. */
function socketFrom(localAddress: string): Socket {
  const socket = new Socket();
  const connect = socket.connect.bind(socket) as (options: object) => Socket;
  return Object.assign(socket, { connect: (port: number, host: string) => connect({ port, host, localAddress }) });
}
