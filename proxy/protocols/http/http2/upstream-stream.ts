import { constants, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders } from 'node:http2';
import { addAbortSignal } from 'node:stream';
import { INTERIM_FAULT, InterimRate } from '../exchange/interim-rate.ts';
import type { ResponseSink, OutgoingRequest, Upstream } from '../exchange/upstream.ts';
import type { Framing } from '../wire/body-reader.ts';
import { isFieldName, isFieldValue, valuesOf } from '../wire/fields.ts';
import type { ResponseHead } from '../wire/head.ts';
import { trailersObject } from './response-fields.ts';
import { translateTrailers } from './request-head.ts';

const { NGHTTP2_FLAG_END_STREAM, NGHTTP2_REFUSED_STREAM } = constants;

/** Codes with which the library resets what breaks a rule, as the pod does where we break one. */
const RULES: ReadonlyMap<number, string> = new Map([
  [constants.NGHTTP2_PROTOCOL_ERROR, 'PROTOCOL_ERROR'],
  [constants.NGHTTP2_FLOW_CONTROL_ERROR, 'FLOW_CONTROL_ERROR'],
  [constants.NGHTTP2_FRAME_SIZE_ERROR, 'FRAME_SIZE_ERROR'],
  [constants.NGHTTP2_COMPRESSION_ERROR, 'COMPRESSION_ERROR'],
]);

/** One request on a connection of HTTP/2 to a backend. Its place on it is taken from the start. */
export class UpstreamStream implements Upstream {
  readonly reportsUnprocessed = true;
  readonly #session: ClientHttp2Session;
  readonly #onGone: () => void;
  #stream: ClientHttp2Stream | null = null;
  #sink: ResponseSink | null = null;
  #method = '';
  #hasAnswered = false;
  #interim: InterimRate | null = null;
  /** The answer has come to its proper end. */
  #isWhole = false;
  #isRequestSent = false;
  #requestTrailers: readonly string[] = [];
  #trailers: readonly string[] = [];
  #failure = 'CLOSED';
  #brokenRule: string | null = null;

  /** `onGone` is called when the place is free. */
  constructor(session: ClientHttp2Session, onGone: () => void) {
    this.#session = session;
    this.#onGone = onGone;
  }

  send(request: OutgoingRequest, sink: ResponseSink): void {
    this.#sink = sink;
    this.#method = request.method;
    this.#isRequestSent = request.framing.kind === 'none';
    let stream: ClientHttp2Stream;
    try {
      stream = this.#session.request(requestFields(request), {
        endStream: this.#isRequestSent,
        waitForTrailers: request.framing.kind === 'chunked',
      });
    } catch {
      // The connection went away at this very moment: nothing was sent.
      process.nextTick(() => {
        this.#onGone();
        this.#takeSink()?.onFailed({ code: 'CLOSED', rule: null, isFresh: true, isUnprocessed: true });
      });
      return;
    }
    this.#stream = stream;
    noteProperEnd(stream, () => (this.#isWhole = true));
    stream.on('error', this.#onError).once('close', this.#onClose).on('drain', this.#onDrain);
    stream.on('headers', this.#onInterim).once('response', this.#onResponse);
    stream.on('trailers', this.#onTrailers).once('wantTrailers', this.#onWantTrailers);
    stream.on('data', this.#onData).once('end', this.#onEnd);
  }

  writeBody(piece: Buffer): boolean {
    const stream = this.#stream;
    return stream !== null && !stream.destroyed && !stream.writableEnded && stream.write(piece);
  }

  endBody(trailers: readonly string[]): void {
    this.#isRequestSent = true;
    this.#requestTrailers = trailers;
    this.#stream?.end();
  }

  resume(): void {
    this.#stream?.resume();
  }

  abandon(): void {
    this.#sink = null;
    if (this.#stream === null) this.#onGone();
    else cancel(this.#stream);
  }

  close(): void {
    this.abandon();
  }

  readonly #onInterim = (_headers: IncomingHttpHeaders, _flags: number, raw: readonly string[]): void => {
    const head = responseHead(raw);
    this.#interim ??= new InterimRate();
    if (typeof head === 'string') this.#breaks(head);
    else if (!this.#interim.take(sizeOf(raw), performance.now())) this.#breaks(INTERIM_FAULT);
    else this.#sink?.onInterim(head);
  };

  readonly #onResponse = (_headers: IncomingHttpHeaders, flags: number, raw: readonly string[]): void => {
    const head = responseHead(raw);
    if (typeof head === 'string') {
      this.#breaks(head);
      return;
    }
    const framing = framingOf(head, this.#method);
    if (typeof framing === 'string') {
      this.#breaks(framing);
      return;
    }
    this.#hasAnswered = true;
    this.#sink?.onHead(head, framing);
    // What ends at once is one piece with its end.
    if ((flags & NGHTTP2_FLAG_END_STREAM) === 0) this.#sink?.onFlush();
  };

  readonly #onTrailers = (_headers: IncomingHttpHeaders, _flags: number, raw: readonly string[]): void => {
    const trailers = translateTrailers(raw);
    if (trailers === null) this.#breaks('The trailer section is malformed.');
    else this.#trailers = trailers;
  };

  readonly #onWantTrailers = (): void => {
    const stream = this.#stream;
    if (stream !== null && !stream.destroyed && !stream.closed)
      stream.sendTrailers(trailersObject(this.#requestTrailers));
  };

  readonly #onData = (piece: Buffer): void => {
    const sink = this.#sink;
    if (sink === null) return;
    if (!sink.onData(piece)) this.#stream?.pause();
    sink.onFlush();
  };

  readonly #onEnd = (): void => {
    // The library ends an answer that was reset, too.
    if (!this.#isWhole || !this.#hasAnswered) return;
    this.#takeSink()?.onEnd(this.#trailers);
    // Whatever is left of the request is wanted by nobody.
    if (!this.#isRequestSent && this.#stream !== null) cancel(this.#stream);
  };

  readonly #onDrain = (): void => {
    this.#sink?.onDrain();
  };

  readonly #onError = (error: Error & { readonly code?: string }): void => {
    this.#failure = error.code ?? this.#failure;
  };

  readonly #onClose = (): void => {
    this.#onGone();
    const rstCode = this.#stream?.rstCode ?? 0;
    const reset = RULES.get(rstCode);
    const resetRule = reset === undefined ? null : `Its HTTP/2 stream ended with ${reset}.`;
    this.#takeSink()?.onFailed({
      code: this.#failure,
      rule: this.#brokenRule ?? resetRule,
      isFresh: !this.#hasAnswered && this.#interim === null,
      isUnprocessed: rstCode === NGHTTP2_REFUSED_STREAM,
    });
  };

  #breaks(rule: string): void {
    this.#failure = 'INVALID_ANSWER';
    this.#brokenRule = rule;
    if (this.#stream !== null) cancel(this.#stream);
  }

  #takeSink(): ResponseSink | null {
    const sink = this.#sink;
    this.#sink = null;
    return sink;
  }
}

