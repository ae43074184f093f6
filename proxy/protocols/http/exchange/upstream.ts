import type { Socket } from 'node:net';
import type { Framing } from '../wire/body-reader.ts';
import type { ResponseHead } from '../wire/head.ts';

/** A request as it goes to a backend, whatever protocol carries it there. */
export interface OutgoingRequest {
  readonly method: string;
  /** Origin-form. */
  readonly target: string;
  /** Flat name, value list, Host first; neither framing nor what belongs to one connection. */
  readonly fields: readonly string[];
  readonly framing: Framing;
  /** The protocol to change to, or null: 101 accepts it. */
  readonly upgrade: string | null;
  readonly expectsContinue: boolean;
}

/** Why there is no response of a backend. */
export interface Failure {
  readonly code: string;
  /** The rule of HTTP that its response breaks, as a sentence; null when the response did not come, or broke off. */
  readonly rule: string | null;
  /** No byte of a response has arrived. */
  readonly isFresh: boolean;
  /** The backend has said that it did not process the request: whatever it is, it may be sent again. */
  readonly isUnprocessed: boolean;
}

/** Gets the response. Exactly one of `onEnd`, `onFailed` and `onUpgraded` is the last call. */
export interface ResponseSink {
  /** A 1xx response. */
  onInterim(head: ResponseHead): void;
  onHead(head: ResponseHead, framing: Framing): void;
  /** It uses or copies the bytes that `onData` gets before that returns; others get bytes of their own. Default: no. */
  readonly takesLentBytes?: boolean;
  /** False = enough for now: `resume` asks for more. */
  onData(piece: Buffer): boolean;
  /** What was read so far was handed over: nothing more comes in this turn of the event loop. */
  onFlush(): void;
  onEnd(trailers: readonly string[]): void;
  onFailed(failure: Failure): void;
  /** 101: the connection is the caller's from now on, with what the pod has sent after its head. */
  onUpgraded(head: ResponseHead, socket: Socket, rest: Buffer): void;
  /** The pod takes more of the request's body. */
  onDrain(): void;
}

/** A place for one request at a backend: a connection of HTTP/1.1, or a stream of HTTP/2. */
export interface Upstream {
  /** It may say that it did not process a request (`isUnprocessed`). */
  readonly reportsUnprocessed: boolean;
  /** Sends a request; its body follows by `writeBody` and `endBody`. */
  send(request: OutgoingRequest, sink: ResponseSink): void;
  /** False = the pod is slow: wait for `onDrain`. */
  writeBody(piece: Buffer): boolean;
  endBody(trailers: readonly string[]): void;
  resume(): void;
  /** Nobody waits for the response any more. */
  abandon(): void;
  /** It was not used. */
  close(): void;
}

/** The connections to one backend. */
export interface UpstreamPool {
  readonly key: string;
  lastUsedMs: number;
  /** No connection is kept any more. */
  readonly isRetired: boolean;
  /** A place on a connection that is there already, or null. */
  take(): Upstream | null;
  /** performance.now() until which failed attempts to connect are repeated. */
  readonly retryUntilMs: number;
  /** A place on a new connection, by one attempt: see Dial. */
  open(signal: AbortSignal, allowHalfOpen: boolean): Promise<Upstream>;
  /** Closes what has been idle for too long. */
  sweep(): void;
  /** No connection is kept from now on; requests in progress are completed. */
  retire(): void;
}
