import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Pebble } from './pebble.ts';
import { createTestAuthority } from './test-authority.ts';

export interface AcmeRequest {
  readonly method: string;
  readonly path: string;
  /** The payload of a signed request, else null. */
  readonly payload: unknown;
}

/** What becomes of a request: null = it goes on to the server. */
export type Fault = (
  request: AcmeRequest,
) => null | { status: number; headers?: Record<string, string>; body?: string } | 'silence' | 'reset';

/** When the one renewal information says to renew. */
export interface Advice {
  readonly start: Date;
  readonly end: Date;
  readonly retryAfter?: string;
}

/**
 * Stands before a real Pebble and makes it fail as asked. It also plays the one endpoint that Debian's Pebble lacks:
 * renewal information (RFC 9773), with the window the test wants.
 */
export class AcmeFaults {
  readonly directoryUrl: string;
  readonly ca: string;
  readonly requests: AcmeRequest[] = [];
  fault: Fault = () => null;
  advice: Advice | null = null;
  readonly #server: Server;

  private constructor(server: Server, port: number, ca: string) {
    this.#server = server;
    this.ca = ca;
    this.directoryUrl = `https://localhost:${port}/dir`;
  }

  static async start(pebble: Pebble): Promise<AcmeFaults> {
    const authority = await createTestAuthority(['localhost']);
    const server = createServer({ cert: authority.certificate, key: authority.key });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const faults = new AcmeFaults(server, port, authority.ca);
    server.on('request', (incoming, outgoing) => void faults.#serve(pebble, incoming, outgoing));
    return faults;
  }

  count(part: string): number {
    return this.requests.filter(({ path }) => path.includes(part)).length;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  async #serve(pebble: Pebble, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of incoming) pieces.push(piece as Buffer);
    const body = Buffer.concat(pieces);
    const asked: AcmeRequest = {
      method: incoming.method ?? '',
      path: incoming.url ?? '',
      payload: payloadOf(body.toString()),
    };
    this.requests.push(asked);
    const fault = this.fault(asked);
    if (fault === 'silence') return;
    if (fault === 'reset') {
      incoming.socket.destroy();
      return;
    }
    if (fault !== null) {
      outgoing.writeHead(fault.status, fault.headers ?? {}).end(fault.body ?? '');
      return;
    }
    if (this.advice !== null && asked.path.startsWith('/renewal-info/')) {
      const { start, end, retryAfter } = this.advice;
      outgoing.writeHead(200, {
        'content-type': 'application/json',
        ...(retryAfter === undefined ? {} : { 'retry-after': retryAfter }),
      });
      outgoing.end(JSON.stringify({ suggestedWindow: { start: start.toISOString(), end: end.toISOString() } }));
      return;
    }
    this.#passOn(pebble, incoming, body, outgoing);
  }

  /** With the same Host, so that the server's URLs lead back here. */
  #passOn(pebble: Pebble, incoming: IncomingMessage, body: Buffer, outgoing: ServerResponse): void {
    const { port } = new URL(pebble.directoryUrl);
    const onwards = request(
      {
        host: '127.0.0.1',
        port,
        servername: 'localhost',
        ca: pebble.ca,
        agent: false,
        method: incoming.method,
        path: incoming.url,
        headers: incoming.headers,
      },
      (answer) => {
        const pieces: Buffer[] = [];
        answer.on('data', (piece: Buffer) => pieces.push(piece));
        answer.on('end', () => {
          let text = Buffer.concat(pieces);
          const headers = { ...answer.headers };
          if (this.advice !== null && incoming.url === '/dir') {
            const directory = JSON.parse(text.toString()) as Record<string, unknown>;
            directory['renewalInfo'] = this.directoryUrl.replace('/dir', '/renewal-info');
            text = Buffer.from(JSON.stringify(directory));
            headers['content-length'] = String(text.length);
          }
          outgoing.writeHead(answer.statusCode ?? 502, headers).end(text);
        });
      },
    );
    onwards.on('error', () => outgoing.destroy());
    onwards.end(body);
  }
}

function payloadOf(text: string): unknown {
  try {
    const { payload } = JSON.parse(text) as { payload?: string };
    return payload === undefined || payload === '' ? null : JSON.parse(Buffer.from(payload, 'base64url').toString());
  } catch {
    return null;
  }
}
