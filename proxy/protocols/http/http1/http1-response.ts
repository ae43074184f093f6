import type { Socket } from 'node:net';
import { fieldOf, interimHeaders, responseHeaders, trailerFields, without } from '../exchange/headers.ts';
import type { Framing } from '../wire/body-reader.ts';
import type { RequestHead, ResponseHead } from '../wire/head.ts';
import { GatheredWriter } from '../wire/gathered-writer.ts';
import { headText, lastChunk, statusLine } from '../wire/write-head.ts';

/** Whether the client's connection goes on after this answer. */
export interface Persistence {
  readonly keepsAlive: boolean;
  endsAfterThis(): void;
}

/** Writes one answer to a client of HTTP/1.1, with framing of our own. */
export class Http1Response {
  readonly #socket: Socket;
  readonly #request: RequestHead;
  readonly #connection: Persistence;
  readonly #writer: GatheredWriter;
  /** Written together with the first of the body. */
  #pendingHead: string | null = null;
  #hasBegun = false;
  #isChunked = false;

  constructor(socket: Socket, request: RequestHead, connection: Persistence) {
    this.#socket = socket;
    this.#request = request;
    this.#connection = connection;
    this.#writer = new GatheredWriter(socket);
  }

  /** A byte of it is on its way. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  interim({ status, reason, rawHeaders }: ResponseHead): void {
    if (this.#request.httpVersion === '1.0') return;
    this.#socket.write(headText(statusLine(status, reason), interimHeaders(rawHeaders, this.#request)), 'latin1');
  }

  head(head: ResponseHead, framing: Framing): void {
    const { httpVersion } = this.#request;
    // 204 has no body whatever its length says (RFC 9110 8.6).
    const raw = head.status === 204 ? without(head.rawHeaders, 'content-length') : head.rawHeaders;
    const fields = responseHeaders(raw, this.#request);
    const hasUnknownEnd = framing.kind === 'chunked' || framing.kind === 'until-close';
    this.#isChunked = hasUnknownEnd && httpVersion === '1.1';
    // Which protocols the pod asks for (RFC 9110 15.5.22).
    const upgrade = head.status === 426 && httpVersion === '1.1' ? fieldOf(head.rawHeaders, 'upgrade') : null;
    if (upgrade !== null) fields.push('Upgrade', upgrade);
    if (this.#isChunked) fields.push('Transfer-Encoding', 'chunked');
    else if (hasUnknownEnd) this.#connection.endsAfterThis();
    const option = upgrade === null ? '' : 'upgrade';
    if (!this.#connection.keepsAlive) fields.push('Connection', option === '' ? 'close' : `close, ${option}`);
    else if (option !== '') fields.push('Connection', option);
    else if (httpVersion === '1.0') fields.push('Connection', 'keep-alive');
    this.#pendingHead = headText(statusLine(head.status, head.reason), fields);
  }

  /** False = the client is slow. The bytes may be lent. */
  data(piece: Buffer): boolean {
    this.#begin();
    if (!this.#isChunked) return this.#writer.bytes(piece);
    this.#writer.text(`${piece.length.toString(16)}\r\n`);
    const takesMore = this.#writer.bytes(piece);
    this.#writer.text('\r\n');
    return takesMore;
  }

  /** What was said in this turn leaves in one piece. */
  flush(): void {
    // An event stream's head must arrive before its first event.
    this.#begin();
    this.#writer.flush();
  }

  end(trailers: readonly string[]): void {
    this.#begin();
    if (this.#isChunked) this.#writer.text(lastChunk(trailerFields(trailers)));
    this.#writer.flush();
  }

  /** 101, with the protocol that the pod names. */
  switching({ rawHeaders, reason }: ResponseHead, asked: string): void {
    this.#hasBegun = true;
    const fields = [...interimHeaders(rawHeaders, this.#request), 'Connection', 'Upgrade'];
    fields.push('Upgrade', fieldOf(rawHeaders, 'upgrade') ?? asked);
    this.#socket.write(headText(statusLine(101, reason), fields), 'latin1');
  }

  #begin(): void {
    if (this.#pendingHead === null) return;
    this.#hasBegun = true;
    this.#writer.text(this.#pendingHead);
    this.#pendingHead = null;
  }
}
