import http from 'node:http';
import { Duplex } from 'node:stream';
import { persists } from '../../proxy/protocols/http/wire/connection-header.ts';
import type { Framing } from '../../proxy/protocols/http/wire/body-reader.ts';
import type { RequestHead } from '../../proxy/protocols/http/wire/head.ts';

/** A request as Node has read it. */
interface Telemetry {
  readonly method: string;
  readonly url: string;
  readonly rawHeaders: readonly string[];
  readonly bodyBytes: number;
}

const SENTINEL = 'GET /sentinel HTTP/1.1\r\nHost: sentinel\r\n\r\n';
/** Longer bodies are not sent. */
const BODY_MAX_BYTES = 4_096;
const ANSWER_MS = 10_000;

/** How a request we took compares: Node reads the very same, refuses it, or reads it otherwise (a smuggler's hole). */
export type Comparison =
  { readonly kind: 'same' | 'refused' | 'not-comparable' } | { readonly kind: 'differs'; readonly how: string };

/** Node's own parser (llhttp), strict, asked by way of a server that is given connections made of memory. */
export class NodeOracle {
  readonly #server: http.Server;
  #seen: Telemetry[] = [];

  constructor() {
    const take = (request: http.IncomingMessage, response: http.ServerResponse): void => {
      let bodyBytes = 0;
      request.on('data', (chunk: Buffer) => (bodyBytes += chunk.length));
      request.on('end', () => {
        const { method = '', url = '', rawHeaders } = request;
        this.#seen.push({ method, url, rawHeaders: [...rawHeaders], bodyBytes });
        response.end();
      });
    };
    this.#server = http.createServer({
      maxHeaderSize: 65_536,
      requireHostHeader: false,
      shouldUpgradeCallback: () => false,
    });
    this.#server.maxHeadersCount = 0;
    this.#server.on('request', take).on('checkContinue', take).on('checkExpectation', take);
    this.#server.on('clientError', (_error, socket) => socket.destroy());
  }

  /** Sends the head as the client did, a body as we frame it, and another request behind it. */
  async compare(headText: string, head: RequestHead, framing: Framing): Promise<Comparison> {
    const body = bodyOf(framing);
    if (body === null) return { kind: 'not-comparable' };
    this.#seen = [];
    // Behind the last request of a connection Node refuses to read on.
    await this.#feed(Buffer.from(`${headText}\r\n\r\n${body.text}${persists(head) ? SENTINEL : ''}`, 'latin1'));
    const [first, second, ...more] = this.#seen;
    if (first === undefined) return { kind: 'refused' };
    const expected: Telemetry = {
      method: head.method,
      url: head.url,
      rawHeaders: head.rawHeaders,
      bodyBytes: body.bytes,
    };
    if (JSON.stringify(first) !== JSON.stringify(expected)) {
      return { kind: 'differs', how: `${JSON.stringify(expected)}, Node reads ${JSON.stringify(first)}` };
    }
    if (more.length > 0 || (second !== undefined && second.url !== '/sentinel')) {
      return {
        kind: 'differs',
        how: `behind ${JSON.stringify(expected)} Node reads ${JSON.stringify([second, ...more])}`,
      };
    }
    return { kind: 'same' };
  }

  #feed(bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      const connection = new Duplex({
        read: () => undefined,
        write: (_chunk, _encoding, callback) => {
          callback();
        },
      });
      const timer = setTimeout(() => {
        reject(new Error('Node neither answers nor ends'));
        connection.destroy();
      }, ANSWER_MS);
      connection.on('error', () => undefined);
      connection.on('close', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#server.emit('connection', connection);
      connection.push(bytes);
      connection.push(null);
    });
  }
}

function bodyOf(framing: Framing): { readonly text: string; readonly bytes: number } | null {
  switch (framing.kind) {
    case 'none':
      return { text: '', bytes: 0 };
    case 'length':
      return framing.bytes > BODY_MAX_BYTES ? null : { text: 'x'.repeat(framing.bytes), bytes: framing.bytes };
    case 'chunked':
      return { text: '3\r\nabc\r\n0\r\n\r\n', bytes: 3 };
    case 'until-close':
      return null;
  }
}
