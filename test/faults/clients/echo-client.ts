import { connect, type TLSSocket } from 'node:tls';
import { type Client, type Destination, type Gateway, identityOf, type Witness } from './client.ts';

/** Between two exchanges of a session, and before coming back after one. */
const EVERY_MS = 250;
/** An answer that takes longer is a session that hangs. */
const ANSWER_MS = 10_000;

/**
 * One long TCP session over TLS: the pod says who it is and then sends every byte back. Each exchange is a line that
 * was never sent before; anything else that comes back is wrong.
 */
export class EchoClient implements Client {
  readonly #gateway: Gateway;
  readonly #destination: Destination;
  readonly #witness: Witness;
  #socket: TLSSocket | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;
  exchanges = 0;

  constructor(gateway: Gateway, destination: Destination, witness: Witness) {
    this.#gateway = gateway;
    this.#destination = destination;
    this.#witness = witness;
    this.#open();
  }

  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#socket?.destroy();
  }

  #open(): void {
    const { host } = this.#destination;
    const { port, ca } = this.#gateway;
    const socket = connect({ host: '127.0.0.1', port, ca, servername: host });
    this.#socket = socket;
    this.#witness.sessions += 1;
    let clientPort = 0;
    let received = '';
    let expected: string | null = null;
    let isKnown = false;
    let isOver = false;

    const end = (why: string): void => {
      if (isOver) return;
      isOver = true;
      if (this.#timer !== null) clearTimeout(this.#timer);
      socket.destroy();
      if (this.#isClosed) return;
      const kind = isKnown ? this.#witness.cuts : this.#witness.refused;
      kind.push({ atMs: performance.now(), host, clientPort, why });
      this.#timer = setTimeout(() => this.#open(), EVERY_MS);
    };
    const wrong = (why: string): void => {
      this.#witness.wrong.push({ atMs: performance.now(), host, clientPort, why });
      end(why);
    };
    const send = (): void => {
      expected = `${this.exchanges} ${clientPort} ${performance.now()}`;
      socket.write(`${expected}\n`);
      this.#timer = setTimeout(() => end('no answer within 10 s'), ANSWER_MS);
    };
    const line = (text: string): void => {
      if (!isKnown) {
        const identity = identityOf(text);
        const problem = identity === null ? `not an identity: ${text}` : this.#destination.problem(identity);
        if (problem === null) isKnown = true;
        else wrong(problem);
        return;
      }
      if (text !== expected) {
        wrong(`sent ${expected ?? 'nothing'}, received ${text}`);
        return;
      }
      if (this.#timer !== null) clearTimeout(this.#timer);
      expected = null;
      this.exchanges += 1;
      this.#witness.exchanges += 1;
      this.#timer = setTimeout(send, EVERY_MS);
    };

    socket.on('connect', () => (clientPort = socket.localPort ?? 0));
    socket.on('secureConnect', send);
    socket.setEncoding('utf8').on('data', (text: string) => {
      const lines = (received + text).split('\n');
      received = lines.pop() ?? '';
      for (const part of lines) if (!isOver) line(part);
    });
    socket.on('error', (error) => end(error.message));
    socket.on('close', () => end('closed'));
  }
}
