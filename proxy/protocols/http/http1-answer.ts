import type { Socket } from 'node:net';
import { responseHeaders, trailerFields } from './headers.ts';
import type { Framing } from './wire/body-reader.ts';
import type { RequestHead, ResponseHead } from './wire/head.ts';
import { headText, lastChunk, statusLine, writeChunk } from './wire/write-head.ts';

/** Whether the client's connection goes on after this answer. */
export interface Persistence {
  readonly keepsAlive: boolean;
  endsAfterThis(): void;
}

/** Writes one answer to a client of HTTP/1.1, with framing of our own. */
export class Http1Answer {
  readonly #socket: Socket;
  readonly #request: RequestHead;
  readonly #connection: Persistence;
  /** Written together with the first of the body. */
  #pendingHead: string | null = null;
  #hasBegun = false;
  #isChunked = false;
  #isCorked = false;

  constructor(socket: Socket, request: RequestHead, connection: Persistence) {
    this.#socket = socket;
    this.#request = request;
    this.#connection = connection;
  }

  /** A byte of it is on its way. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  interim({ status, reason, rawHeaders }: ResponseHead): void {
    if (this.#request.httpVersion === '1.0') return;
    this.#socket.write(headText(statusLine(status, reason), responseHeaders(rawHeaders)), 'latin1');
  }

  head(head: ResponseHead, framing: Framing): void {
    const { httpVersion } = this.#request;
    // 204 has no body whatever its length says (RFC 9110 8.6).
    const fields = responseHeaders(head.status === 204 ? without(head.rawHeaders, 'content-length') : head.rawHeaders);
    const hasUnknownEnd = framing.kind === 'chunked' || framing.kind === 'until-close';
    this.#isChunked = hasUnknownEnd && httpVersion === '1.1';
    if (this.#isChunked) fields.push('Transfer-Encoding', 'chunked');
    else if (hasUnknownEnd) this.#connection.endsAfterThis();
    if (!this.#connection.keepsAlive) fields.push('Connection', 'close');
    else if (httpVersion === '1.0') fields.push('Connection', 'keep-alive');
    this.#pendingHead = headText(statusLine(head.status, head.reason), fields);
  }

  /** False = the client is slow. */
  data(piece: Buffer): boolean {
    this.#begin();
    return this.#isChunked ? writeChunk(this.#socket, piece) : this.#socket.write(piece);
  }

  flush(): void {
    // An event stream's head must arrive before its first event.
    if (this.#pendingHead !== null) this.#begin();
    if (!this.#isCorked) return;
    this.#isCorked = false;
    this.#socket.uncork();
  }

  end(trailers: readonly string[]): void {
    this.#begin();
    if (this.#isChunked) this.#socket.write(lastChunk(trailerFields(trailers)), 'latin1');
    this.flush();
  }

  /** 101, with the protocol that the pod names. */
  switching({ rawHeaders, reason }: ResponseHead, asked: string): void {
    const fields = [...responseHeaders(rawHeaders), 'Connection', 'Upgrade'];
    fields.push('Upgrade', fieldOf(rawHeaders, 'upgrade') ?? asked);
    this.#socket.write(headText(statusLine(101, reason), fields), 'latin1');
  }

  /** Everything written from here to `flush` leaves in one piece. */
  #begin(): void {
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#socket.cork();
    }
    if (this.#pendingHead === null) return;
    this.#hasBegun = true;
    this.#socket.write(this.#pendingHead, 'latin1');
    this.#pendingHead = null;
  }
}

function without(fields: readonly string[], name: string): readonly string[] {
  return fields.filter((_, index) => (fields[index - (index % 2)] ?? '').toLowerCase() !== name);
}

function fieldOf(fields: readonly string[], name: string): string | null {
  for (let index = 0; index + 1 < fields.length; index += 2) {
    if ((fields[index] ?? '').toLowerCase() === name) return fields[index + 1] ?? '';
  }
  return null;
}
