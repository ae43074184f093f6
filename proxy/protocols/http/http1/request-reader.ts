import type { Socket } from 'node:net';
import { readOn, tap } from '../../../bytes/tap.ts';
import type { BodyReader } from '../wire/body-reader.ts';
import { HeadReader } from '../wire/head-reader.ts';
import { parseRequestHead, type RequestHead } from '../wire/head.ts';

const CR = 0x0d;
const LF = 0x0a;
const NOTHING = Buffer.alloc(0);

/** Gets what is read. */
export interface RequestHandler {
  /** Part of a head has arrived. */
  onHeadBegun(): void;
  /** `expectBody` must be called before this returns if a body follows; `nextHead`, once the next request may be read. */
  onHead(head: RequestHead): void;
  /** What arrived cannot be read as a request. */
  onRejected(code: 'request.too-large' | 'request.malformed'): void;
  /** The body can be passed on. Once it can again, `resume` is to be called. */
  readonly takesBody: boolean;
  /** The bytes may be lent. False = the pod is slow: nothing is read until `resume`. */
  onBody(piece: Buffer): boolean;
  onBodyEnd(trailers: readonly string[]): void;
  /** `fault`: the rule that the body breaks, as a sentence. */
  onBadBody(fault: string): void;
  /** A body was discarded to its end. */
  onDrained(): void;
  /** The body that is being discarded is malformed, so its end cannot be found. */
  onUndrainable(): void;
}

type State =
  | { readonly phase: 'head' }
  /** Of the request that was read last. */
  | { readonly phase: 'body'; readonly body: BodyReader }
  /** The body is read and discarded. */
  | { readonly phase: 'draining'; readonly body: BodyReader }
  /** The request that was read last is complete; the next is not read before it is answered. */
  | { readonly phase: 'between' }
  /** What arrives is discarded, or another reader's. */
  | { readonly phase: 'stopped' };

const HEAD = { phase: 'head' } as const;
const BETWEEN = { phase: 'between' } as const;
const STOPPED = { phase: 'stopped' } as const;

/**
 * Reads the requests of one connection, one at a time: heads and bodies, across chunks of any size. Reads no further than
 * its handler takes; what has arrived beyond that is kept, and nothing more is read from the socket meanwhile.
 */
export class RequestReader {
  readonly #socket: Socket;
  readonly #handler: RequestHandler;
  readonly #head: HeadReader;
  #state: State = HEAD;
  /** Arrived, and not read yet. */
  #rest: Buffer = NOTHING;
  /** Within a turn of `#read`. */
  #isReading = false;
  /** Nothing more is read from the socket for now. */
  #isHeld = false;
  #blankBytes = 0;