/**
 * Resets a stream (CANCEL). Its `close` would end what it says properly first: to the pod a part of a request would be
 * the whole of it.
 */
function cancel(stream: ClientHttp2Stream): void {
  if (!stream.destroyed) addAbortSignal(AbortSignal.abort(), stream);
}

/**
 * Tells when END_STREAM comes. 'end' does not: it follows a reset as well, and a proper end may be followed by a reset
 * (RFC 9113 8.1) before it is read. Only at the moment of `push(null)` the two differ.
 */
function noteProperEnd(stream: ClientHttp2Stream, onProperEnd: () => void): void {
  const push = stream.push.bind(stream);
  stream.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    if (chunk === null && !stream.closed && !stream.destroyed) onProperEnd();
    return push(chunk, encoding);
  };
}

function requestFields({ method, target, fields, expectsContinue }: OutgoingRequest): string[] {
  const raw = [':method', method, ':scheme', 'http', ':authority', fields[1] ?? '', ':path', target];
  // Host comes first, and is the authority's here.
  for (let index = 2; index + 1 < fields.length; index += 2) {
    raw.push((fields[index] ?? '').toLowerCase(), fields[index + 1] ?? '');
  }
  if (expectsContinue) raw.push('expect', '100-continue');
  // gRPC asks for it, and trailers are passed on.
  raw.push('te', 'trailers');
  return raw;
}

function sizeOf(raw: readonly string[]): number {
  return raw.reduce((bytes, part) => bytes + part.length, 0);
}

/** Or the rule that it breaks: an answer goes to clients of HTTP/1.1, too. */
function responseHead(raw: readonly string[]): ResponseHead | string {
  let status = 0;
  const rawHeaders: string[] = [];
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = raw[index] ?? '';
    const value = raw[index + 1] ?? '';
    if (name === ':status') status = /^[1-5][0-9]{2}$/.test(value) ? Number(value) : 0;
    else if (isFieldName(name) && isFieldValue(value)) rawHeaders.push(name, value);
    else return 'A header field contains a character that is not allowed.';
  }
  return status === 0 || status === 101
    ? 'The status is not valid in HTTP/2.'
    : { httpVersion: '1.1', status, reason: '', rawHeaders };
}

/** Or the rule that it breaks. */
function framingOf({ status, rawHeaders }: ResponseHead, method: string): Framing | string {
  if (status < 200) return 'An interim response (1xx) ends the stream.';
  const length = valuesOf(rawHeaders, 'content-length');
  if (length !== '' && !/^[0-9]{1,15}$/.test(length)) return 'Content-Length is not a number.';
  if (method === 'HEAD' || status === 204 || status === 304) return { kind: 'none' };
  return length === '' ? { kind: 'chunked' } : { kind: 'length', bytes: Number(length) };
}
