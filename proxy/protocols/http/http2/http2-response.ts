import type { ServerHttp2Stream } from 'node:http2';
import type { Framing } from '../wire/body-reader.ts';
import type { RequestHead, ResponseHead } from '../wire/head.ts';
import { responseFields, fieldsObject, trailersObject } from './response-fields.ts';

/** Frames that wait for the client's connection: with more, interim answers are left out. */
const QUEUED_FRAMES_MAX = 200;

const NO_TRAILERS: Readonly<Record<string, string | string[]>> = {};

/** Writes one answer to a stream of HTTP/2. What comes at once - head, body, end - leaves in as few frames as it can. */
export class Http2Response {
  readonly #stream: ServerHttp2Stream;
  readonly #request: RequestHead;
  readonly #isTrailed: boolean;
  #pendingHead: string[] | null = null;
  #pending: Buffer[] = [];
  #hasBegun = false;
  #hasBody = false;
  /** Its end is not the length's: trailers may follow. */
  #isOpenEnded = false;
  #trailers = NO_TRAILERS;

  /** `isTrailed`: trailers may follow a body whatever says where it ends. */
  constructor(stream: ServerHttp2Stream, request: RequestHead, isTrailed: boolean) {
    this.#stream = stream;
    this.#request = request;
    this.#isTrailed = isTrailed;
  }

  /** A byte of it is on its way. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  interim(head: ResponseHead): void {
    // Header frames have no flow control: for a client that takes nothing they would pile up.
    const queued = this.#stream.session?.state.outboundQueueSize ?? 0;
    if (this.#canSend() && queued <= QUEUED_FRAMES_MAX)
      this.#stream.additionalHeaders(fieldsObject(responseFields(head, this.#request)));
  }

  head(head: ResponseHead, framing: Framing): void {
    this.#pendingHead = responseFields(head, this.#request);
    // A body of 205 is none that anybody waits for (RFC 9110 15.3.6).
    this.#hasBody = framing.kind !== 'none' && head.status !== 205;
    this.#isOpenEnded = this.#isTrailed || framing.kind === 'chunked';
  }

  /** False = the client is slow. */
  data(piece: Buffer): boolean {
    if (!this.#hasBody || this.#stream.destroyed) return true;
    if (this.#pendingHead === null) return this.#stream.write(piece);
    this.#pending.push(piece);
    return true;
  }

  flush(): void {
    if (this.#pendingHead === null) return;
    this.#respond(this.#pendingHead, !this.#hasBody, this.#isOpenEnded && this.#hasBody);
    for (const piece of this.#pending.splice(0)) this.#stream.write(piece);
  }

  end(trailers: readonly string[]): void {
    const stream = this.#stream;
    this.#trailers = trailers.length === 0 ? NO_TRAILERS : trailersObject(trailers);
    if (this.#pendingHead !== null) {
      const hasTrailers = this.#trailers !== NO_TRAILERS && this.#hasBody;
      this.#respond(this.#pendingHead, this.#pending.length === 0 && !hasTrailers, hasTrailers);
    }
    if (stream.destroyed || stream.writableEnded) return;
    const pieces = this.#pending.splice(0);
    if (pieces.length === 0) stream.end();
    else stream.end(pieces.length === 1 ? pieces[0] : Buffer.concat(pieces));
  }

  #respond(fields: string[], endStream: boolean, waitForTrailers: boolean): void {
    this.#pendingHead = null;
    if (!this.#canSend()) {
      this.#pending = [];
      this.#hasBody = false;
      return;
    }
    this.#hasBegun = true;
    if (waitForTrailers) this.#stream.once('wantTrailers', this.#onWantTrailers);
    const options = { endStream, waitForTrailers, sendDate: false };
    this.#stream.respond(fields, options);
  }

  readonly #onWantTrailers = (): void => {
    if (!this.#stream.destroyed && !this.#stream.closed) this.#stream.sendTrailers(this.#trailers);
  };

  #canSend(): boolean {
    return !this.#stream.destroyed && !this.#stream.closed && !this.#stream.headersSent;
  }
}
