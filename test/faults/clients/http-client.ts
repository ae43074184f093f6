import { Agent, request } from 'node:https';
import type { Socket } from 'node:net';
import { type Client, type Destination, type Gateway, identityOf, type Witness } from './client.ts';

const EVERY_MS = 250;
const ANSWER_MS = 10_000;

/** A kept connection with one request after the other; each answer says who sent it. */
export class HttpClient implements Client {
  readonly #gateway: Gateway;
  readonly #destination: Destination;
  readonly #witness: Witness;
  readonly #agent: Agent;
  /** Sockets that an answer of the pod came over, and why each ends. */
  readonly #known = new WeakMap<Socket, string>();
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;
  exchanges = 0;

  constructor(gateway: Gateway, destination: Destination, witness: Witness) {
    this.#gateway = gateway;
    this.#destination = destination;
    this.#witness = witness;
    this.#agent = new Agent({ keepAlive: true, maxSockets: 1, ca: gateway.ca });
    this.#ask();
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#agent.destroy();
  }

  #ask(): void {
    const { host } = this.#destination;
    let socket: Socket | null = null;
    let clientPort = 0;
    let isOver = false;
    const done = (note: (() => void) | null): void => {
      if (isOver) return;
      isOver = true;
      if (this.#isClosed) return;
      note?.();
      this.#timer = setTimeout(() => this.#ask(), EVERY_MS);
    };
    const mishap = (why: string) => ({ atMs: performance.now(), host, clientPort, why });
    const failed = (why: string): void => {
      if (socket === null || !this.#known.has(socket)) {
        done(() => this.#witness.refused.push(mishap(why)));
        return;
      }
      // It is counted where its end is noticed.
      this.#known.set(socket, why);
      socket.destroy();
      done(null);
    };

    const outgoing = request({
      host: '127.0.0.1',
      port: this.#gateway.port,
      servername: host,
      path: '/',
      agent: this.#agent,
      timeout: ANSWER_MS,
      headers: { host: `${host}:${this.#gateway.port}`, accept: 'application/json' },
    });
    outgoing.on('socket', (used) => {
      socket = used;
      const begin = (): void => void (clientPort = used.localPort ?? 0);
      if (used.connecting) {
        this.#witness.sessions += 1;
        used.once('connect', begin);
      } else begin();
    });
    outgoing.on('response', (answer) => {
      let body = '';
      answer.setEncoding('utf8').on('data', (text: string) => (body += text));
      answer.on('error', (error) => failed(error.message));
      answer.on('end', () => {
        if (answer.statusCode !== 200) {
          done(() => this.#witness.refused.push(mishap(`status ${answer.statusCode ?? 0}: ${body.slice(0, 160)}`)));
          return;
        }
        const identity = identityOf(body);
        const problem =
          identity === null ? `not an identity: ${body.slice(0, 200)}` : this.#destination.problem(identity);
        if (problem !== null) {
          done(() => this.#witness.wrong.push(mishap(problem)));
          return;
        }
        if (socket !== null) this.#remember(socket, clientPort);
        this.exchanges += 1;
        this.#witness.exchanges += 1;
        done(null);
      });
    });
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer within 10 s')));
    outgoing.on('error', (error) => failed(error.message));
    outgoing.end();
  }

  /** A kept connection that ends between two requests was cut as well: it is never idle for long. */
  #remember(socket: Socket, clientPort: number): void {
    if (this.#known.has(socket)) return;
    this.#known.set(socket, 'the kept connection was closed');
    socket.once('close', () => {
      if (this.#isClosed) return;
      const why = this.#known.get(socket) ?? '';
      this.#witness.cuts.push({ atMs: performance.now(), host: this.#destination.host, clientPort, why });
    });
  }
}