  constructor(socket: Socket, headerBytes: number, handler: RequestHandler) {
    this.#socket = socket;
    this.#handler = handler;
    this.#head = new HeadReader(headerBytes);
    // What the reader of the first bytes has put back precedes anything that is still to be read.
    for (let kept = socket.read() as Buffer | null; kept !== null; kept = socket.read() as Buffer | null) {
      process.nextTick(this.#onData, kept);
    }
    tap(socket, this.#onData);
    // A Readable emits 'end' only while flowing.
    socket.resume();
  }

  /** Nothing of a next request has arrived. */
  get isIdle(): boolean {
    return this.#state.phase === 'head' && !this.#head.hasBegun;
  }

  get isHeld(): boolean {
    return this.#isHeld;
  }

  /** Nothing of the last request is still to be read. */
  get isBodyRead(): boolean {
    return this.#state.phase !== 'body';
  }

  expectBody(body: BodyReader): void {
    this.#state = { phase: 'body', body };
  }

  /** Discards the rest of the body. */
  drain(): void {
    if (this.#state.phase !== 'body') return;
    this.#state = { phase: 'draining', body: this.#state.body };
    this.resume();
  }

  nextHead(): void {
    this.#state = HEAD;
    this.resume();
  }

  /** The handler takes more. */
  resume(): void {
    if (this.#isReading || this.#state.phase === 'stopped') return;
    const rest = this.#rest;
    this.#rest = NOTHING;
    this.#readOn();
    if (rest.length > 0) this.#read(rest);
  }

  /** Reads no further. Returns what has arrived beyond what was read. */
  stop(): Buffer {
    const rest = this.#rest;
    this.#rest = NOTHING;
    this.#state = STOPPED;
    return rest;
  }

  /** Discards all that arrives from now on, so that the connection ends cleanly. */
  discard(): void {
    this.stop();
    this.#readOn();
  }

  readonly #onData = (chunk: Buffer): boolean => {
    if (this.#state.phase === 'stopped') return true;
    if (this.#rest.length > 0) this.#keep(Buffer.concat([this.#rest, chunk]));
    else this.#read(chunk);
    return !this.#isHeld;
  };

  #readOn(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    readOn(this.#socket);
  }

  #keep(rest: Buffer): void {
    this.#rest = rest;
    if (rest.length > 0) this.#isHeld = true;
  }

  /** Reads on, through as many requests as are answered at once. */
  #read(chunk: Buffer): void {
    let at = 0;
    this.#isReading = true;
    while (at < chunk.length) {
      const before = at;
      at = this.#readSome(chunk, at);
      if (at === before) break;
    }
    this.#isReading = false;
    if (this.#state.phase !== 'stopped') this.#keep(at < chunk.length ? chunk.subarray(at) : NOTHING);
  }

  /** Returns how far it came: no further than `at` when nothing more can be read for now. */
  #readSome(chunk: Buffer, at: number): number {
    const state = this.#state;
    switch (state.phase) {
      case 'head':
        return this.#readHead(chunk, at);
      case 'body':
        return this.#readBody(state.body, chunk, at);
      case 'draining':
        return this.#discardBody(state.body, chunk, at);
      case 'between':
      case 'stopped':
        return at;
    }
  }

  /** Returns where the head ended, or the chunk. */
  #readHead(chunk: Buffer, at: number): number {
    let from = at;
    // Older clients send an empty line after a body (RFC 9112 2.2).
    while (!this.#head.hasBegun && this.#blankBytes < 2 && (chunk[from] === CR || chunk[from] === LF)) {
      this.#blankBytes++;
      from++;
    }
    if (from === chunk.length) return from;
    const read = this.#head.read(chunk, from);
    switch (read.kind) {
      case 'need-more':
        this.#handler.onHeadBegun();
        return chunk.length;
      case 'reject':
        this.#handler.onRejected(read.reason === 'too-large' ? 'request.too-large' : 'request.malformed');
        return chunk.length;
      case 'head': {
        this.#blankBytes = 0;
        const head = parseRequestHead(read.text);
        if (head.kind === 'reject') this.#handler.onRejected('request.malformed');
        else {
          this.#state = BETWEEN;
          this.#handler.onHead(head.value);
        }
        return read.rest;
      }
    }
  }

  /** Passes on what is here of a body. Returns how far it came: no further while nobody takes it. */
  #readBody(body: BodyReader, chunk: Buffer, at: number): number {
    const handler = this.#handler;
    if (!handler.takesBody) return at;
    const slow = { isPod: false };
    const end = body.read(chunk, at, (piece) => {
      if (!handler.onBody(piece)) slow.isPod = true;
    });
    // The pod may have answered in the middle of what was passed on just now.
    const isDraining = this.#state.phase === 'draining';
    if (end < 0) {
      if (isDraining) handler.onUndrainable();
      else handler.onBadBody(body.fault);
      return chunk.length;
    }
    if (body.isDone) this.#bodyDone(body);
    else if (slow.isPod && !isDraining) this.#isHeld = true;
    return end;
  }

  #bodyDone(body: BodyReader): void {
    const { phase } = this.#state;
    if (phase !== 'body' && phase !== 'draining') return;
    this.#state = BETWEEN;
    if (phase === 'body') this.#handler.onBodyEnd(body.trailers);
    else this.#handler.onDrained();
  }

  #discardBody(body: BodyReader, chunk: Buffer, at: number): number {
    const end = body.read(chunk, at, ignore);
    if (end < 0) {
      this.#handler.onUndrainable();
      return chunk.length;
    }
    if (body.isDone) this.#bodyDone(body);
    return end;
  }
}

function ignore(): void {
  // It is not passed on.
}
